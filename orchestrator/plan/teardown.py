"""Plans that need no Compose file: down, stop, start, restart, kill, rm.

What depends on what is read from the records; the files, where there are any (`declared`), add
what they say and tell orphans from services.  Dependents are stopped before what they depend on,
also where the service between them has nothing to stop; services that do not know each other are
stopped side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from orchestrator.dataclass import replace
from orchestrator.errors import PlanError
from orchestrator.names import short
from orchestrator.plan import graph, orphans
from orchestrator.plan.actions import (
    KillContainer,
    Phase,
    RemoveContainer,
    RemoveNetwork,
    RemoveVolume,
    RunHooks,
    StartContainer,
    StopContainer,
    WaitFor,
)
from orchestrator.plan.plan import Plan, PlanBuilder
from orchestrator.plan.policy import DownPolicy
from orchestrator.spec.model import Dependency, Project
from orchestrator.state.observed import Observed, ObservedContainer

Relations = Mapping[str, Mapping[str, Dependency]]
"""service -> what it depends on."""


def relations(observed: Observed, declared: Project | None) -> Relations:
    """Who depends on whom: as recorded when the newest container of each service was made, else as
    declared.  Every service that has a container or is declared is a key."""
    found: dict[str, dict[str, Dependency]] = {}
    if declared is not None:
        for name, service in {**declared.disabled, **declared.services}.items():
            found[name] = dict(service.depends_on)
    for container in sorted(observed.containers, key=lambda c: c.record.created_at):
        record = container.record
        if not record.oneoff or record.service not in found:
            found[record.service] = {k: _dependency(k, v) for k, v in record.depends_on.items()}
    return found


def _dependency(service: str, data: Mapping[str, object]) -> Dependency:
    condition = data.get("condition")
    if condition not in ("service_healthy", "service_completed_successfully"):
        condition = "service_started"
    return Dependency(
        service=service,
        condition=condition,  # type: ignore[arg-type]  # one of the three
        restart=data.get("restart") is True,
        required=data.get("required") is not False,
    )


def down(observed: Observed, policy: DownPolicy, *, declared: Project | None) -> Plan:
    """Stop and remove: the services of `policy` with those that depend on them, else everything;
    then the project's networks and, with `volumes`, its volumes.  External and foreign ones stay.

    One-offs and orphans only with `remove_orphans`; without a file nothing is an orphan.
    PlanError: a named service that the files lack."""
    related = relations(observed, declared)
    services = _down_services(related, policy.services, declared)
    chosen = [
        c for c in observed.containers
        if _goes_down(c, services, policy, declared) and not _is_foreign(c, observed, declared)
    ]  # fmt: skip
    builder = PlanBuilder()
    hooked = _with_pre_stop(chosen, declared)
    stops = _stop_all(builder, related, chosen, timeout=policy.timeout, hooked=hooked)
    removed = [
        _remove(builder, c, after=stops.get(c.record.id, ()), volumes=policy.volumes)
        for c in chosen
    ]
    if not policy.services:
        removed += [_remove_broken(builder, id_) for id_ in observed.broken]
    rest = [c for c in observed.containers if c not in chosen]
    _remove_networks(builder, observed, rest, removed, named=bool(policy.services))
    if policy.volumes:
        _remove_volumes(builder, observed, rest, removed, named=bool(policy.services))
    _warn_of_orphans(builder, declared, replace(observed, containers=tuple(rest)))
    if not builder.nodes:
        name = _name(observed, declared)
        builder.warnings.append(f'Warning: No resource found to remove for project "{name}".')
    return builder.build()


def _name(observed: Observed, declared: Project | None) -> str:
    return declared.name if declared is not None else observed.name


def _down_services(related: Relations, named: Sequence[str], declared: Project | None) -> set[str]:
    if not named:
        return set(related)
    _check_declared(named, declared)
    return graph.closure(graph.reverse(related), named)


def _check_declared(named: Sequence[str], declared: Project | None) -> None:
    for name in named:
        if declared is not None and name not in {**declared.services, **declared.disabled}:
            known = ", ".join(sorted(declared.services)) or "none"
            raise PlanError(f"no such service: {name}", hint=f"declared are: {known}")


def _goes_down(
    container: ObservedContainer, services: set[str], policy: DownPolicy, declared: Project | None
) -> bool:
    record = container.record
    if record.oneoff and not orphans.is_hook(container):
        return policy.remove_orphans and (not policy.services or record.service in services)
    if (
        declared is None
        or record.service in declared.services
        or (record.service in declared.disabled)
    ):
        return record.service in services
    return policy.remove_orphans and not policy.services


def _remove(
    builder: PlanBuilder, container: ObservedContainer, *, after: Iterable[int], volumes: bool
) -> int:
    record = container.record
    action = RemoveContainer(
        subject=record.name, service=record.service, container=record.id, volumes=volumes
    )
    return builder.add(action, after=tuple(after))


def _remove_broken(builder: PlanBuilder, id_: str) -> int:
    return builder.add(
        RemoveContainer(
            subject=short(id_), service="", container=id_, force=True,
            cause="its record cannot be read",
        )
    )  # fmt: skip


def _remove_networks(
    builder: PlanBuilder,
    observed: Observed,
    rest: list[ObservedContainer],
    removed: list[int],
    *,
    named: bool,
) -> None:
    """What is named stays with its network, running or not; of what is left by a whole `down`
    (one-offs, orphans) only the running hold theirs, as with Docker."""
    holders = rest if named else [c for c in rest if _is_up(c)]
    used = {name for c in holders for name in c.record.networks.values()}
    for name in _own_networks(observed):
        if name not in used:
            builder.add(RemoveNetwork(subject=name), after=removed)
        elif not named:
            builder.warnings.append(f"Network {name} Resource is still in use")


def _own_networks(observed: Observed) -> list[str]:
    """Names of the networks that this project made, also one whose record is lost."""
    networks = observed.networks
    own = {n for n, there in networks.items() if there.record.project == observed.name}
    if observed.project is not None:
        own |= {n for n in observed.project.networks.values() if n not in networks}
    return sorted(own)


def _remove_volumes(
    builder: PlanBuilder,
    observed: Observed,
    rest: list[ObservedContainer],
    removed: list[int],
    *,
    named: bool,
) -> None:
    """The project's declared volumes, and anonymous ones that no container has any more (those of
    the containers that go are removed with them)."""
    held = {name for c in observed.containers for name in c.record.anonymous_volumes.values()}
    used = {name for c in rest for name in c.record.named_volumes.values()}
    for name, record in sorted(observed.volumes.items()):
        if record.project != observed.name or name in held:
            continue
        if name not in used:
            builder.add(RemoveVolume(subject=name), after=removed)
        elif not named:
            builder.warnings.append(f"Volume {name} Resource is still in use")


def _warn_of_orphans(builder: PlanBuilder, declared: Project | None, rest: Observed) -> None:
    """`rest` is what stays."""
    if declared is None:
        return
    found = orphans.find(declared, rest)
    if found:
        builder.warnings.append(orphans.warning(found))
    foreign = orphans.foreign_warning(declared, rest)
    if foreign:
        builder.warnings.append(foreign)


def _is_foreign(
    container: ObservedContainer, observed: Observed, declared: Project | None
) -> bool:
    return declared is not None and orphans.is_foreign(declared, container, observed)


def drop_volumes(observed: Observed, names: Collection[str]) -> Plan:
    """Remove volumes with their data, before that every container of the project that has one:
    the next `up` makes all of it again."""
    builder = PlanBuilder()
    chosen = [c for c in observed.containers if set(names) & set(c.record.named_volumes.values())]
    stops = _stop_all(builder, relations(observed, None), chosen, timeout=None,
                      hooked=_with_pre_stop(chosen, None))  # fmt: skip
    removed = [
        _remove(builder, c, after=stops.get(c.record.id, ()), volumes=False) for c in chosen
    ]
    for name in sorted(names):
        builder.add(RemoveVolume(subject=name), after=removed)
    return builder.build()


# stop, start, restart


def stop(observed: Observed, policy: DownPolicy, *, declared: Project | None = None) -> Plan:
    """Stop the running containers of the services, one-offs excluded; dependents first."""
    _check_declared(policy.services, declared)
    chosen = _of_services(observed, policy.services)
    builder = PlanBuilder()
    _stop_all(builder, relations(observed, declared), chosen, timeout=policy.timeout,
              hooked=_with_pre_stop(chosen, declared))  # fmt: skip
    return builder.build()


def start(
    observed: Observed,
    *,
    services: Sequence[str] = (),
    declared: Project | None = None,
    with_dependencies: bool = True,
) -> Plan:
    """Start the stopped containers of the services and of what they depend on, in that order and
    under the recorded conditions.  PlanError: a named service without a container."""
    related = relations(observed, declared)
    _check_declared(services, declared)
    for name in services:
        if not _of_services(observed, (name,)):
            raise PlanError(
                f"service {name} has no container to start", hint=f"make one: pcompose up {name}"
            )
    names = set(services or related)
    names = graph.closure(_needs(related), names) if with_dependencies else names
    stopped = [c for c in _newest(observed) if c.record.service in names and not _is_up(c)]
    builder = PlanBuilder()
    awaited = names & {c.record.service for c in observed.containers}
    first = _first_of_all(builder, observed, stopped)
    _start_all(builder, related, stopped, awaited=awaited, after={}, cause=_state, first=first)
    return builder.build()


def _first_of_all(
    builder: PlanBuilder, observed: Observed, stopped: Iterable[ObservedContainer]
) -> dict[str, tuple[int, ...]]:
    """Services of which nothing runs and whose first container has pre_start hooks -> the nodes
    that clear away what failed ones have left."""
    up = {c.record.service for c in _of_services(observed, ()) if _is_up(c)}
    hooked = {c.record.service for c in stopped if c.record.spec.get("pre_start")} - up
    return {
        name: tuple(
            _remove(builder, c, after=(), volumes=False) for c in observed.containers
            if orphans.is_hook(c) and c.record.service == name and not _is_up(c)
        )
        for name in sorted(hooked)
    }  # fmt: skip


def restart(
    observed: Observed,
    policy: DownPolicy,
    *,
    declared: Project | None = None,
    with_dependents: bool = True,
) -> Plan:
    """Stop and start the containers of the services and, unless told otherwise, of those that
    depend on them with `restart: true`; nothing else of a changed file is applied.  What is
    stopped already is only started."""
    related = relations(observed, declared)
    _check_declared(policy.services, declared)
    names = set(policy.services or related)
    if policy.services and with_dependents:
        names = graph.closure(_taken_along(related), names)
    chosen = [c for c in _newest(observed) if c.record.service in names]
    builder = PlanBuilder()
    stops = _stop_all(builder, related, chosen, timeout=policy.timeout,
                      hooked=_with_pre_stop(chosen, declared))  # fmt: skip
    awaited = {c.record.service for c in chosen}
    _start_all(builder, related, chosen, awaited=awaited, after=stops, cause=lambda _: "restart")
    return builder.build()


def _needs(related: Relations) -> dict[str, tuple[str, ...]]:
    return {name: tuple(needs) for name, needs in related.items()}


def _taken_along(related: Relations) -> dict[str, list[str]]:
    """service -> those that are restarted with it."""
    kept = {
        name: [d.service for d in needs.values() if d.restart] for name, needs in related.items()
    }
    return graph.reverse(kept)


def _of_services(observed: Observed, services: Sequence[str]) -> list[ObservedContainer]:
    return [
        c for c in observed.containers
        if not c.record.oneoff and (not services or c.record.service in services)
    ]  # fmt: skip


def _newest(observed: Observed) -> list[ObservedContainer]:
    """One container for each replica: older generations are not started again."""
    found = {(c.record.service, c.record.index): c for c in _by_age(_of_services(observed, ()))}
    return sorted(found.values(), key=lambda c: (c.record.service, c.record.index))


def _by_age(containers: Iterable[ObservedContainer]) -> list[ObservedContainer]:
    return sorted(containers, key=lambda c: (c.record.created_at, c.record.id))


def _is_up(container: ObservedContainer) -> bool:
    return container.status.state in ("running", "restarting")


def _state(container: ObservedContainer) -> str:
    return container.status.state


def _ordered(related: Relations) -> list[str]:
    """Dependencies first.  Records of several files can contradict each other: a circle must not
    keep anybody from stopping, so then it is the order of names."""
    try:
        return graph.order(_needs(related))
    except PlanError:
        return sorted(related)


def _stop_all(
    builder: PlanBuilder,
    related: Relations,
    chosen: Iterable[ObservedContainer],
    *,
    timeout: float | None,
    hooked: set[str],
) -> dict[str, tuple[int, ...]]:
    """Stop what is up of `chosen`, dependents first: container id -> its node.  `hooked`: ids of
    those whose pre_stop hooks run before."""
    up: dict[str, list[ObservedContainer]] = {}
    for container in chosen:
        if _is_up(container):
            up.setdefault(container.record.service, []).append(container)
    dependents = graph.reverse(_needs(related))
    quiet: dict[str, tuple[int, ...]] = {}
    nodes: dict[str, tuple[int, ...]] = {}
    for name in reversed(_ordered(related)):
        before = tuple(n for d in dependents.get(name, ()) for n in quiet.get(d, ()))
        stops = []
        for container in up.get(name, ()):
            record = container.record
            first = before
            if record.id in hooked:
                first = (_hooks(builder, container, "pre_stop", after=before),)
            action = StopContainer(
                subject=record.name, service=name, container=record.id, timeout=timeout
            )
            stops.append(builder.add(action, after=first))
            nodes[record.id] = (stops[-1],)
        quiet[name] = tuple(stops) or before
    return nodes


def _with_pre_stop(chosen: Iterable[ObservedContainer], declared: Project | None) -> set[str]:
    """Ids of the containers whose pre_stop hooks are run; those of orphans are not."""
    return {
        c.record.id for c in chosen
        if c.is_running and c.record.spec.get("pre_stop") and not c.record.oneoff
        and not _is_undeclared(c, declared)
    }  # fmt: skip


def _start_all(
    builder: PlanBuilder,
    related: Relations,
    chosen: Iterable[ObservedContainer],
    *,
    awaited: set[str],
    after: Mapping[str, tuple[int, ...]],
    cause: Callable[[ObservedContainer], str],
    first: Mapping[str, tuple[int, ...]] | None = None,
) -> None:
    """Start `chosen`, dependencies first, under the conditions of `related` for the dependencies
    that are in `awaited`; `after`: container id -> nodes that come before its start; `first`:
    services whose pre_start hooks run before the first start -> nodes that come before those."""
    todo: dict[str, list[ObservedContainer]] = {}
    for container in chosen:
        todo.setdefault(container.record.service, []).append(container)
    started: dict[str, tuple[int, ...]] = {}
    for name in _ordered(related):
        here = todo.get(name, [])
        before: list[int] = []
        for dependency in related[name].values():
            if dependency.service not in awaited:
                continue
            prior = started.get(dependency.service, ())
            if here and dependency.condition != "service_started":
                prior = (_wait(builder, name, dependency, after=prior),)
            before += prior
        if here and first is not None and name in first:
            before.append(_hooks(builder, here[0], "pre_start", after=(*before, *first[name])))
        started[name] = tuple(
            _start_one(builder, c, after=(*before, *after.get(c.record.id, ())), cause=cause(c))
            for c in here
        ) or tuple(before)


def _wait(
    builder: PlanBuilder, name: str, dependency: Dependency, *, after: tuple[int, ...]
) -> int:
    action = WaitFor(
        subject=name, service=dependency.service, condition=dependency.condition,
        required=dependency.required,
    )  # fmt: skip
    return builder.add(action, after=after)


def _start_one(
    builder: PlanBuilder, container: ObservedContainer, *, after: tuple[int, ...], cause: str
) -> int:
    record = container.record
    action = StartContainer(
        subject=record.name, service=record.service, index=record.index, container=record.id,
        cause=cause,
    )  # fmt: skip
    node = builder.add(action, after=after)
    if record.spec.get("post_start"):
        return _hooks(builder, container, "post_start", after=(node,))
    return node


def _hooks(
    builder: PlanBuilder, container: ObservedContainer, phase: Phase, *, after: tuple[int, ...]
) -> int:
    record = container.record
    action = RunHooks(
        subject=record.name, service=record.service, phase=phase, container=record.id
    )
    return builder.add(action, after=after)


# kill, rm


def kill(
    observed: Observed,
    *,
    services: Sequence[str] = (),
    signal: str = "SIGKILL",
    remove_orphans: bool = False,
    declared: Project | None = None,
) -> Plan:
    """Send a signal to the running containers of the services; orphans and one-offs too with
    `remove_orphans`."""
    _check_declared(services, declared)
    builder = PlanBuilder()
    for container in observed.containers:
        record = container.record
        if not container.is_running or (services and record.service not in services):
            continue
        if not remove_orphans and (record.oneoff or _is_undeclared(container, declared)):
            continue
        if _is_foreign(container, observed, declared):
            continue
        builder.add(
            KillContainer(
                subject=record.name, service=record.service, container=record.id, signal=signal
            )
        )
    if not builder.nodes:
        builder.warnings.append("No container to kill")
    return builder.build()


def _is_undeclared(container: ObservedContainer, declared: Project | None) -> bool:
    if declared is None:
        return False
    service = container.record.service
    return service not in declared.services and service not in declared.disabled


def rm(
    observed: Observed, policy: DownPolicy, *, declared: Project | None = None, stop: bool = False
) -> Plan:
    """Remove the stopped containers of the services (with `stop`: all of them, stopped first),
    one-offs excluded.  The subjects of its RemoveContainer nodes are what the user is asked."""
    _check_declared(policy.services, declared)
    chosen = [c for c in _of_services(observed, policy.services) if stop or not _is_up(c)]
    builder = PlanBuilder()
    stops = _stop_all(builder, relations(observed, declared), chosen, timeout=policy.timeout,
                      hooked=_with_pre_stop(chosen, declared))  # fmt: skip
    for container in chosen:
        _remove(
            builder, container, after=stops.get(container.record.id, ()), volumes=policy.volumes
        )
    if not builder.nodes:
        builder.warnings.append("No stopped containers")
    return builder.build()
