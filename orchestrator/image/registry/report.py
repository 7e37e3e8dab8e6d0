"""Progress of one image between a registry and the store, for any number of threads."""

from __future__ import annotations

import threading
import time

from orchestrator import events

_TICK = 0.1
"""Seconds between two reports of bytes."""


class Report:
    """`doing` is what is told while it goes on: Pulling, Pushing."""

    def __init__(self, name: str, sink: events.Sink, *, doing: str) -> None:
        self._name, self._sink, self._doing = name, sink, doing
        self._lock = threading.Lock()
        self.total = 0
        """Bytes that are to be moved, as far as one knows."""
        self._here = 0
        self._settled = 0
        self._told = 0.0

    def begin(self) -> None:
        """It goes on."""
        self._tell(self._doing)

    def advance(self, count: int) -> None:
        """So many bytes more have come, or gone."""
        with self._lock:
            self._here += count
            now = time.monotonic()
            if now - self._told < _TICK:
                return
            self._told = now
        self._tell(self._doing, current=min(self._here, self.total))

    def settle(self, size: int) -> None:
        """A layer is done with, whoever moved it."""
        with self._lock:
            self._settled += size
            self._here = max(self._here, self._settled)

    def end(self, text: str, *, details: str = "") -> None:
        """It went well."""
        self._tell(text, status="Done", current=self.total, details=details)

    def fail(self) -> None:
        """It did not."""
        self._tell("Error", status="Error")

    def _tell(
        self, text: str, *, status: events.Status = "Working", current: int = 0, details: str = ""
    ) -> None:
        self._sink(events.Progress(
            kind="Image", name=self._name, text=text, status=status, details=details,
            current=current, total=self.total, time=time.time(),
        ))  # fmt: skip
