"""Waiting for descriptors, as select(2) without its limit: its sets end at descriptor 1023, and a
process with many containers, or of a large test suite, has more."""

from __future__ import annotations

import math
import select

TYPE_CHECKING = False  # as in typing, which is not imported at run time
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol, TypeVar

    class HasDescriptor(Protocol):
        """A socket, and the like."""

        def fileno(self) -> int: ...

    S = TypeVar("S", bound=int | HasDescriptor)
    T = TypeVar("T", bound=int | HasDescriptor)

_OVER = select.POLLHUP | select.POLLERR | select.POLLNVAL


def ready(
    reading: Sequence[S], writing: Sequence[T] = (), *, timeout: float | None = None
) -> tuple[list[S], list[T]]:
    """Those that can be read and those that can be written, or have come to an end; both empty
    after `timeout` seconds.  None waits without end."""
    poll = select.poll()
    wanted: dict[int, int] = {}
    for event, sources in ((select.POLLIN, reading), (select.POLLOUT, writing)):
        for source in sources:
            number = _number(source)
            wanted[number] = wanted.get(number, 0) | event
    for number, events in wanted.items():
        poll.register(number, events)
    found = dict(poll.poll(None if timeout is None else math.ceil(timeout * 1000)))
    readable, writable = select.POLLIN | _OVER, select.POLLOUT | _OVER
    return ([source for source in reading if found.get(_number(source), 0) & readable],
            [source for source in writing if found.get(_number(source), 0) & writable])  # fmt: skip


def _number(source: int | HasDescriptor) -> int:
    return source if isinstance(source, int) else source.fileno()
