"""Leasing: watches over the lease of the project, and has it taken down when its time has come.

Holders are watched by pidfd, so their end is seen at once however they end.  "Used" means that a
command is connected, or that this machine has sent something into one of the project's networks;
what its containers say to each other is not use.  What taking down means is `engine/expiry.py`'s
affair, a process of its own.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import anyio

from orchestrator.linux import procfs, syscalls
from orchestrator.runtime.process import Process
from orchestrator.state import leases
from orchestrator.supervisor import faults
from orchestrator.supervisor.starting import supervisor_environment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orchestrator.state.records import LeaseRecord
    from orchestrator.supervisor.project import Project

_LOOKS = 8
"""How often within the time of idleness one looks."""
_LONGEST_LOOK = 5.0
_RETRY = (0.5, 30.0)
"""Seconds after a failed end of a lease: the first, the longest."""


class Leasing:
    """The lease of one project; `clients` tells how many commands are connected."""

    def __init__(self, project: Project, *, clients: Callable[[], int]) -> None:
        self._project, self._clients = project, clients
        self._lease: LeaseRecord | None = None
        self._changed = anyio.Event()
        self._used_at = time.monotonic()
        self._sent = -1

    def reload(self) -> None:
        """A command may have changed it."""
        found = leases.read(self._project.layout, self._project.name)
        if found != self._lease:
            self._lease = found
            self._used_at = time.monotonic()
            self._changed.set()

    def is_held(self) -> bool:
        """Whether there is a lease: at its end there is something to remove, if only itself."""
        return self._lease is not None

    async def run(self) -> None:
        """Until cancelled."""
        delay = _RETRY[0]
        while True:
            lease = self._lease
            if lease is None or not self._is_over(lease):
                delay = _RETRY[0]
                await self._wait(lease)
                continue
            await self._end(lease)
            self.reload()
            if self._lease == lease:
                await anyio.sleep(delay)
                delay = min(delay * 2, _RETRY[1])
            self._project.check_idle()

    def _is_over(self, lease: LeaseRecord) -> bool:
        living = len(leases.living(lease))
        if living or (lease.idle and self._is_in_use()):
            self._used_at = time.monotonic()
        unused = time.monotonic() - self._used_at
        return leases.is_over(lease, now=time.time(), living=living, unused=unused)

    def _is_in_use(self) -> bool:
        bridges = {
            endpoint.bridge for lane in self._project.lanes.values()
            for endpoint in lane.spec.endpoints
        }  # fmt: skip
        sent, before = procfs.packets_sent(bridges), self._sent
        self._sent = sent
        return self._clients() > 0 or sent != before

    async def _wait(self, lease: LeaseRecord | None) -> None:
        """Until it may be over, or is another one."""
        self._changed = anyio.Event()
        if lease is None:
            await self._changed.wait()
            return
        holders = [Process.adopt(*holder) for holder in leases.living(lease)]
        held = [process for process in holders if process is not None]
        try:
            with anyio.move_on_after(self._patience(lease, is_held=bool(held))):
                await _first(self._changed.wait, *(_end_of(process) for process in held))
        finally:
            for process in held:
                process.close()

    def _patience(self, lease: LeaseRecord, *, is_held: bool) -> float | None:
        times = [max(lease.until - time.time(), 0.0)] if lease.until else []
        if lease.idle and not is_held:
            left = self._used_at + lease.idle - time.monotonic()
            times.append(max(min(left, lease.idle / _LOOKS, _LONGEST_LOOK), 0.01))
        return min(times, default=None)

    async def _end(self, lease: LeaseRecord) -> None:
        project = self._project
        faults.note("the lease of the project is over")
        ending = _Ending([sys.executable, "-m", "orchestrator.engine.expiry", project.name,
                          lease.stamp, project.layout.data, project.layout.run])  # fmt: skip
        await ending.wait()


class _Ending:
    """The process that takes the project down."""

    def __init__(self, argv: list[str]) -> None:
        self._pid = os.posix_spawn(argv[0], argv, supervisor_environment(), setsigmask=[])

    async def wait(self) -> None:
        """Until it has ended."""
        try:
            pidfd = syscalls.pidfd_open(self._pid)
        except ProcessLookupError:
            return  # the link has reaped it as one of its keepers
        try:
            await anyio.wait_readable(pidfd)
            self._reap()
        finally:
            os.close(pidfd)

    def _reap(self) -> None:
        try:
            os.waitpid(self._pid, os.WNOHANG)
        except ChildProcessError:
            return


def _end_of(process: Process) -> Callable[[], Awaitable[None]]:
    async def ended() -> None:
        await anyio.wait_readable(process.pidfd)

    return ended


async def _first(*functions: Callable[[], Awaitable[object]]) -> None:
    """Run all until one of them is done."""
    async with anyio.create_task_group() as group:
        async def run(function: Callable[[], Awaitable[object]]) -> None:
            await function()
            group.cancel_scope.cancel()

        for function in functions:
            group.start_soon(run, function)
