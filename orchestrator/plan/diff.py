"""From what is wished and what is there to a plan: pure.

    resources.needed      networks and volumes
    replicas.decide       the containers of each service
    orphans.find          containers that no service of the files claims
    diff                  puts them into one graph of actions

First everything is settled (networks, volumes, removals, new records, stops), then everything is
started, in the order of `depends_on`.  A stop never waits for a start, so the graph has no cycle
whatever edges are drawn from starts to stops.  Nothing is renamed: a replaced container is
CreateContainer (new), StopContainer (old), RemoveContainer (old), StartContainer (new), and each
prefix of that is a state from which the next `up` finds its way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.dataclass import dataclass, field, replace
from orchestrator.errors import PlanError
from orchestrator.names import short
from orchestrator.plan import graph, orphans, replicas, resources
from orchestrator.plan.actions import (
    CreateContainer,
    CreateNetwork,
    CreateVolume,
    Phase,
    RemoveContainer,
    RemoveNetwork,
    RunHooks,
    StartContainer,
    StopContainer,
    WaitFor,
)
from orchestrator.plan.plan import Plan, PlanBuilder
from orchestrator.plan.policy import Recreate, UpPolicy
from orchestrator.plan.replicas import LEFT_OVER, Decision, Replacement, Replica, Wish
from orchestrator.plan.resources import Resources, Wanted, network_of, volume_of
from orchestrator.spec.model import MOST_CONTAINERS, Dependency, Port, Project, Service
from orchestrator.state.observed import Observed, ObservedContainer
from orchestrator.state.records import ContainerRecord


def diff(
    project: Project, observed: Observed, policy: UpPolicy, *, image_ids: Mapping[str, str]
) -> Plan:
    """What `up` has to do.  `project` is whole (all services of the active profiles); the services
    of `policy` and, unless it says otherwise, their dependencies are brought up.  `image_ids`:
    service -> id of the image that it names now; a service that is absent is not compared.

    PlanError: no such service, an external resource is missing, a scale that cannot be;
    CycleError."""
    ordered = graph.order(_edges(project.services))
    targets = _targets(project, policy)
    chosen = _with_dependencies(project, targets) if policy.with_dependencies else targets
    needs, moved = _needs(project, observed, policy, chosen)
    decisions = {}
    for name in ordered:
        if name in chosen or name in moved:
            wish = _wish(project, policy, name, targets=targets, image_ids=image_ids)
            wish = wish if name in chosen else replace(wish, scale=None, recreate="diverged")
            decisions[name] = replicas.decide(project, observed, wish, stale=needs.stale)
    return _Up(project, observed, policy, needs, ordered, chosen, decisions).plan()


def _needs(
    project: Project, observed: Observed, policy: UpPolicy, chosen: set[str]
) -> tuple[Resources, set[str]]:
    """What `chosen` needs, and the services nobody chose whose network is made again with it."""
    keep = "never" in (policy.recreate, policy.recreate_dependencies)
    moved: set[str] = set()
    while True:
        needs = resources.needed(project, observed, chosen | moved, keep=keep,
                                 everything=policy.all_resources)  # fmt: skip
        more = {
            c.record.service
            for c in observed.containers
            if c.record.service in project.services and _is_on(c, needs.stale)
        }
        if more <= chosen | moved:
            return needs, moved
        moved |= more - chosen


def _edges(services: Mapping[str, Service]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(service.depends_on) for name, service in services.items()}


def _targets(project: Project, policy: UpPolicy) -> set[str]:
    for name in (*policy.services, *policy.scale):
        if name not in project.services:
            raise PlanError(f"no such service: {name}", hint=_why_absent(project, name))
    return set(policy.services or project.services)


def _why_absent(project: Project, name: str) -> str:
    if name in project.disabled:
        profiles = ", ".join(project.disabled[name].profiles)
        return f"it is declared, but none of its profiles is active ({profiles})"
    return "declared are: " + (", ".join(sorted(project.services)) or "none")


def _with_dependencies(project: Project, targets: Iterable[str]) -> set[str]:
    found = graph.closure(_edges(project.services), targets)
    for name in sorted(found):
        for dependency in project.services[name].depends_on.values():
            if dependency.required and dependency.service not in project.services:
                where = project.where("services", name, "depends_on", dependency.service)
                raise PlanError(
                    f"service {name} depends on {dependency.service}, which is not there"
                    + (f" ({where})" if where else ""),
                    hint=_why_absent(project, dependency.service),
                )
    return found


def _wish(
    project: Project, policy: UpPolicy, name: str, *, targets: set[str],
    image_ids: Mapping[str, str],
) -> Wish:
    service = project.services[name]
    scale = policy.scale.get(name, service.scale)
    if not 0 <= scale <= MOST_CONTAINERS:
        raise PlanError(f"service {name} cannot be scaled to {scale}")
    if scale > 1 and service.container_name:
        raise PlanError(
            f"service {name} cannot be scaled to {scale}: its container_name "
            f"{service.container_name} can be had once only",
            hint="remove container_name",
        )
    recreate, forced_by = _recreate(policy, target=name in targets)
    return Wish(
        service=service, scale=scale, recreate=recreate, image_id=image_ids.get(name),
        forced_by=forced_by, hook_images=_hook_images(service, image_ids),
    )  # fmt: skip


def _hook_images(service: Service, image_ids: Mapping[str, str]) -> dict[int, str]:
    keys = {n: replicas.hook_key(service.name, n) for n in range(len(service.pre_start))}
    return {n: image_ids[key] for n, key in keys.items() if key in image_ids}


def _recreate(policy: UpPolicy, *, target: bool) -> tuple[Recreate, str]:
    chosen = policy.recreate if target else policy.recreate_dependencies
    if target and chosen == "diverged" and policy.renew_anonymous_volumes:
        return "force", "its anonymous volumes are renewed"
    return chosen, "forced"


def _is_on(container: ObservedContainer, networks: Iterable[str]) -> bool:
    return not set(networks).isdisjoint(container.record.networks.values())


def _is_up(container: ObservedContainer) -> bool:
    return container.status.state in ("running", "restarting")


@dataclass(frozen=True, slots=True)
class _Start:
    """A container to start and the nodes that it has to wait for."""

    name: str
    index: int
    container: str | None
    after: tuple[int, ...]
    cause: str = ""


@dataclass(slots=True)
class _Up:
    """The plan in the making."""

    project: Project
    observed: Observed
    policy: UpPolicy
    needs: Resources
    ordered: list[str]
    """All services, dependencies first."""
    chosen: set[str]
    """Those that are to be up in the end."""
    decisions: dict[str, Decision]
    """Of the chosen services, and of those whose network is made again."""
    builder: PlanBuilder = field(default_factory=PlanBuilder)
    made: dict[tuple[str, str], int] = field(default_factory=dict)
    """("network" or "volume", name) -> the node that makes it."""
    stopped: dict[str, int] = field(default_factory=dict)
    """Container id -> its StopContainer."""
    freed: list[tuple[str, int, int]] = field(default_factory=list)
    """(protocol, host port, the StopContainer that gives it free)."""
    restarting: dict[str, list[str]] = field(default_factory=dict)
    """A service that is recreated -> those that are restarted with it."""
    hooked: dict[str, list[int]] = field(default_factory=dict)
    """Service -> removals of what failed pre_start hooks have left."""
    starts: dict[str, list[_Start]] = field(default_factory=dict)
    started: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Service -> nodes after which it is started; those of its dependencies if it has none."""

    def plan(self) -> Plan:
        """Everything is decided: put it together."""
        self._find_restarting()
        self._make_networks()
        self._make_volumes()
        self._remove_leftovers()
        for name in self.ordered:
            if name in self.decisions:
                self._settle(self.decisions[name])
        self._restart_dependents()
        if self.policy.start:
            for name in self.ordered:
                self._start(name)
        self.builder.warnings += self.needs.warnings
        self.builder.unchanged += self._unchanged()
        return self.builder.build()

    # networks, volumes, what is in nobody's way

    def _make_networks(self) -> None:
        for wanted in self.needs.renew_networks:
            stops = self._clear_network(wanted.name)
            removal = RemoveNetwork(subject=wanted.name, cause=wanted.cause)
            removed = self.builder.add(removal, after=stops)
            self._make_network(wanted, after=(removed,))
        for wanted in self.needs.create_networks:
            self._make_network(wanted, after=())

    def _make_network(self, wanted: Wanted, *, after: tuple[int, ...]) -> None:
        action = CreateNetwork(subject=wanted.name, key=wanted.key, cause=wanted.cause)
        self.made["network", wanted.name] = self.builder.add(action, after=after)

    def _clear_network(self, name: str) -> list[int]:
        """Stop whoever is on the network, also what this project's files do not claim."""
        stops: list[int] = []
        for container in self.observed.containers:
            if not _is_on(container, (name,)) or not _is_up(container):
                continue
            stops += self._stop(container, cause=f"network {name} is made again")
            if container.record.oneoff or container.record.service not in self.decisions:
                self.builder.warnings.append(
                    f"container {container.record.name} is stopped because its network {name} is "
                    "made again; it has to be made again too"
                )
        return stops

    def _make_volumes(self) -> None:
        for wanted in self.needs.create_volumes:
            action = CreateVolume(subject=wanted.name, key=wanted.key, cause=wanted.cause)
            self.made["volume", wanted.name] = self.builder.add(action)

    def _remove_leftovers(self) -> None:
        for id_ in self.observed.broken:
            cause = "its record cannot be read"
            self.builder.add(
                RemoveContainer(
                    subject=short(id_), service="", container=id_, force=True, cause=cause
                )
            )
        for container in self.observed.containers:
            service = container.record.service
            if orphans.is_hook(container) and service in self.decisions:
                removed = self._remove(container, cause="left over by a failed start")
                self.hooked.setdefault(service, []).extend(removed)
        found = orphans.find(self.project, self.observed)
        foreign = orphans.foreign_warning(self.project, self.observed)
        if foreign and not self.policy.ignore_orphans:
            self.builder.warnings.append(foreign)
        if not found or self.policy.ignore_orphans:
            return
        if not self.policy.remove_orphans:
            self.builder.warnings.append(orphans.warning(found))
            return
        for container in found:
            self._remove(container, cause="orphan")

    # one service: what goes, what is made again, what comes

    def _settle(self, decision: Decision) -> None:
        there = len(decision.keep) + len(decision.replace) + len(decision.remove)
        scaled = f"scale {there} -> {decision.scale}"
        for replica in decision.remove:
            for container in replica.generations:
                self._remove(container, cause=scaled)
        for replica in decision.keep:
            self._keep(replica)
        for replacement in decision.replace:
            self._replace(decision.service, replacement)
        for index in decision.create:
            created = self._create(decision.service, index, cause=scaled if there else "new")
            self._will_start(decision.service, index, after=(created,))

    def _keep(self, replica: Replica) -> None:
        gone = [n for c in replica.older for n in self._remove(c, cause=LEFT_OVER)]
        record, state = replica.newest.record, replica.newest.status.state
        if not _is_up(replica.newest) and record.service in self.chosen:
            ready = self._made(record.networks.values(), record.named_volumes.values())
            start = _Start(record.name, record.index, record.id, (*gone, *ready), state)
            self.starts.setdefault(record.service, []).append(start)

    def _replace(self, service: str, replacement: Replacement) -> None:
        replica = replacement.replica
        created = self._create(
            service, replica.index, cause=replacement.cause, replaces=replica.newest.record.id
        )
        if replacement.image_changed and not self.policy.renew_anonymous_volumes:
            self._warn_of_stale(replica.newest.record)
        self._stop_dependents(service)
        gone: list[int] = []
        for container in replica.generations:
            cause = "replaced" if container is replica.newest else LEFT_OVER
            gone += self._remove(container, cause=cause, after=(created,))
        if service in self.chosen or _is_up(replica.newest):
            self._will_start(service, replica.index, after=tuple(gone))

    def _warn_of_stale(self, record: ContainerRecord) -> None:
        """What the old image put into an anonymous volume hides what the new one has there."""
        for target in record.anonymous_volumes:
            self.builder.warnings.append(
                f"anonymous volume {target} of {record.name} is kept from image "
                f"{short(record.image_id.removeprefix('sha256:'))} (-V makes a new one)"
            )

    def _create(self, service: str, index: int, *, cause: str, replaces: str | None = None) -> int:
        declared = self.project.services[service]
        networks = [network_of(self.project, key).name for key in declared.networks]
        volumes = [
            volume_of(self.project, m.source).name
            for m in declared.volumes
            if m.type == "volume" and m.source is not None
        ]
        action = CreateContainer(
            subject=self._name(declared, index),
            service=service,
            index=index,
            cause=cause,
            replaces=replaces,
            inherit_volumes=not self.policy.renew_anonymous_volumes,
        )
        return self.builder.add(action, after=self._made(networks, volumes))

    def _name(self, service: Service, index: int) -> str:
        return replicas.name_of(self.project, service, index, separator=self.policy.separator)

    def _made(self, networks: Iterable[str], volumes: Iterable[str]) -> tuple[int, ...]:
        names = [*(("network", n) for n in networks), *(("volume", v) for v in volumes)]
        return tuple(self.made[name] for name in names if name in self.made)

    def _will_start(self, service: str, index: int, *, after: tuple[int, ...]) -> None:
        name = self._name(self.project.services[service], index)
        self.starts.setdefault(service, []).append(_Start(name, index, None, after))

    # stopping and removing

    def _stop(
        self, container: ObservedContainer, *, cause: str, after: tuple[int, ...] = ()
    ) -> tuple[int, ...]:
        """The node that stops a container, made once; nothing for one that is not up.  Those who
        are to be restarted with it are stopped first."""
        record = container.record
        if not _is_up(container):
            return ()
        if record.id not in self.stopped:
            first = [] if record.oneoff else self._stop_dependents(record.service)
            action = StopContainer(
                subject=record.name, service=record.service, container=record.id,
                timeout=self.policy.timeout, cause=cause,
            )  # fmt: skip
            node = self.builder.add(action, after=(*after, *first))
            self.stopped[record.id] = node
            self.freed += [(p, n, node) for p, n in _bound(container)]
        return (self.stopped[record.id],)

    def _remove(
        self, container: ObservedContainer, *, cause: str, after: tuple[int, ...] = ()
    ) -> tuple[int, ...]:
        stops = self._stop(container, cause=cause, after=after)
        record = container.record
        action = RemoveContainer(
            subject=record.name, service=record.service, container=record.id, cause=cause
        )
        return (self.builder.add(action, after=(*after, *stops)),)

    # depends_on.restart

    def _find_restarting(self) -> None:
        if not (self.policy.start and self.policy.with_dependencies):
            return
        for name in self.ordered:
            for dependency in self.project.services[name].depends_on.values():
                decision = self.decisions.get(dependency.service)
                if dependency.restart and decision is not None and decision.replace:
                    self.restarting.setdefault(dependency.service, []).append(name)

    def _stop_dependents(self, service: str) -> list[int]:
        stops: list[int] = []
        for name in self.restarting.get(service, ()):
            for container in self.observed.of_service(name):
                stops += self._stop(container, cause=f"restarted with {service}")
        return stops

    def _restart_dependents(self) -> None:
        """Start again what was stopped for the sake of a dependency and is not replaced."""
        for name in sorted({n for names in self.restarting.values() for n in names}):
            decision = self.decisions.get(name)
            there = replicas.replicas(self.observed.of_service(name))
            for replica in there if decision is None else decision.keep:
                record = replica.newest.record
                if record.id in self.stopped:
                    start = _Start(
                        record.name,
                        record.index,
                        record.id,
                        (self.stopped[record.id],),
                        "restarted",
                    )
                    self.starts.setdefault(name, []).append(start)

    def _unchanged(self) -> list[str]:
        return [
            replica.newest.record.name
            for name in self.ordered
            if name in self.decisions
            for replica in self.decisions[name].keep
            if _is_up(replica.newest) and replica.newest.record.id not in self.stopped
        ]

    # starting

    def _start(self, name: str) -> None:
        todo = sorted(self.starts.get(name, ()), key=lambda s: s.index)
        before = self._gates(name, starting=bool(todo))
        service = self.project.services[name]
        wishes = [w for w in map(_host_ports, service.ports) if w]
        first = self._before_first(service, todo, before)
        nodes = []
        for start in todo:
            action = StartContainer(
                subject=start.name, service=name, index=start.index, container=start.container,
                cause=start.cause,
            )  # fmt: skip
            after = (*start.after, *before, *first, *self._freed_for(wishes))
            nodes.append(self.builder.add(action, after=after))
            if self._has_hooks(start, service, "post_start"):
                nodes[-1] = self._hooks(start, name, "post_start", after=(nodes[-1],))
        self.started[name] = tuple(nodes or before)

    def _before_first(
        self, service: Service, todo: list[_Start], before: list[int]
    ) -> tuple[int, ...]:
        """The node of the pre_start hooks; nothing where a replica runs already."""
        there = self.observed.of_service(service.name)
        stays = any(_is_up(c) and c.record.id not in self.stopped for c in there)
        if not todo or stays or not self._has_hooks(todo[0], service, "pre_start"):
            return ()
        stops = (self.stopped[c.record.id] for c in there if c.record.id in self.stopped)
        after = (*todo[0].after, *before, *stops, *self.hooked.get(service.name, ()))
        return (self._hooks(todo[0], service.name, "pre_start", after=after),)

    def _has_hooks(self, start: _Start, service: Service, phase: Phase) -> bool:
        """As its record says, if it is there: with --no-recreate the file may say otherwise."""
        for container in self.observed.of_service(service.name):
            if container.record.id == start.container:
                return bool(container.record.spec.get(phase))
        return bool(getattr(service, phase))

    def _hooks(
        self, start: _Start, service: str, phase: Phase, *, after: tuple[int, ...]
    ) -> int:
        action = RunHooks(
            subject=start.name, service=service, phase=phase, container=start.container
        )
        return self.builder.add(action, after=after)

    def _gates(self, name: str, *, starting: bool) -> list[int]:
        """The nodes that the starts of a service wait for on behalf of its dependencies."""
        found: list[int] = []
        for dependency in self.project.services[name].depends_on.values():
            if not self._is_awaited(dependency):
                continue
            prior = self.started.get(dependency.service, ())
            if starting and dependency.condition != "service_started":
                action = WaitFor(
                    subject=name, service=dependency.service, condition=dependency.condition,
                    required=dependency.required,
                )  # fmt: skip
                prior = (self.builder.add(action, after=prior),)
            found += prior
        return found

    def _is_awaited(self, dependency: Dependency) -> bool:
        """Not one that is scaled to nothing, nor one that --no-deps leaves alone."""
        name = dependency.service
        decision = self.decisions.get(name)
        if decision is not None and decision.scale == 0:
            return False
        return name in self.chosen or bool(self.starts.get(name))

    def _freed_for(self, wishes: list[tuple[str, int, int]]) -> list[int]:
        """The stops that give free a host port which a start may want."""
        return [
            node
            for protocol, port, node in self.freed
            for wanted, first, last in wishes
            if protocol == wanted and first <= port <= last
        ]


def _bound(container: ObservedContainer) -> list[tuple[str, int]]:
    """(protocol, host port) of what a container has published."""
    found = []
    for port in container.status.ports:
        published = port.get("published")
        if isinstance(published, int | str) and str(published).isdecimal():
            found.append((str(port.get("protocol")), int(published)))
    return found


def _host_ports(port: Port) -> tuple[str, int, int] | None:
    """(protocol, first, last) of the host ports it may take; None: any that is free."""
    first, _, last = (port.published or "").partition("-")
    if not first.isdecimal() or not (last or first).isdecimal():
        return None
    return (port.protocol, int(first), int(last or first))
