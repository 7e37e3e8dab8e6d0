"""The keeper's event loop: one epoll, callbacks by descriptor, timers.

Knows nothing of what it waits for.  A callback that raises is reported and the loop goes on: the
keeper must not die of one bad object.  Imported by the keeper.
"""

from __future__ import annotations

import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
HANGUP = 0
"""EPOLLHUP and EPOLLERR come unasked."""


class Loop:
    """Descriptors and timers, and what to call when they are due."""

    __slots__ = ("_calls", "_epoll", "_number", "_report", "_timers")

    def __init__(self, report: Callable[[BaseException], None]) -> None:
        self._epoll = select.epoll()
        self._calls: dict[int, Callable[[int], None]] = {}
        self._timers: dict[int, tuple[float, Callable[[], None]]] = {}
        self._number = 0
        self._report = report

    def watch(self, fd: int, callback: Callable[[int], None], *, events: int = READ) -> None:
        """Call `callback(events)` whenever the descriptor is ready; once more changes it."""
        if fd in self._calls:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._calls[fd] = callback

    def unwatch(self, fd: int) -> None:
        """Forget the descriptor; before it is closed.  Unknown ones are ignored."""
        if self._calls.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def later(self, seconds: float, callback: Callable[[], None]) -> int:
        """Call once after so many seconds; the number is for `cancel`."""
        self._number += 1
        self._timers[self._number] = (time.monotonic() + seconds, callback)
        return self._number

    def cancel(self, number: int) -> None:
        """Forget a timer; one that is over is ignored."""
        self._timers.pop(number, None)

    def turn(self) -> None:
        """Wait for the next thing and call whoever waits for it."""
        timeout = None
        if self._timers:
            first = min(due for due, _ in self._timers.values())
            timeout = max(0.0, first - time.monotonic())
        for fd, events in self._epoll.poll(timeout):
            callback = self._calls.get(fd)  # an earlier callback may have closed it
            if callback is not None:
                self._guard(callback, events)
        self._fire()

    def _fire(self) -> None:
        now = time.monotonic()
        due = [number for number, (when, _) in self._timers.items() if when <= now]
        for number in due:
            entry = self._timers.pop(number, None)
            if entry is not None:
                self._guard(entry[1])

    def _guard(self, callback: Callable[..., None], *arguments: int) -> None:
        try:
            callback(*arguments)
        except Exception as exc:
            self._report(exc)
