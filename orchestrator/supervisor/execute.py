"""Execute: what each kind of job does, in the words docker compose uses for progress.

Decides nothing: order comes from `walk.py`, effects from lanes and `services.py`.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from orchestrator import events
from orchestrator.errors import PcomposeError, StateError
from orchestrator.names import LABEL_ANONYMOUS, LABEL_PROJECT
from orchestrator.state import observe, snapshots, store, volumes
from orchestrator.state.records import (
    ContainerRecord,
    ContainerStatus,
    NetworkRecord,
    VolumeRecord,
)
from orchestrator.supervisor import hooks, protocol
from orchestrator.supervisor.awaiting import Awaiting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from orchestrator.events import Kind, Sink, Status
    from orchestrator.supervisor.lanes import Lane
    from orchestrator.supervisor.launching import Stdio
    from orchestrator.supervisor.project import Project


class Executor:
    """The jobs of one request; `emit` takes the progress."""

    def __init__(
        self, project: Project, jobs: Sequence[protocol.Job], *, emit: Sink,
        stdio: Stdio | None = None, stdio_job: int | None = None,
        started: Callable[[str], None] = lambda id_: None,
    ) -> None:
        self._project = project
        self._awaiting = Awaiting(project, jobs, emit=emit)
        self._emit = emit
        self._stdio = stdio
        self._stdio_job = stdio_job
        self._started = started
        self._stopped: set[str] = set()
        """Containers this request has stopped: their start is the end of a restart."""
        self._has_started: set[str] = set()

    async def perform(self, job: protocol.Job) -> None:
        """Do one job; PcomposeError."""
        match job:
            case protocol.CreateNetwork():
                await self._create_network(job)
            case protocol.RemoveNetwork():
                await self._remove_network(job)
            case protocol.CreateVolume():
                await self._create_volume(job)
            case protocol.RemoveVolume():
                await self._remove_volume(job)
            case protocol.CreateContainer():
                await self._create_container(job)
            case protocol.StartContainer():
                await self._start(job)
            case protocol.StopContainer():
                await self._stop(job)
            case protocol.KillContainer():
                await self._kill(job)
            case protocol.PauseContainer():
                lane = self._project.lane(job.container)
                await self._shown("Container", lane.record.name, ("Pausing", "Paused"),
                                  lane.pause())  # fmt: skip
            case protocol.UnpauseContainer():
                lane = self._project.lane(job.container)
                await self._shown("Container", lane.record.name, ("Unpausing", "Unpaused"),
                                  lane.unpause())  # fmt: skip
            case protocol.RemoveContainer():
                await self._remove(job)
            case protocol.ForgetProject():
                self._forget_project()
            case protocol.RunHooks():
                await self._run_hooks(job)
            case protocol.WaitFor():
                await self._awaiting.wait(job)
            case _:
                raise AssertionError(type(job).__name__)

    # -- progress

    def _tell(self, kind: Kind, name: str, text: str, status: Status, details: str = "") -> None:
        self._emit(events.Progress(kind=kind, name=name, text=text, status=status, details=details,
                                   time=time.time()))  # fmt: skip

    async def _shown(
        self, kind: Kind, name: str, words: tuple[str, str], action: Awaitable[Any]
    ) -> Any:
        """Run the action between its two words; an error is shown as such and raised."""
        self._tell(kind, name, words[0], "Working")
        try:
            result = await action
        except PcomposeError as exc:
            self._tell(kind, name, "Error", "Error", exc.message)
            raise
        self._tell(kind, name, words[1], "Done")
        return result

    # -- networks and volumes

    async def _create_network(self, job: protocol.CreateNetwork) -> None:
        record = NetworkRecord.from_json(job.record)

        async def create() -> None:
            warning = self._project.services.create_network(record)
            if warning:
                self._emit(events.Warned(message=warning))

        await self._shown("Network", record.name, ("Creating", "Created"), create())

    async def _remove_network(self, job: protocol.RemoveNetwork) -> None:
        layout = self._project.layout
        record = store.read_record(layout.network_record(job.name), NetworkRecord)
        if record is None:
            return
        if self._is_used(job.name):
            self._tell("Network", job.name, "Resource is still in use", "Warning")
            return

        async def remove() -> None:
            await self._project.services.remove_network(record)

        await self._shown("Network", job.name, ("Removing", "Removed"), remove())

    def _is_used(self, network: str) -> bool:
        """By a container of this project that is up (a stopped one waits to be made again), or by
        any of another project."""
        lanes = self._project.lanes.values()
        up = [lane for lane in lanes if lane.is_running or lane.is_starting or lane.is_waiting]
        if any(network in lane.record.networks.values() for lane in up):
            return True
        return self._project.services.is_used(network)

    async def _create_volume(self, job: protocol.CreateVolume) -> None:
        record = VolumeRecord.from_json(job.record)

        async def create() -> None:
            volumes.create(self._project.layout, record)

        await self._shown("Volume", record.name, ("Creating", "Created"), create())

    async def _remove_volume(self, job: protocol.RemoveVolume) -> None:
        layout = self._project.layout
        if not self._has_volume(job.name):
            return
        user = next(volumes.users(layout, job.name), None)
        if user is not None:
            self._tell("Volume", job.name, "Resource is still in use", "Warning")
            return
        action = self._project.in_thread(volumes.remove, layout, job.name)
        await self._shown("Volume", job.name, ("Removing", "Removed"), action)

    def _has_volume(self, name: str) -> bool:
        return os.path.lexists(self._project.layout.volume(name))

    # -- containers

    async def _create_container(self, job: protocol.CreateContainer) -> None:
        record = ContainerRecord.from_json(job.record)

        async def create() -> None:
            self._create(record)

        await self._shown("Container", record.name, ("Creating", "Created"), create())

    def _create(self, record: ContainerRecord) -> None:
        project, layout = self._project, self._project.layout
        if record.project != project.name or record.id in project.lanes:
            raise StateError(f"cannot create container {record.name}: it is there already, or it "
                             f"belongs to project {record.project}")
        with store.volumes_lock(layout, command="making of a container"):
            for target, name in record.anonymous_volumes.items():
                volumes.create(layout, VolumeRecord(
                    name=name, key="", project=project.name, anonymous=True,
                    created_at=time.time(), config_hash="",
                    labels={LABEL_PROJECT: project.name, LABEL_ANONYMOUS: "",
                            **record.volume_labels.get(target, {})},
                ))  # fmt: skip
            store.save_container(layout, record)  # a record without a status means: created
        try:
            lane = project.add(record, ContainerStatus(state="created"))
        except Exception:
            store.forget_container(layout, project.name, record.id)
            raise
        lane.publish("create")

    async def _start(self, job: protocol.StartContainer) -> None:
        lane = self._project.lane(job.container)
        if lane.is_running:
            self._tell("Container", lane.record.name, "Running", "Done")
            return
        stdio = self._stdio if job.number == self._stdio_job else None
        words = ("Starting", "Started")
        await self._shown("Container", lane.record.name, words, lane.start(stdio))
        self._has_started.add(lane.id)
        if lane.id in self._stopped:
            lane.publish("restart")
        if stdio is not None:
            self._started(lane.id)

    async def _stop(self, job: protocol.StopContainer) -> None:
        lane = self._project.lanes.get(job.container)
        if lane is None:
            return
        if not lane.is_running:
            await lane.stop()
            return
        words = ("Stopping", "Stopped")
        await self._shown("Container", lane.record.name, words, lane.stop(job.timeout))
        self._stopped.add(lane.id)

    async def _kill(self, job: protocol.KillContainer) -> None:
        lane = self._project.lane(job.container)

        async def kill() -> None:
            lane.kill(job.signal)

        await self._shown("Container", lane.record.name, ("Killing", "Killed"), kill())

    async def _remove(self, job: protocol.RemoveContainer) -> None:
        lane = self._project.lanes.get(job.container)
        if lane is None:
            self._remove_leftover(job.container)
            return
        words = ("Removing", "Removed")
        action = lane.remove(volumes=job.volumes, force=job.force)
        await self._shown("Container", lane.record.name, words, action)

    def _remove_leftover(self, id_: str) -> None:
        """What has no readable record: a crash left it."""
        layout = self._project.layout
        store.forget_container(layout, self._project.name, id_)
        store.remove_tree(layout.container_run(self._project.name, id_))

    def _forget_project(self) -> None:
        name, layout = self._project.name, self._project.layout
        networks = (network.record.project for network in observe.networks(layout))
        if not self._project.lanes and name not in networks:
            snapshots.sweep(layout, name)
            store.forget_project(layout, name)

    # -- hooks

    async def _run_hooks(self, job: protocol.RunHooks) -> None:
        lane = self._project.lane(job.container)
        if job.phase == "pre_start":
            await self._before_start(lane)
        elif lane.is_running if job.phase == "pre_stop" else lane.id in self._has_started:
            if lane.status.paused:  # a hook would wait for ever
                await lane.unpause()
            words = (f"Running {job.phase}", "Started" if job.phase == "post_start" else "Running")
            action = hooks.execute_all(lane, job.phase, emit=self._emit)
            await self._shown("Container", lane.record.name, words, action)

    async def _before_start(self, parent: Lane) -> None:
        for number in range(len(parent.spec.pre_start)):
            record = hooks.record(parent, number, directory=self._project.layout.container)
            self._create(record)
            lane = self._project.lane(record.id)
            words = ("Running pre_start", "Exited")
            action = hooks.run_to_end(lane, parent, number, emit=self._emit)
            await self._shown("Container", record.name, words, action)
