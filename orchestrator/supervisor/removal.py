"""Removal: everything a stopped container has on disk and in the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from orchestrator.dataclass import replace
from orchestrator.errors import LockHeldError, StateError
from orchestrator.runtime.launch import forget_request
from orchestrator.state import store, volumes
from orchestrator.state.records import NetworkRecord
from orchestrator.supervisor import faults

if TYPE_CHECKING:
    from orchestrator.supervisor.lanes import Lane

_LOCK_PATIENCE = 10.0
_LOCK_RECHECK = 0.005


async def remove(lane: Lane, *, with_volumes: bool) -> None:
    """Record first, so that a crash leaves a leftover and no half container; StateError."""
    project, layout = lane.project, lane.project.layout
    project.link.tell(forget_request(lane.spec, hierarchy=project.hierarchy))
    run_dir = layout.container_run(project.name, lane.id)
    await project.in_thread(store.forget_container, layout, project.name, lane.id)
    store.remove_tree(run_dir)
    project.lanes.pop(lane.id, None)
    project.services.detach(lane.id)
    if not project.lanes:
        project.services.impairments.heal()
    if lane.record.oneoff:
        await _forget_leases(lane)
    if with_volumes:
        await _remove_volumes(lane)
    try:
        volumes.unmount_unused(layout, lane.record.volumes())
    except StateError as exc:
        faults.note(exc.message)


async def _remove_volumes(lane: Lane) -> None:
    """Its anonymous volumes; one that another container has inherited stays."""
    project = lane.project
    for name in lane.record.anonymous_volumes.values():
        if any(name in other.record.anonymous_volumes.values() for other in project.lanes.values()):
            continue
        try:
            await project.in_thread(volumes.remove, project.layout, name)
        except StateError as exc:
            faults.note(exc.message)


async def _forget_leases(lane: Lane) -> None:
    """The addresses of a one-off are of no use to anybody after it."""
    with anyio.move_on_after(_LOCK_PATIENCE):
        lock = await _networks_lock(lane)
        try:
            for name in lane.record.networks.values():
                _forget_lease(lane, name)
        finally:
            lock.close()


def _forget_lease(lane: Lane, network: str) -> None:
    path = lane.project.layout.network_record(network)
    record = store.read_record(path, NetworkRecord)
    if record is None or lane.id not in {*record.leases, *record.leases6}:
        return
    leases = {key: address for key, address in record.leases.items() if key != lane.id}
    leases6 = {key: address for key, address in record.leases6.items() if key != lane.id}
    store.save_network(lane.project.layout, replace(record, leases=leases, leases6=leases6))


async def _networks_lock(lane: Lane) -> store.Lock:
    while True:
        try:
            return store.networks_lock(lane.project.layout, command="removal", wait=False)
        except LockHeldError:
            await anyio.sleep(_LOCK_RECHECK)  # flock(2) has no event; held for moments only
