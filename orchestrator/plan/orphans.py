"""Containers of the project that no service of its files claims.

An orphan belongs to a service that the files do not declare (a service whose profile is inactive
is declared), or is a one-off that has ended.  A running one-off is never an orphan, and what a
pre_start hook has left belongs to its service.  Neither is a container that was made from other
files which are still there: two applications share a name, and none removes what is the other's.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator import names
from orchestrator.spec.model import Project
from orchestrator.state.observed import Observed, ObservedContainer


def find(project: Project, observed: Observed) -> tuple[ObservedContainer, ...]:
    """The orphans, by name."""
    return tuple(
        c for c in observed.containers
        if _is_orphan(project, c) and not is_foreign(project, c, observed)
    )  # fmt: skip


def is_foreign(project: Project, container: ObservedContainer, observed: Observed) -> bool:
    """Whether it belongs to a service of other files, which are still there."""
    service = container.record.service
    if service in project.services or service in project.disabled:
        return False
    return bool(container.files & observed.files) and not container.files & set(project.files)


def foreign_warning(project: Project, observed: Observed) -> str:
    """Names what is left alone because it is somebody else's; empty where nothing is."""
    found = [c for c in observed.containers if is_foreign(project, c, observed)]
    names = ", ".join(dict.fromkeys(c.record.name for c in found))
    files = ", ".join(sorted({file for c in found for file in c.files}))
    if not found:
        return ""
    return (f"containers {names} of project {project.name} were made from {files} and are left "
            "alone: give the two another name each (-p, `name:`)")  # fmt: skip


def is_hook(container: ObservedContainer) -> bool:
    """Whether it is the container of a pre_start hook."""
    return names.LABEL_HOOK in container.record.labels


def _is_orphan(project: Project, container: ObservedContainer) -> bool:
    if container.record.oneoff and not is_hook(container):
        return container.status.state in ("exited", "dead")
    service = container.record.service
    return service not in project.services and service not in project.disabled


def warning(found: Sequence[ObservedContainer]) -> str:
    """Docker Compose's sentence, word for word: scripts look for it."""
    names = ", ".join(dict.fromkeys(c.record.name for c in found))
    return (
        f"Found orphan containers ({names}) for this project. If you removed or renamed this "
        "service in your compose file, you can run this command with the --remove-orphans flag to "
        "clean it up."
    )
