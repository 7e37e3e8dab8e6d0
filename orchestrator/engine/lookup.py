"""Which containers a command means.  Quick to import: `ps`, `logs` and `exec` need no more than the
records, and ask the Compose file only about a service that no record knows.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.engine.workspace import Workspace
from orchestrator.errors import SpecError, UsageError
from orchestrator.events import Sink, Warned, ignore
from orchestrator.state.observed import Observed, ObservedContainer

if TYPE_CHECKING:
    from orchestrator.spec.model import Project


class Miss(NamedTuple):
    """A name that a container asked for and nobody has."""

    container: str
    """Its id."""
    name: str
    times: int
    near: str
    """What it may have meant, or empty."""


def misses(workspace: Workspace) -> list[Miss]:
    """What the supervisor has counted; nothing where none runs."""
    from orchestrator.engine import submit

    if not os.path.exists(workspace.layout.control_socket(workspace.name)):
        return []
    info = submit.request(workspace.layout, workspace.name, "info") or {}
    told: dict[str, dict[str, Any]] = info.get("misses", {})  # type: ignore[assignment]  # JSON
    return [
        Miss(container, name, one["count"], one["near"])
        for container, names in told.items() for name, one in sorted(names.items())
    ]  # fmt: skip


def check_services(
    services: Iterable[str], *, observed: Observed, declared: Project | None
) -> None:
    """UsageError for a service that neither the file nor a container has."""
    known = {c.record.service for c in observed.containers}
    if declared is not None:
        known |= set(declared.services) | set(declared.disabled)
    for name in services:
        if name not in known:
            raise UsageError(f"no such service: {name}", hint=_near(name, known))


def _near(name: str, known: Iterable[str]) -> str | None:
    from difflib import get_close_matches

    near = get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}?" if near else None


def declared_if_any(workspace: Workspace, *, sink: Sink) -> Project | None:
    """What the files say; where the project is known by name, a broken file is only a warning."""
    if not workspace.is_named:
        return workspace.project
    try:
        return workspace.declared()
    except SpecError as error:
        sink(Warned(message=f"the Compose file cannot be used: {error.message}"))
        return None


def containers(
    workspace: Workspace, services: Sequence[str], *, everything: bool
) -> list[ObservedContainer]:
    """By name; running ones, or everything with stopped and one-off ones."""
    observed = workspace.observe()
    check(workspace, services, observed.containers)
    return [
        c for c in observed.containers
        if (not services or c.record.service in services)
        and (everything or c.status.state in ("running", "restarting"))
    ]  # fmt: skip


def check(
    workspace: Workspace, services: Sequence[str], found: Sequence[ObservedContainer]
) -> None:
    """UsageError for a service that neither a container nor the file has."""
    recorded = {c.record.service for c in found}
    if not recorded.issuperset(services):
        declared = declared_if_any(workspace, sink=ignore)
        check_services(services, observed=workspace.observe(), declared=declared)


def selected(
    observed: Observed, services: Sequence[str], *, running: bool | None = None,
    oneoffs: bool = False,
) -> list[ObservedContainer]:  # fmt: skip
    """The containers of `services` (empty: all), running or not or either, by name."""
    return [
        c for c in observed.containers
        if (not services or c.record.service in services)
        and (oneoffs or not c.record.oneoff)
        and (running is None or running == (c.status.state in ("running", "restarting")))
    ]  # fmt: skip


def running_replica(workspace: Workspace, service: str, *, index: int) -> ObservedContainer:
    """The replica of that number; 0: the first one, a service container before a one-off."""
    observed = workspace.observe()
    mine = [c for c in observed.containers if c.record.service == service]
    if not mine and (observed.containers or not workspace.is_named):
        declared = declared_if_any(workspace, sink=ignore)
        check_services([service], observed=observed, declared=declared)
    running = [c for c in mine if c.is_running and (not index or c.record.index == index)]
    if not running:
        which = f" replica {index}" if index else ""
        raise UsageError(f'service "{service}"{which} is not running',
                         hint=f"start it with `pcompose up -d {service}`")  # fmt: skip
    return min(running, key=lambda c: (c.record.oneoff, c.record.index, c.record.created_at))
