"""`volumes_from`: which container lends its mounts, and what they are.

The record of the lender says it: one that is being made in the same plan, one that is there, or one
of another project.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from orchestrator.dataclass import replace
from orchestrator.engine.mounting import Lent
from orchestrator.engine.places import fault
from orchestrator.runtime.spec import ContainerSpec
from orchestrator.state import observe

if TYPE_CHECKING:
    from orchestrator.plan.actions import CreateContainer
    from orchestrator.spec.model import Project, Service, VolumesFrom
    from orchestrator.state.layout import Layout
    from orchestrator.state.observed import Observed
    from orchestrator.state.records import ContainerRecord

Foreign = Mapping[str, "ContainerRecord"]
"""Name -> a container of another project."""


def foreign(layout: Layout, project: Project, services: Iterable[str]) -> Foreign:
    """The containers of other projects that these services name."""
    wanted = {entry.container for name in services
              for entry in project.services[name].volumes_from if entry.container}  # fmt: skip
    if not wanted:
        return {}
    records = [c.record for other in observe.projects(layout) if other != project.name
               for c in observe.observe(layout, other).containers]  # fmt: skip
    return {record.name: record for record in records if record.name in wanted}


def in_order(creating: list[CreateContainer], project: Project) -> list[CreateContainer]:
    """Lenders before borrowers; their order is otherwise kept.  (Circles are refused by the
    loader, as those of `depends_on`.)"""
    depths: dict[str, int] = {}

    def depth(name: str) -> int:
        service = project.services.get(name)
        if name not in depths:
            depths[name] = 0
            lenders = [e.service for e in service.volumes_from if e.service] if service else []
            depths[name] = 1 + max(map(depth, lenders), default=-1)
        return depths[name]

    return sorted(creating, key=lambda action: depth(action.service))


def lent(
    service: Service, *, project: Project, created: Iterable[ContainerRecord], observed: Observed,
    foreign: Foreign,
) -> list[Lent]:  # fmt: skip
    """What a new container of the service gets, in the order of the file."""
    mine = [r for r in created if not r.oneoff]
    found = []
    for number, entry in enumerate(service.volumes_from):
        record = _lender(entry, mine, observed, foreign)
        if record is None:
            what = f"service {entry.service}" if entry.service else f"container {entry.container}"
            raise fault(project, service, "volumes_from", f"{what} has no container to take "
                        "volumes from", item=number, hint="create it first")  # fmt: skip
        mounts = ContainerSpec.from_json(record.spec).mounts
        found.append(Lent(
            mounts=tuple(replace(mount, populate=False) for mount in mounts),
            volumes={**record.anonymous_volumes, **record.named_volumes},
            read_only=entry.read_only,
        ))  # fmt: skip
    return found


def _lender(
    entry: VolumesFrom, created: list[ContainerRecord], observed: Observed, foreign: Foreign
) -> ContainerRecord | None:
    if entry.service:
        made = [r for r in created if r.service == entry.service]
        there = [c.record for c in reversed(observed.of_service(entry.service))]
        gone = {r.name for r in made}  # the older generation of what is made again
        known = [*made, *(r for r in there if r.name not in gone)]
        return min(known, key=lambda r: r.index, default=None)
    every = [*created, *(c.record for c in observed.containers)]
    named = next((r for r in every if r.name == entry.container), None)
    return named or foreign.get(entry.container or "")
