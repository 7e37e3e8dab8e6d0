"""down, stop, start, restart, kill and rm: what needs no more than the records.

Each makes a plan from what is observed and carries it out under the project's lock.  The Compose file
is asked only where there is one, for what it declares.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from orchestrator.engine import translate
from orchestrator.engine.reconcile import Change, forget_if_empty
from orchestrator.engine.resolve import signal_name
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import UsageError
from orchestrator.events import Sink, Warned
from orchestrator.plan import teardown
from orchestrator.plan.plan import Plan
from orchestrator.plan.policy import DownPolicy
from orchestrator.supervisor import protocol

if TYPE_CHECKING:
    from orchestrator.spec.model import Project
    from orchestrator.state.observed import Observed, ObservedContainer


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
    from orchestrator.errors import SpecError

    if not workspace.is_named:
        return workspace.project
    try:
        return workspace.declared()
    except SpecError as error:
        sink(Warned(message=f"the Compose file cannot be used: {error.message}"))
        return None


def _carry_out(change: Change, plan: Plan, *, last: bool = False) -> None:
    for message in plan.warnings:
        change.sink(Warned(message=message))
    change.execute([translate.teardown_job(node) for node in plan], last=last)


def down_plan(workspace: Workspace, policy: DownPolicy, *, sink: Sink) -> Plan:
    """What `down` would do."""
    observed = workspace.observe()
    if _is_nothing(workspace.name, observed):
        return Plan()
    declared = declared_if_any(workspace, sink=sink)
    return teardown.down(observed, policy, declared=declared)


def _is_nothing(name: str, observed: Observed) -> bool:
    if observed.containers or observed.broken:
        return False
    networks = (n.record.project for n in observed.networks.values())
    volumes = (v.project for v in observed.volumes.values())
    return name not in (*networks, *volumes)


def down(workspace: Workspace, policy: DownPolicy, *, sink: Sink) -> bool:
    """Stop and remove; False where there was nothing."""
    if _is_nothing(workspace.name, workspace.observe()):
        return False
    with Change(workspace, command="down", sink=sink) as change:
        plan = down_plan(workspace, policy, sink=sink)
        _carry_out(change, plan, last=True)
        forget_if_empty(workspace)
    return bool(plan)


def stop(
    workspace: Workspace, services: Sequence[str], *, timeout: float | None, sink: Sink
) -> None:
    """Stop in reverse dependency order."""
    with Change(workspace, command="stop", sink=sink) as change:
        _carry_out(change, stop_plan(workspace, services, timeout=timeout))


def stop_plan(workspace: Workspace, services: Sequence[str], *, timeout: float | None) -> Plan:
    """What `stop` would do."""
    observed = workspace.observe()
    _check(workspace, services, observed)
    return teardown.stop(observed, DownPolicy(services=tuple(services), timeout=timeout))


def _check(workspace: Workspace, services: Sequence[str], observed: Observed) -> None:
    if services:
        known = {c.record.service for c in observed.containers}
        declared = None if known.issuperset(services) else workspace.declared()
        check_services(services, observed=observed, declared=declared)


def kill(workspace: Workspace, services: Sequence[str], *, signal: str, sink: Sink) -> bool:
    """Send a signal to the running containers; False where none runs."""
    name = signal_name(signal)
    if name is None:
        raise UsageError(f"unknown signal: {signal}")
    with Change(workspace, command="kill", sink=sink) as change:
        observed = workspace.observe()
        _check(workspace, services, observed)
        running = selected(observed, services, running=True)
        change.execute(
            [protocol.KillContainer(number=n, container=c.record.id, signal=name)
             for n, c in enumerate(running, start=1)]
        )  # fmt: skip
    return bool(running)


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
