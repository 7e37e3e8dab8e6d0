"""Hub: hands what happened to containers to everybody who watches, and to the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator import events
from orchestrator.state import journal
from orchestrator.supervisor import faults

if TYPE_CHECKING:
    from orchestrator.supervisor.outbox import Outbox

WATCHER_LIMIT = 1 << 20


class Hub:
    """The watchers of one project, and its journal at a path."""

    def __init__(self, path: str) -> None:
        self._outboxes: set[Outbox] = set()
        self._journal = journal.Writer(path)
        self._is_written = True

    def add(self, outbox: Outbox) -> None:
        self._outboxes.add(outbox)

    def remove(self, outbox: Outbox) -> None:
        self._outboxes.discard(outbox)

    def publish(self, event: events.StateChanged) -> None:
        """Write the event down and queue it for every watcher; never waits."""
        message = events.to_json(event)
        self._write(message)
        for outbox in self._outboxes:
            outbox.send(message)

    def _write(self, message: dict[str, Any]) -> None:
        try:
            self._journal.append(message)
            self._is_written = True
        except OSError as exc:  # a full disk must not end containers, nor fill the log
            if self._is_written:
                faults.note(f"cannot write the journal: {exc.strerror}")
            self._is_written = False
