"""A call that works in a thread can be ended from another one: what signals are to the main thread.

Whoever waits in `engine` waits here, so that `Interrupt.set` reaches it; `check` stands where much
is about to begin.  Without an interrupt, as in the command line, `wait` is `waiting.ready`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

from orchestrator.linux import waiting


class Interrupted(BaseException):
    """The call is to end.  No error, so that nobody takes it for one: as KeyboardInterrupt."""


class Interrupt:
    """Set once, by whoever wants the calls under it to end."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC)
        self.is_set = False
        self.listeners: list[Callable[[], None]] = []

    def fileno(self) -> int:
        """Readable when it is set."""
        return self._fd

    def set(self) -> None:
        """End the calls; works in any thread."""
        self.is_set = True
        os.eventfd_write(self._fd, 1)
        for listener in list(self.listeners):
            listener()

    def close(self) -> None:
        """No call is under it any more."""
        os.close(self._fd)


class Pollable(Protocol):
    """What can be waited for, beside numbers."""

    def fileno(self) -> int: ...


_current: ContextVar[Interrupt | None] = ContextVar("interrupt", default=None)
S = TypeVar("S", bound="int | Pollable")


@contextmanager
def ended_by(interrupt: Interrupt) -> Iterator[None]:
    """Calls within end when `interrupt` is set."""
    token = _current.set(interrupt)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Interrupt | None:
    """What ends the running call, for waits that are not made here."""
    return _current.get()


def check() -> None:
    """Interrupted where the call is to end."""
    interrupt = _current.get()
    if interrupt is not None and interrupt.is_set:
        raise Interrupted


def wait(
    reading: Sequence[S], writing: Sequence[int] = (), *, timeout: float | None = None
) -> tuple[list[S], list[int]]:
    """Those that are ready, as `waiting.ready` has it; Interrupted where the call is to end."""
    interrupt = _current.get()
    sources: list[int | Pollable] = [*reading]
    if interrupt is not None:
        sources.append(interrupt)
    readable, writable = waiting.ready(sources, writing, timeout=timeout)
    check()
    return [source for source in reading if source in readable], writable


@contextmanager
def noticed(listener: Callable[[], None]) -> Iterator[None]:
    """`listener` is called, in the thread of whoever sets it, when the call is to end meanwhile;
    Interrupted at the end."""
    interrupt = _current.get()
    if interrupt is None:
        yield
        return
    interrupt.listeners.append(listener)
    try:
        check()
        yield
    finally:
        interrupt.listeners.remove(listener)
        check()
