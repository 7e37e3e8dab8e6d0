"""Supervise: the supervisor's life between its first connection to the keeper and its end."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING, Any

import anyio

from orchestrator.linux import fds
from orchestrator.state import store
from orchestrator.supervisor import faults
from orchestrator.supervisor.control import Server
from orchestrator.supervisor.leasing import Leasing
from orchestrator.supervisor.link import Link
from orchestrator.supervisor.methods import Methods
from orchestrator.supervisor.project import Project

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from orchestrator.linux.fds import Channel
    from orchestrator.state.layout import Layout

FIRST_CONTACT = 5.0
"""Seconds a new supervisor with nothing to do waits for somebody to connect."""
LINGER = 0.5
"""Seconds it stays for the next command where containers exist but none runs."""
_END_PATIENCE = 5.0
_FLIGHT_PATIENCE = 30.0


class Supervisor:
    """One run of the supervisor."""

    def __init__(self, name: str, *, layout: Layout, connect: Callable[[], Channel]) -> None:
        self._name = name
        self._layout = layout
        self._connect = connect
        self._is_ending = False
        self._had_client = False
        self._idle: anyio.CancelScope | None = None

    async def run(self, ready: int) -> None:
        """Adopt, serve, end; `ready` is a descriptor to write to once somebody may connect."""
        async with anyio.create_task_group() as group:
            self._group = group
            self._project = Project(self._name, layout=self._layout, group=group,
                                    check_idle=self.check_idle)
            self._link = self._project.link = Link(
                connect=self._connect, exited=self._exited, connected=self._project.adopt)
            self._methods = Methods(self._project)
            await self._begin(group, ready)
            group.start_soon(self._end_on_signal)

    async def _begin(self, group: TaskGroup, ready: int) -> None:
        self._project.load()
        listener = self._listen()
        self._server = Server(listener, methods=self._methods.table(), done=self._client_left)
        self._leasing = Leasing(self._project, clients=lambda: self._server.clients)
        self._link.connect()
        group.start_soon(self._link.run, group)
        await self._link.wait_adopted()
        group.start_soon(self._server.serve, group)
        group.start_soon(self._leasing.run)
        if ready >= 0:
            _tell(ready)
        self.check_idle()

    def _listen(self) -> socket.socket:
        sock = fds.open_listener(self._layout.control_socket(self._name))
        return socket.socket(fileno=sock.detach())

    def _exited(self, message: dict[str, Any]) -> None:
        lane = self._project.lanes.get(str(message.get("id")))
        if lane is None:
            return
        try:
            lane.exited(message)
        except Exception as exc:  # one lane's fault must not end the others
            faults.report(exc, doing=f"handling the end of {lane.record.name}")

    # -- the end

    def _client_left(self) -> bool:
        """A connection is done; whether the supervisor ends now."""
        self._had_client = True
        self.check_idle()
        return self._is_ending

    def check_idle(self) -> None:
        """Something ended that the supervisor may have stayed for: end too, soon or at once."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if not self._is_idle():
            return
        if self._had_client and not self._project.lanes:
            self._begin_end()
            return
        self._idle = anyio.CancelScope()
        delay = LINGER if self._had_client else FIRST_CONTACT
        self._group.start_soon(self._end_after, self._idle, delay)

    def _is_idle(self) -> bool:
        self._leasing.reload()
        if self._server.clients or self._is_ending or self._project.is_busy():
            return False
        return not self._leasing.is_held()

    async def _end_after(self, scope: anyio.CancelScope, delay: float) -> None:
        with scope:
            await anyio.sleep(delay)
            if self._is_idle():
                self._begin_end()

    def _begin_end(self) -> None:
        """From here on nobody is served any more, and nothing runs that could need us."""
        self._is_ending = True
        self._server.close()
        self._group.start_soon(self._end)

    async def _end(self) -> None:
        """The keeper ends with us; of a project without containers nothing is left."""
        try:
            with anyio.move_on_after(_END_PATIENCE):
                await self._project.services.detached()
                await self._link.end()
            if not self._project.lanes:
                self._remove_run_dir()
            else:
                store.unlink(self._layout.control_socket(self._name))
        except Exception as exc:
            faults.report(exc, doing="ending")
        self._group.cancel_scope.cancel()

    def _remove_run_dir(self) -> None:
        """Out of the way first: another supervisor may be making a new one by now."""
        path = self._layout.run_project(self._name)
        away = f"{os.path.dirname(path)}/.{self._name}.{os.getpid()}"
        os.rename(path, away)
        store.remove_tree(away)

    async def _end_on_signal(self) -> None:
        """SIGTERM, SIGINT: what is in flight is brought to its end, containers run on, and the
        keeper, which sees no `exit`, starts another supervisor."""
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
            async for _ in received:
                faults.note("told to end")
                self._is_ending = True
                self._server.close()
                self._methods.cancel()
                with anyio.move_on_after(_FLIGHT_PATIENCE):
                    await self._methods.wait_done()
                self._group.cancel_scope.cancel()
                return


def _tell(ready: int) -> None:
    """That somebody may connect; who has started us may be gone by now, and need not hear it."""
    try:
        os.write(ready, b"1")
    except BrokenPipeError:
        pass
    os.close(ready)
