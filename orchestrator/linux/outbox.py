"""Messages on their way to one peer, without ever waiting for that peer.

Speaks the wire format of `linux.fds.Channel`, but never blocks: what the socket does not take is
queued until `push` finds room, and a peer that lets more than `limit` bytes pile up is dropped, so
that a stopped reader stops nobody.  Imported by the keeper.
"""

from __future__ import annotations

import os
from _socket import MSG_DONTWAIT, MSG_NOSIGNAL, SCM_RIGHTS, SHUT_RDWR, SOL_SOCKET, socket

from orchestrator.linux import jsontext
from orchestrator.linux.fds import MAX_FDS, pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class Outbox:
    """What has not been sent yet; `is_broken` once the peer went away or was dropped."""

    def __init__(self, sock: socket, *, limit: int) -> None:
        self._sock = sock
        self._limit = limit
        self._queue: list[tuple[bytes, list[int]]] = []
        self._queued = 0
        self.is_broken = False

    @property
    def is_empty(self) -> bool:
        """Nothing waits for room."""
        return not self._queue

    def send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Queue one message; the descriptors stay the caller's, copies travel."""
        if self.is_broken:
            return
        if len(fds) > MAX_FDS:
            raise ValueError(f"{len(fds)} descriptors are too many for one message")
        data = jsontext.encode({**message, "fds": len(fds)} if fds else message).encode() + b"\n"
        self._queue.append((data, [os.dup(fd) for fd in fds]))
        self._queued += len(data)
        self.push()
        if self._queued > self._limit:
            self._drop()

    def push(self) -> None:
        """Send what the socket takes now."""
        try:
            while self._queue:
                self._push_first()
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._drop()

    def close(self) -> None:
        """Forget what has not been sent."""
        self.is_broken = True
        for _, fds in self._queue:
            _close_all(fds)
        self._queue.clear()
        self._queued = 0

    def _drop(self) -> None:
        self.close()
        try:
            self._sock.shutdown(SHUT_RDWR)  # its reader sees the end too
        except OSError:
            return

    def _push_first(self) -> None:
        data, fds = self._queue[0]
        rights = [(SOL_SOCKET, SCM_RIGHTS, pack(fds))] if fds else []
        count = self._sock.sendmsg([data], rights, MSG_DONTWAIT | MSG_NOSIGNAL)
        _close_all(fds)  # they travel with the first byte
        self._queued -= count
        if count == len(data):
            self._queue.pop(0)
        else:
            self._queue[0] = (data[count:], [])


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
    fds.clear()
