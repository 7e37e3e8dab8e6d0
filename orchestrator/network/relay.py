"""The relay: carries the frames of interposed links, late or not at all, as their rules say.

One thread for all links, so that neither names nor health checks wait for frames; it lives while
there is a link.  Works in user space because kernels without the netem scheduler have nothing that
delays a packet.  Where the sockets come from is `interposing`.
"""

from __future__ import annotations

import heapq
import os
import select
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass, field

from orchestrator.network.impairment import Direction, Line

_FRAMES_AT_ONCE = 64
_LARGEST = 1 << 18
VNET_HEADER = 10
"""Bytes of struct virtio_net_hdr before each frame: what the sender left to the hardware."""
_PENDING = 1 << 23
"""Bytes that may wait on one link; what comes on top is lost."""


@dataclass(slots=True)
class Crossing:
    """One interposed link: the socket at the container's end, the one at the bridge's."""

    inner: socket.socket
    outer: socket.socket
    line: Line = field(default_factory=Line)
    pending: int = 0
    is_closed: bool = False


@dataclass(slots=True, order=True)
class _Waiting:
    due: float
    number: int
    crossing: Crossing = field(compare=False)
    to: socket.socket = field(compare=False)
    data: bytes = field(compare=False)


class Relay:
    """The thread and its links.  `add` and `close` may be called by one other thread."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll.register(self._wake, select.EPOLLIN)
        self._orders: deque[tuple[bool, Crossing]] = deque()
        """(whether it is new, which)."""
        self._sides: dict[int, tuple[Crossing, Direction]] = {}
        self._waiting: list[_Waiting] = []
        self._count = 0
        self._thread: threading.Thread | None = None

    def add(self, crossing: Crossing) -> None:
        """Carry its frames from now on; the sockets are the relay's."""
        self._order(is_new=True, crossing=crossing)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
            self._thread.start()

    def close(self, crossing: Crossing) -> None:
        """Carry nothing more of it and close its sockets; soon."""
        self._order(is_new=False, crossing=crossing)

    def _order(self, *, is_new: bool, crossing: Crossing) -> None:
        self._orders.append((is_new, crossing))
        os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        while True:
            for fd, _ in self._poll.poll(self._patience()):
                if fd == self._wake:
                    os.eventfd_read(fd)
                    self._obey()
                elif fd in self._sides:
                    self._take(*self._sides[fd])
            self._let_go()

    def _patience(self) -> float:
        if not self._waiting:
            return -1
        return max(self._waiting[0].due - time.monotonic(), 0)

    def _obey(self) -> None:
        while self._orders:
            is_new, crossing = self._orders.popleft()
            sides: tuple[tuple[socket.socket, Direction], ...] = (
                (crossing.inner, "out"), (crossing.outer, "in"))
            for sock, direction in sides:
                if is_new:
                    self._sides[sock.fileno()] = crossing, direction
                    self._poll.register(sock, select.EPOLLIN)
                else:
                    self._drop(sock)
            crossing.is_closed = not is_new

    def _drop(self, sock: socket.socket) -> None:
        if self._sides.pop(sock.fileno(), None) is not None:
            self._poll.unregister(sock)
            sock.close()

    def _take(self, crossing: Crossing, direction: Direction) -> None:
        """Frames that have arrived: on at once, or into the queue."""
        source, to = crossing.inner, crossing.outer
        if direction == "in":
            source, to = to, source
        for _ in range(_FRAMES_AT_ONCE):
            try:
                data = source.recv(_LARGEST)
            except BlockingIOError:
                return
            except OSError:  # the interface went away, or down: told once
                return
            now = time.monotonic()
            due = crossing.line.due(data[VNET_HEADER:], direction, now)
            if due is None or crossing.pending + len(data) > _PENDING:
                continue
            if due <= now and not crossing.pending:
                _send(to, data)
                continue
            self._count += 1
            crossing.pending += len(data)
            heapq.heappush(self._waiting, _Waiting(due, self._count, crossing, to, data))

    def _let_go(self) -> None:
        now = time.monotonic()
        while self._waiting and self._waiting[0].due <= now:
            one = heapq.heappop(self._waiting)
            one.crossing.pending -= len(one.data)
            if not one.crossing.is_closed:
                _send(one.to, one.data)


def _send(sock: socket.socket, data: bytes) -> None:
    try:
        sock.send(data)
    except OSError:
        return  # no room, or no interface any more: lost on the way
