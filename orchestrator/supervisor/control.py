"""Control: the server behind `control.sock`; one connection carries one request.

Speaks `protocol.py` and knows nothing of containers: what a method does is given as a function.  No
client can block another or the project: answers go through an `Outbox`, requests are checked before
anything acts on them, and a client that connects and says nothing is shown out.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import anyio

from orchestrator import events
from orchestrator.errors import PcomposeError, SupervisorError
from orchestrator.linux import fds
from orchestrator.supervisor import faults
from orchestrator.supervisor.outbox import Outbox
from orchestrator.supervisor.protocol import VERSION

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from anyio.abc import TaskGroup

    Method = Callable[["Request"], Awaitable[dict[str, Any]]]

REQUEST_TIMEOUT = 30.0


class Request:
    """One request on its way: what was asked, and the way back to who asked."""

    def __init__(
        self, received: list[tuple[dict[str, Any], list[int]]], outbox: Outbox
    ) -> None:
        (self.params, self.fds), *early = received
        """`fds` are the request's own, closed at its end; a method that keeps one takes it out."""
        for _, descriptors in early:
            _close_all(descriptors)
        self.early = [message for message, _ in early]
        """What the client sent before the request had begun."""
        self.outbox = outbox
        self.is_gone = False
        self.on_message: Callable[[dict[str, Any]], None] = _ignore
        self._on_gone: Callable[[], None] = _nothing

    def emit(self, event: events.Event) -> None:
        """Send an event to the client; a `Sink`."""
        self.outbox.send(events.to_json(event))

    def send(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send another answer."""
        self.outbox.send(message, descriptors)

    def when_gone(self, action: Callable[[], None]) -> None:
        """Call `action` once the client has ended the connection; at once if it has."""
        self._on_gone = action
        if self.is_gone:
            action()

    def gone(self) -> None:
        """The client has ended the connection."""
        if not self.is_gone:
            self.is_gone = True
            self._on_gone()


class Server:
    """Accepts connections and runs one method for each."""

    def __init__(
        self, listener: socket.socket, *, methods: Mapping[str, Method],
        done: Callable[[], bool],
    ) -> None:
        self._listener = listener
        self._methods = methods
        self._done = done
        """Called after each connection; whether the supervisor ends now."""
        self._is_closed = False
        self._kept: list[fds.Channel] = []
        self.clients = 0
        """Connections whose request is not done."""

    async def serve(self, group: TaskGroup) -> None:
        """Accept until closed or cancelled."""
        self._listener.setblocking(False)
        while not self._is_closed:
            try:
                await anyio.wait_readable(self._listener)
                sock, _ = self._listener.accept()
            except (BlockingIOError, anyio.ClosedResourceError):
                continue
            except OSError as exc:  # out of descriptors: those who are served free some
                if not self._is_closed:
                    faults.report(exc, doing="accepting a connection")
                    await anyio.sleep(0.1)
                continue
            self.clients += 1
            group.start_soon(self._connection, sock)

    def close(self) -> None:
        """Accept nobody any more; who has been accepted is served."""
        self._is_closed = True
        anyio.notify_closing(self._listener)
        self._listener.close()

    async def _connection(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        channel, outbox = fds.Channel(sock), Outbox(sock)
        try:
            await self._converse(channel, outbox)
        except Exception as exc:
            faults.report(exc, doing="serving a client")
        finally:
            self.clients -= 1
            outbox.close()
            if self._done():
                self._kept.append(channel)  # the client sees the end when everything has ended
            else:
                channel.close()

    async def _converse(self, channel: fds.Channel, outbox: Outbox) -> None:
        request = None
        outbox.send({"hello": VERSION})  # who reads this is served to the end
        try:
            received = await _first_messages(channel)
            if not received:
                return
            request = Request(received, outbox)
            method = self._method(request)
        except (PcomposeError, ValueError) as exc:
            outbox.send({"error": _as_error(exc).to_json()})
            _close_all(request.fds if request else [])
            return
        await _run(request, method, channel)

    def _method(self, request: Request) -> Method:
        params = request.params
        version, name = params.pop("v", None), params.pop("method", None)
        if version != VERSION:
            raise SupervisorError(
                f"the command speaks version {version!r} of the control protocol, "
                f"the supervisor version {VERSION}",
                hint=f"end the supervisor with `kill {os.getpid()}`: containers keep running, and "
                "the next command starts a new one",
            )
        if not isinstance(name, str) or name not in self._methods:
            raise SupervisorError(f"bad request: no method {name!r}")
        return self._methods[name]


async def _run(request: Request, method: Method, channel: fds.Channel) -> None:
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(request.outbox.keep_flushing)
            group.start_soon(_listen, request, channel)
            request.send(await _answer(request, method))
            with anyio.move_on_after(REQUEST_TIMEOUT):
                await request.outbox.flush()
            group.cancel_scope.cancel()
    finally:
        _close_all(request.fds)


async def _answer(request: Request, method: Method) -> dict[str, Any]:
    try:
        return {"result": await method(request)}
    except Exception as exc:
        return {"error": faults.known(exc, doing="answering a request").to_json()}


async def _listen(request: Request, channel: fds.Channel) -> None:
    """Messages of the running request and the end of its client."""
    for message in request.early:
        request.on_message(message)
    while True:
        await anyio.wait_readable(channel)
        try:
            for message, descriptors in channel.pending():
                _close_all(descriptors)
                request.on_message(message)
        except (EOFError, OSError, ValueError):
            request.gone()
            return


async def _first_messages(channel: fds.Channel) -> list[tuple[dict[str, Any], list[int]]]:
    """The request and what came with it; nothing where the client leaves without one."""
    with anyio.move_on_after(REQUEST_TIMEOUT):
        while True:
            await anyio.wait_readable(channel)
            try:
                found = channel.pending()
            except (EOFError, OSError):
                return []
            if found:
                return found
    raise SupervisorError("bad request: nothing was asked")


def _as_error(exc: Exception) -> PcomposeError:
    if isinstance(exc, PcomposeError):
        return exc
    return SupervisorError(f"bad request: {exc}")


def _close_all(descriptors: list[int]) -> None:
    for fd in descriptors:
        os.close(fd)
    descriptors.clear()


def _ignore(message: dict[str, Any]) -> None:
    """A message nobody waits for."""


def _nothing() -> None:
    """Nobody wants to know that the client is gone."""
