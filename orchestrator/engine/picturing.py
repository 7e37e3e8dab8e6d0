"""A project as a graph: services, networks and volumes, what leads from one to another, how it is.

Data only; `cli.drawing` makes text and pictures of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal

from orchestrator.dataclass import dataclass
from orchestrator.engine.lookup import check_services, declared_if_any
from orchestrator.plan import graph, teardown

if TYPE_CHECKING:
    from orchestrator.engine.workspace import Workspace
    from orchestrator.events import Sink
    from orchestrator.spec.model import Project
    from orchestrator.state.observed import Observed, ObservedContainer

Kind = Literal["service", "network", "volume"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A service, a network or a volume."""

    kind: Kind
    name: str
    state: str
    """`running (healthy)`, `running 1/2`, `exited (1)`; `missing` of what is not there."""
    image: str = ""
    ports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrow:
    """`source` depends on `target`, is on that network, has that volume."""

    source: str
    target: str
    kind: Kind
    """Of the target."""
    label: str = ""
    """The condition; where the volume is mounted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The whole graph; boxes by kind and name, services after what they depend on."""

    project: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]

    def of(self, kind: Kind) -> list[Box]:
        return [box for box in self.boxes if box.kind == kind]

    def leading(self, source: str, kind: Kind) -> list[Arrow]:
        """Arrows from a service."""
        return [a for a in self.arrows if a.source == source and a.kind == kind]


def picture(workspace: Workspace, services: Iterable[str], *, sink: Sink) -> Picture:
    """The services with what they depend on (none named: all); needs no file where containers are
    there."""
    chosen = list(services)
    observed = workspace.observe()
    declared = declared_if_any(workspace, sink=sink)
    check_services(chosen, observed=observed, declared=declared)
    related = teardown.relations(observed, declared)
    if declared is not None:
        inactive = set(declared.disabled) - {c.record.service for c in observed.containers}
        related = {name: needs for name, needs in related.items() if name not in inactive}
    shown = graph.closure({n: list(d) for n, d in related.items()}, chosen or list(related))
    names = [n for n in graph.order({n: list(d) for n, d in related.items()}) if n in shown]
    arrows = [
        Arrow(source=name, target=d.service, kind="service", label=d.condition)
        for name in names for d in related[name].values() if d.service in shown
    ]  # fmt: skip
    arrows += [a for name in names for a in _uses(name, declared, observed)]
    boxes = [_service(name, declared, observed) for name in names]
    boxes += _resources(workspace.name, arrows, declared, observed)
    return Picture(project=workspace.name, boxes=tuple(boxes), arrows=tuple(arrows))


def _service(name: str, declared: Project | None, observed: Observed) -> Box:
    containers = observed.of_service(name)
    image = containers[-1].record.image if containers else ""
    ports = tuple(dict.fromkeys(
        f"{p['published']}->{p['target']}/{p['protocol']}" for c in containers if c.is_running
        for p in c.status.ports
    ))  # fmt: skip
    if declared is not None and name in declared.services:
        service = declared.services[name]
        image = image or service.image or f"{declared.name}-{name}"
        ports = ports or tuple(
            f"{p.published}->{p.target}/{p.protocol}" for p in service.ports if p.published)
    return Box(kind="service", name=name, state=state(containers), image=image, ports=ports)


def state(containers: Iterable[ObservedContainer]) -> str:
    """How the replicas of a service are, in few words."""
    found = list(containers)
    if not found:
        return "missing"
    running = [c for c in found if c.is_running]
    if not running:
        first = found[0].status
        ended = first.state in ("exited", "dead", "restarting") and first.exit_code is not None
        return f"{first.state} ({first.exit_code})" if ended else first.state
    states = {c.status.shown_state for c in running}
    healths = {c.status.health for c in running} - {""}
    word = "paused" if states == {"paused"} else "running"
    worst = next((h for h in ("unhealthy", "starting", "healthy") if h in healths), "")
    count = f" {len(running)}/{len(found)}" if len(found) > 1 else ""
    return f"{word}{count}" + (f" ({worst})" if worst else "")


def _uses(name: str, declared: Project | None, observed: Observed) -> Iterator[Arrow]:
    """The networks and named volumes of a service."""
    if declared is not None and name in declared.services:
        service = declared.services[name]
        yield from (Arrow(source=name, target=key, kind="network") for key in service.networks)
        for mount in service.volumes:
            if mount.type == "volume" and mount.source:
                yield Arrow(source=name, target=mount.source, kind="volume", label=mount.target)
        return
    for container in observed.of_service(name)[-1:]:
        record = container.record
        yield from (Arrow(source=name, target=key, kind="network") for key in record.networks)
        for target, volume in record.named_volumes.items():
            yield Arrow(source=name, target=volume, kind="volume", label=target)


def _resources(
    project: str, arrows: Iterable[Arrow], declared: Project | None, observed: Observed
) -> Iterator[Box]:
    wanted = sorted({(a.kind, a.target) for a in arrows if a.kind != "service"})
    for kind, key in wanted:
        there = observed.networks if kind == "network" else observed.volumes
        names = {f"{project}_{key}", key}
        if declared is not None:
            section = declared.networks if kind == "network" else declared.volumes
            names = {section[key].name} if key in section else names
        exists = any(name in there for name in names)
        yield Box(kind=kind, name=key, state="" if exists else "missing")
