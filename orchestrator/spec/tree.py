"""Paths into a document and the marks that say where a value was written.

The lowest module of `spec`: imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.dataclass import dataclass

Path = tuple[str | int, ...]
"""`("services", "web", "ports", 0)`; keys as they are, list indexes as int."""

Tree = dict[str, "Tree"] | list["Tree"] | str | int | float | bool | None
"""What YAML says once anchors, merges and tags are resolved."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a value was written; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


Marks = Mapping[Path, Mark]


def nearest(marks: Marks, path: Path) -> Mark | None:
    """The mark of `path`, or of its nearest ancestor that has one."""
    for end in range(len(path), -1, -1):
        mark = marks.get(path[:end])
        if mark is not None:
            return mark
    return None


def dotted(path: Path) -> str:
    """`services.web.ports.0`, for messages."""
    return ".".join(str(part) for part in path)
