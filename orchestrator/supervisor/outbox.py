"""Outbox: what is on its way to one client, without ever waiting for that client.

Speaks the wire format of `linux.fds.Channel` (a JSON object per line, `fds` counts the descriptors
that come with it), but never blocks: what the socket does not take is queued, and a client that
lets more than `limit` bytes pile up is dropped, so that a stopped terminal cannot stop a project.
"""

from __future__ import annotations

import _socket
import os
import socket
from array import array
from collections import deque
from typing import TYPE_CHECKING, Any

import anyio

from orchestrator.linux import jsontext

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT = 4 << 20


class Outbox:
    """Messages to one client; `is_broken` once it went away or was dropped."""

    def __init__(self, sock: _socket.socket, *, limit: int = LIMIT) -> None:
        self._sock = sock
        self._limit = limit
        self._queue: deque[tuple[bytes, list[int]]] = deque()
        self._queued = 0
        self._changed = anyio.Event()
        self.is_broken = False

    def send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Queue one message; the descriptors stay the caller's, copies travel."""
        if self.is_broken:
            return
        if fds:
            message = {**message, "fds": len(fds)}
        data = jsontext.encode(message).encode() + b"\n"
        self._queue.append((data, [os.dup(fd) for fd in fds]))
        self._queued += len(data)
        self._push()
        if self._queued > self._limit:
            self._drop()
        self._changed.set()

    async def flush(self) -> None:
        """Until everything has been taken, or the client is gone."""
        while self._queue and not self.is_broken:
            await anyio.wait_writable(self._sock)
            self._push()

    async def keep_flushing(self) -> None:
        """Write on when the socket has room again; runs until cancelled or the client is gone."""
        while not self.is_broken:
            self._changed = anyio.Event()
            await self.flush()
            if not self.is_broken:
                await self._changed.wait()

    def close(self) -> None:
        """Forget what has not been sent."""
        self.is_broken = True
        for _, fds in self._queue:
            _close_all(fds)
        self._queue.clear()
        self._queued = 0
        self._changed.set()

    def _drop(self) -> None:
        self.close()
        try:
            self._sock.shutdown(socket.SHUT_RDWR)  # its reader sees the end too
        except OSError:
            return

    def _push(self) -> None:
        try:
            while self._queue:
                self._push_first()
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._drop()

    def _push_first(self) -> None:
        data, fds = self._queue[0]
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))] if fds else []
        count = self._sock.sendmsg([data], rights, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        _close_all(fds)  # they travel with the first byte
        self._queued -= count
        if count == len(data):
            self._queue.popleft()
        else:
            self._queue[0] = (data[count:], [])


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
    fds.clear()
