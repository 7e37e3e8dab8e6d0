"""Project: what the parts of one supervisor share, and the adoption of what was there before.

Holds no decisions: lanes keep containers, `execute.py` runs jobs, `main.py` begins and ends.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread

from orchestrator.errors import StateError
from orchestrator.linux import procfs
from orchestrator.linux.cgroupfs import Hierarchy
from orchestrator.runtime.launch import adopt_request
from orchestrator.runtime.process import Process
from orchestrator.state import observe, store
from orchestrator.state.records import ContainerRecord, ContainerStatus
from orchestrator.supervisor import faults
from orchestrator.supervisor.hub import Hub
from orchestrator.supervisor.lanes import Lane
from orchestrator.supervisor.services import Services

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from orchestrator.state.layout import Layout
    from orchestrator.supervisor.link import Link


class Project:
    """One project in one supervisor."""

    link: Link

    def __init__(
        self, name: str, *, layout: Layout, group: TaskGroup, check_idle: Callable[[], None]
    ) -> None:
        self.name = name
        self.layout = layout
        self.group = group
        self.check_idle = check_idle
        """Called whenever something ended that the supervisor may have stayed for."""
        self.hub = Hub(layout.project_journal(name))
        self.hierarchy = Hierarchy.detect()
        self.boot_id = procfs.boot_id()
        self.keeper_pid = 0
        self.lanes: dict[str, Lane] = {}
        self.services = Services(self)
        self._threads = anyio.CapacityLimiter(2)

    def lane(self, id_: str) -> Lane:
        """The lane of a container by its full id; StateError."""
        try:
            return self.lanes[id_]
        except KeyError:
            raise StateError(f"no container {id_[:12]} in project {self.name}") from None

    def is_busy(self) -> bool:
        """Whether anything runs or is about to."""
        return any(lane.status.state in ("running", "restarting") for lane in self.lanes.values())

    async def in_thread(self, function: Callable[..., None], *args: Any) -> None:
        """Run what may take long on a disk without holding up the others."""
        await to_thread.run_sync(function, *args, limiter=self._threads)

    def add(self, record: ContainerRecord, status: ContainerStatus) -> Lane:
        """A lane for a container."""
        lane = self.lanes[record.id] = Lane(self, record, status)
        return lane

    # -- adoption

    def load(self) -> None:
        """A lane for every container on disk; one that cannot be read is left for `up` and
        `down`, which remove it."""
        for id_ in observe.container_ids(self.layout, self.name):
            try:
                self._load(id_)
            except Exception as exc:
                faults.report(exc, doing=f"reading the record of container {id_[:12]}")

    def _load(self, id_: str) -> None:
        path = self.layout.container_record(self.name, id_)
        record = store.read_record(path, ContainerRecord)
        if record is None or record.id != id_ or record.project != self.name:
            return
        try:
            path = self.layout.container_status(self.name, id_)
            status = store.read_record(path, ContainerStatus)
        except StateError as exc:
            status = ContainerStatus(state="exited", error=exc.message)
        self.add(record, status or ContainerStatus(state="created"))

    async def adopt(self) -> None:
        """Make the keeper and the lanes agree: at the start, and with every new keeper."""
        listed, descriptors = await self.link.inventory()
        self.keeper_pid = listed.get("pid", 0)
        stored = _by_name(listed, descriptors)
        kept = {c["id"]: c for c in listed.get("containers", ())}
        starting = listed.get("starting", ())
        for lane in list(self.lanes.values()):
            try:
                if lane.id in starting and not lane.is_starting:
                    self._give_up_start(lane)
                else:
                    self._adopt(lane, kept, stored)
            except Exception as exc:
                error = faults.known(exc, doing=f"adopting {lane.record.name}")
                lane.update(error=error.message)
        self.services.redirects.renew()  # also where a supervisor before us left some
        self.services.impairments.load()
        for name, fds in stored.items():  # nobody wants them any more
            self.link.tell({"op": "unstore", "name": name})
            _close_all(fds)

    def _adopt(
        self, lane: Lane, kept: dict[str, dict[str, Any]], stored: dict[str, list[int]]
    ) -> None:
        if lane.is_starting:
            return  # it notices the loss of its keeper itself
        if lane.status.state == "restarting" and not lane.is_waiting:
            lane.resume_restart()
        if not lane.is_running and not self._found_running(lane, kept.get(lane.id)):
            return
        is_new = lane.process is None
        if (is_new and not lane.adopt()) or (lane.process and not lane.process.is_alive()):
            lane.ended(self._exit_note(lane))
            return
        if is_new:
            self.services.adopt(lane.spec, lane.status, stored)
        else:
            self.services.store_again(lane.id)
        if lane.id not in kept:
            self._hand_over(lane)

    def _give_up_start(self, lane: Lane) -> None:
        """A supervisor died between its clone and its `go`."""
        self.link.send({"op": "abort", "id": lane.id})
        lane.ended({"exit_code": None})

    def _found_running(self, lane: Lane, kept: dict[str, Any] | None) -> bool:
        """Whether the keeper has what the status does not know of (it could not be written)."""
        process = Process.adopt(kept["pid"], kept["start_time"]) if kept else None
        if process is None:
            return False
        lane.launched(process, ports=[])
        process.close()
        lane.process = None  # taken over as any other
        return True

    def _hand_over(self, lane: Lane) -> None:
        """Give a container to a keeper that did not start it."""
        run_dir = self.layout.container_run(self.name, lane.id)
        terminal = self.services.terminal(lane.id)
        has_output = terminal or os.path.exists(f"{run_dir}/stdout")
        request = adopt_request(
            lane.spec, pid=lane.status.pid, start_time=lane.status.start_time, run_dir=run_dir,
            log_dir=self.layout.container_log(self.name, lane.id),
            exit_path=self.layout.container_exit(self.name, lane.id),
            hierarchy=self.hierarchy, stdio="log" if has_output else "fds",
        )  # fmt: skip
        self.link.send(request, terminal)

    def _exit_note(self, lane: Lane) -> dict[str, Any]:
        """What the keeper wrote when the container ended, if it is about this process."""
        try:
            note = store.read_json(self.layout.container_exit(self.name, lane.id)) or {}
        except StateError:
            note = {}
        status = lane.status
        if (note.get("pid"), note.get("start_time")) == (status.pid, status.start_time):
            return note
        return {"exit_code": None, "time": time.time()}


def _by_name(listed: dict[str, Any], descriptors: list[int]) -> dict[str, list[int]]:
    """The keeper's stored descriptors under their names."""
    found: dict[str, list[int]] = {}
    rest = list(descriptors)
    for entry in listed.get("stored", ()):
        count = entry["fds"]
        found[entry["name"]], rest = rest[:count], rest[count:]
    _close_all(rest)
    return found


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
    fds.clear()
