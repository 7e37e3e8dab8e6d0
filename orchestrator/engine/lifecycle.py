"""down, stop, start, restart, kill and rm: what needs no more than the records.

Each makes a plan from what is observed and carries it out under the project's lock.  The Compose
file is asked only where there is one, for what it declares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from orchestrator.engine import translate
from orchestrator.engine.images import open_store
from orchestrator.engine.lookup import check_services, declared_if_any, selected
from orchestrator.engine.reconcile import Change, limited
from orchestrator.engine.resolve import signal_name
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import ImageNotFoundError, UsageError
from orchestrator.events import Progress, Sink, Warned, ignore
from orchestrator.image.host import is_host
from orchestrator.plan import teardown
from orchestrator.plan.actions import RemoveContainer
from orchestrator.plan.plan import Plan
from orchestrator.plan.policy import DownPolicy
from orchestrator.supervisor import protocol

if TYPE_CHECKING:
    from orchestrator.spec.model import Project
    from orchestrator.state.observed import Observed


def _carry_out(change: Change, plan: Plan, observed: Observed, *, last: bool = False) -> None:
    for message in plan.warnings:
        change.sink(Warned(message=message))
    change.execute([translate.teardown_job(node, observed) for node in plan], last=last)


def _is_nothing(name: str, observed: Observed) -> bool:
    if observed.containers or observed.broken:
        return False
    networks = (n.record.project for n in observed.networks.values())
    volumes = (v.project for v in observed.volumes.values())
    return name not in (*networks, *volumes)


def down(
    workspace: Workspace, policy: DownPolicy, *, images: str | None, sink: Sink,
    provided: Callable[[], bool] | None = None, snapshots: bool = False,
) -> bool:  # fmt: skip
    """Stop and remove, with `snapshots` those too; False where there was nothing, or where
    `provided` says, under the lock, that it is not to be done."""
    if _is_nothing(workspace.name, workspace.observe()) and images is None and provided is None:
        return False
    with Change(workspace, command="down", sink=sink) as change:
        if provided is not None and not provided():
            return False
        declared = declared_if_any(workspace, sink=sink)
        observed = workspace.observe()
        plan = teardown.down(observed, policy, declared=declared)
        for message in plan.warnings:
            sink(Warned(message=message))
        jobs = [translate.teardown_job(node, observed) for node in plan]
        if images is not None or snapshots:
            change.execute(jobs)
            jobs = []
        if images is not None:
            _remove_images(workspace, observed, declared, which=images, sink=sink)
        if snapshots:
            _remove_snapshots(workspace)
        if _leaves_nothing(plan, observed):
            change.end(jobs)
        else:
            change.execute(jobs, last=True)
    return bool(plan) or images is not None


def _leaves_nothing(plan: Plan, observed: Observed) -> bool:
    """Of the containers; a network that is still in use is told by the supervisor."""
    removed = {n.action.container for n in plan if isinstance(n.action, RemoveContainer)}
    return removed.issuperset(c.record.id for c in observed.containers)


def _remove_snapshots(workspace: Workspace) -> None:
    from orchestrator.engine import snapshots

    snapshots.remove_all(workspace.layout, workspace.name)


def _remove_images(
    workspace: Workspace, observed: Observed, declared: Project | None, *, which: str, sink: Sink
) -> None:
    """`all`: every image of the project; `local`: those that were built for a service without an
    `image`."""
    store = open_store(workspace.layout)
    names = {(c.record.service, c.record.image) for c in observed.containers}
    if declared is not None:
        services = (*declared.services.values(), *declared.disabled.values())
        names |= {(s.name, s.image or f"{workspace.name}-{s.name}") for s in services}
    references = {image for service, image in names
                  if which == "all" or image == f"{workspace.name}-{service}"}  # fmt: skip
    for reference in sorted(references):
        if is_host(reference):
            continue
        try:
            store.remove(reference)
        except ImageNotFoundError:
            continue
        sink(Progress(kind="Image", name=reference, text="Removed", status="Done"))


def preview(
    workspace: Workspace, verb: str, policy: DownPolicy, *, signal: str = "SIGKILL",
    orphans: bool = False, dependents: bool = True, stop: bool = False,
) -> Plan:  # fmt: skip
    """What the verb would do; touches nothing."""
    observed = workspace.observe()
    declared = declared_if_any(workspace, sink=ignore)
    match verb:
        case "down":
            return teardown.down(observed, policy, declared=declared)
        case "start":
            return teardown.start(observed, services=policy.services, declared=declared)
        case "restart":
            return teardown.restart(observed, policy, declared=declared, with_dependents=dependents)
        case "rm":
            return teardown.rm(observed, policy, declared=declared, stop=stop)
        case "kill":
            return teardown.kill(observed, services=policy.services, signal=_signal(signal),
                                 remove_orphans=orphans, declared=declared)  # fmt: skip
        case _:
            return teardown.stop(observed, policy, declared=declared)


def _signal(text: str) -> str:
    name = signal_name(text)
    if name is None:
        raise UsageError(f"unknown signal: {text}")
    return name


def _known(
    workspace: Workspace, services: Sequence[str], observed: Observed, *, sink: Sink
) -> Project | None:
    """What the files say, asked only where the records do not know a service that is named."""
    recorded = {c.record.service for c in observed.containers}
    if services and recorded.issuperset(services):
        return None
    declared = declared_if_any(workspace, sink=sink) if services else None
    check_services(services, observed=observed, declared=declared)
    return declared


def stop(
    workspace: Workspace, services: Sequence[str], *, timeout: float | None, sink: Sink
) -> None:
    """Stop in reverse dependency order."""
    with Change(workspace, command="stop", sink=sink) as change:
        observed = workspace.observe()
        declared = _known(workspace, services, observed, sink=sink)
        policy = DownPolicy(services=tuple(services), timeout=timeout)
        _carry_out(change, teardown.stop(observed, policy, declared=declared), observed)


def start(
    workspace: Workspace, services: Sequence[str], *, wait: bool, wait_timeout: float | None,
    sink: Sink,
) -> None:  # fmt: skip
    """Start in dependency order; with `wait` until every container is ready."""
    with Change(workspace, command="start", sink=sink) as change:
        observed = workspace.observe()
        declared = _known(workspace, services, observed, sink=sink)
        plan = teardown.start(observed, services=services, declared=declared)
        limit = wait_timeout if wait else None
        jobs = [limited(translate.teardown_job(node, observed), limit) for node in plan]
        if wait:
            jobs += _ready(observed, services, after=len(jobs), timeout=wait_timeout)
        for message in plan.warnings:
            sink(Warned(message=message))
        change.execute(jobs)


def _ready(
    observed: Observed, services: Sequence[str], *, after: int, timeout: float | None
) -> list[protocol.WaitFor]:
    names = sorted({c.record.service for c in selected(observed, services)})
    return [
        protocol.WaitFor(
            number=after + number, after=tuple(range(1, after + 1)), condition="ready",
            containers=tuple(c.record.id for c in observed.of_service(name)),
            service=name, dependent="", timeout=timeout,
        )
        for number, name in enumerate(names, start=1)
    ]  # fmt: skip


def restart(
    workspace: Workspace, services: Sequence[str], *, timeout: float | None, dependents: bool,
    sink: Sink,
) -> None:  # fmt: skip
    """Stop and start; nothing of a changed file is applied."""
    with Change(workspace, command="restart", sink=sink) as change:
        observed = workspace.observe()
        declared = _known(workspace, services, observed, sink=sink)
        policy = DownPolicy(services=tuple(services), timeout=timeout)
        plan = teardown.restart(observed, policy, declared=declared, with_dependents=dependents)
        _carry_out(change, plan, observed)


def kill(
    workspace: Workspace, services: Sequence[str], *, signal: str, orphans: bool, sink: Sink
) -> bool:
    """Send a signal to the running containers; False where none runs."""
    name = _signal(signal)
    with Change(workspace, command="kill", sink=sink) as change:
        observed = workspace.observe()
        declared = _known(workspace, services, observed, sink=sink)
        plan = teardown.kill(observed, services=services, signal=name, remove_orphans=orphans,
                             declared=declared)  # fmt: skip
        _carry_out(change, plan, observed)
    return bool(plan)


def pause(workspace: Workspace, services: Sequence[str], *, sink: Sink) -> bool:
    """Freeze all running containers; False where none runs."""
    return _each(workspace, services, protocol.PauseContainer, paused=False, sink=sink)


def unpause(workspace: Workspace, services: Sequence[str], *, sink: Sink) -> bool:
    """Thaw them; False where none is paused."""
    return _each(workspace, services, protocol.UnpauseContainer, paused=True, sink=sink)


def _each(
    workspace: Workspace, services: Sequence[str],
    kind: type[protocol.PauseContainer | protocol.UnpauseContainer], *, paused: bool, sink: Sink,
) -> bool:  # fmt: skip
    """Without services those it makes sense for; named ones also where it does not, to say so."""
    with Change(workspace, command=kind.__name__[:-9].lower(), sink=sink) as change:
        observed = workspace.observe()
        _known(workspace, services, observed, sink=sink)
        chosen = [c for c in selected(observed, services) if c.is_running
                  and (services or c.status.paused == paused)]  # fmt: skip
        jobs = [kind(number=n, container=c.record.id) for n, c in enumerate(chosen, start=1)]
        change.execute(jobs)
    return bool(jobs)


def removable(workspace: Workspace, services: Sequence[str], *, stop: bool) -> list[str]:
    """Names of what `rm` would remove."""
    observed = workspace.observe()
    _known(workspace, services, observed, sink=ignore)
    return [c.record.name for c in selected(observed, services, running=None if stop else False)]


def rm(
    workspace: Workspace, services: Sequence[str], *, stop: bool, volumes: bool, sink: Sink
) -> None:
    """Remove stopped containers; with `stop` running ones too."""
    with Change(workspace, command="rm", sink=sink) as change:
        observed = workspace.observe()
        policy = DownPolicy(services=tuple(services), volumes=volumes)
        if stop:
            _carry_out(change, teardown.stop(observed, policy), observed)
            observed = workspace.observe()
        _carry_out(change, teardown.rm(observed, policy), observed, last=True)
