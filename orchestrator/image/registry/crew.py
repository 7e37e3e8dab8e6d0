"""Some threads that do a list of things, and end together when one of them fails.

They are daemons: a thread that waits for another process or for a dead network must not keep a
command from ending.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

_PATIENCE = 2.0
"""Seconds that the others are given to notice that it is over."""


class StoppedError(Exception):
    """Somebody else has failed, or the user has had enough."""


class Stop(threading.Event):
    """Set when work is to end; that of a part is also set with that of the whole, and not the other
    way round."""

    def __init__(self, whole: Stop | None = None) -> None:
        super().__init__()
        self._parts: list[Stop] = []
        if whole is not None:
            whole._parts.append(self)
            if whole.is_set():
                self.set()

    def set(self) -> None:
        super().set()
        for part in self._parts:
            part.set()


def run(
    tasks: Sequence[Callable[[], None]], *, most: int, stop: Stop,
    interrupt: Callable[[], None] | None = None,
) -> None:  # fmt: skip
    """Do all of them, `most` at a time; raises the first failure, after setting `stop`.  Where it
    is over before they are done, `interrupt` wakes those that wait for somebody."""
    pending = list(reversed(tasks))
    failures: list[BaseException] = []
    lock = threading.Lock()

    def work() -> None:
        while not stop.is_set():
            with lock:
                if not pending:
                    return
                task = pending.pop()
            try:
                task()
            except BaseException as exc:
                with lock:
                    failures.append(exc)
                stop.set()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(most, len(tasks)))]
    try:
        for thread in threads:
            thread.start()
        _await(threads, stop)
    except BaseException:
        stop.set()
        _end(threads, interrupt)
        raise
    _end(threads, interrupt)
    told = [failure for failure in failures if not isinstance(failure, StoppedError)]
    if told or failures:
        raise (told or failures)[0]
    if stop.is_set():
        raise StoppedError


def _await(threads: Sequence[threading.Thread], stop: Stop) -> None:
    for thread in threads:
        while thread.is_alive() and not stop.is_set():
            thread.join(0.1)


def _end(threads: Sequence[threading.Thread], interrupt: Callable[[], None] | None) -> None:
    begun = [thread for thread in threads if thread.is_alive()]
    if begun and interrupt is not None:
        interrupt()
    deadline = time.monotonic() + _PATIENCE
    for thread in begun:
        thread.join(max(0.0, deadline - time.monotonic()))
