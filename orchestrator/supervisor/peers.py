"""Peers: the containers whose namespaces another one shares, found anew at each start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import LaunchError
from orchestrator.runtime.isolation import Peer, shared_with
from orchestrator.state import observe

if TYPE_CHECKING:
    from orchestrator.runtime.spec import ContainerSpec
    from orchestrator.state.records import ContainerRecord, ContainerStatus
    from orchestrator.supervisor.project import Project

Found = tuple["ContainerRecord", "ContainerStatus"]


def peers(project: Project, spec: ContainerSpec) -> dict[str, Peer]:
    """`pid`, `ipc`, `network` -> whose it is; LaunchError where that container does not run."""
    found = {}
    for kind, value in shared_with(spec.namespaces).items():
        record, status = find(project, spec, kind, value)
        found[kind] = Peer(name=record.name, pid=status.pid, start_time=status.start_time)
    return found


def find(project: Project, spec: ContainerSpec, kind: str, value: str) -> Found:
    """The container that `service:NAME` (its first replica) or `container:NAME` means."""
    what, _, name = value.partition(":")
    known = _of_service(project, name) if what == "service" else _of_name(project, name)
    running = [each for each in known if each[1].state == "running"]
    if running:
        return running[0]
    state = "not running" if known else "not there"
    raise LaunchError(
        f"cannot start {spec.name}: it shares the {kind} namespace of {what} {name}, which is "
        f"{state}" + (f" ({spec.origin})" if spec.origin else ""),
        hint=f"start {name} first",
    )


def _of_service(project: Project, name: str) -> list[Found]:
    lanes = [lane for lane in project.lanes.values()
             if lane.record.service == name and not lane.record.oneoff]  # fmt: skip
    lanes.sort(key=lambda lane: (lane.record.index, -lane.record.created_at))
    return [(lane.record, lane.status) for lane in lanes]


def _of_name(project: Project, name: str) -> list[Found]:
    """By name or id, of this project or another."""
    mine = [(lane.record, lane.status) for lane in project.lanes.values()
            if _is_called(lane.record, name)]  # fmt: skip
    if mine:
        return mine
    layout, found = project.layout, []
    for other in observe.projects(layout):
        if other != project.name:
            found += [(c.record, c.status) for c in observe.observe(layout, other).containers
                      if _is_called(c.record, name)]  # fmt: skip
    return found


def _is_called(record: ContainerRecord, name: str) -> bool:
    return record.name == name or (len(name) >= 12 and record.id.startswith(name))
