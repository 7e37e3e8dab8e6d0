"""Where something is written, and errors that say it.  Pure."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.errors import SpecError
from orchestrator.spec.model import Project, Service


def spot(project: Project, *path: str | int) -> str:
    """`compose.yaml:14:5`, relative to the project's directory; empty where nothing is known."""
    mark = project.mark(*path)
    if mark is None:
        return ""
    return str(mark).removeprefix(project.working_dir.rstrip("/") + "/")


def fault(
    project: Project, service: Service, key: str, message: str, *, item: str | int | None = None,
    hint: str | None = None,
) -> SpecError:  # fmt: skip
    """An error about `key` of the service, or about one `item` of it."""
    path: tuple[str | int, ...] = ("services", service.name, key)
    where = spot(project, *path, *(() if item is None else (item,)))
    return SpecError(message, hint=hint, where=where)


def near(word: str, choices: Iterable[str]) -> str | None:
    """The hint that names what was probably meant."""
    from difflib import get_close_matches

    found = get_close_matches(word, list(choices), n=1)
    return f"did you mean {found[0]}?" if found else None
