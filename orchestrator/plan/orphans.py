"""Containers of the project that no service of its files claims.

An orphan belongs to a service that the files do not declare (a service whose profile is inactive
is declared), or is a one-off that has ended.  A running one-off is never an orphan, and what a
pre_start hook has left belongs to its service.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator import names
from orchestrator.spec.model import Project
from orchestrator.state.observed import Observed, ObservedContainer


def find(project: Project, observed: Observed) -> tuple[ObservedContainer, ...]:
    """The orphans, by name."""
    return tuple(c for c in observed.containers if _is_orphan(project, c))


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
