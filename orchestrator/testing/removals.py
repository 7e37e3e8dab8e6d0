"""Removals: stacks on their way out, beside the tests that come next.

What runs in a stack ends before its last test is over, so that its ports and memory are free; what
the kernel takes its time for, network interfaces above all, nobody has to wait for but the end of
the run.  It keeps a lock on all interfaces meanwhile, so a removal lets the next stack begin first.
"""

from __future__ import annotations

from threading import Event, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 4
"""Stacks on their way out at once."""
PATIENCE = 0.2
"""Seconds that a removal waits for the next stack, which may never come."""


class Removals:
    """Those of one pytest process."""

    def __init__(self) -> None:
        self._threads: list[Thread] = []
        self._errors: list[Exception] = []
        self._turn = Event()

    def begin(self, remove: Callable[[], object], *, name: str) -> None:
        """Go on with something else; where too many are under way, the first is waited for."""
        turn = self._turn

        def run() -> None:
            turn.wait(PATIENCE)
            try:
                remove()
            except Exception as exc:
                exc.add_note(f"while the stack {name} was removed")
                self._errors.append(exc)

        while len(self._threads) >= MOST:
            self._threads.pop(0).join()
        thread = Thread(target=run, name=f"removal of {name}")
        thread.start()
        self._threads.append(thread)

    def go_on(self) -> None:
        """The next stack is there: those that have let it begin first go."""
        turn, self._turn = self._turn, Event()
        turn.set()

    def wait(self) -> None:
        """Until all are gone; raises what went wrong."""
        self.go_on()
        while self._threads:
            self._threads.pop(0).join()
        errors, self._errors = self._errors, []
        if errors:
            raise ExceptionGroup("stacks could not be removed", errors)
