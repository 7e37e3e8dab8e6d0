"""Where something is in a Dockerfile, and how an error says so."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.dataclass import dataclass
from orchestrator.errors import BuildError


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A character of a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


def fault(place: Place, message: str, *, hint: str | None = None) -> BuildError:
    """The error at that place."""
    return BuildError(message, hint=hint, where=str(place))


def near(word: str, known: Iterable[str], *, prefix: str = "") -> str | None:
    """`did you mean …?` where a known word is a typing error away."""
    from difflib import get_close_matches  # 3 ms: only where something is wrong

    found = get_close_matches(word, list(known), n=1)
    return f"did you mean {prefix}{found[0]}?" if found else None
