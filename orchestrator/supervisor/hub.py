"""Hub: hands what happened to containers to everybody who watches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator import events

if TYPE_CHECKING:
    from orchestrator.supervisor.outbox import Outbox

WATCHER_LIMIT = 1 << 20


class Hub:
    """The watchers of one project."""

    def __init__(self) -> None:
        self._outboxes: set[Outbox] = set()

    def add(self, outbox: Outbox) -> None:
        self._outboxes.add(outbox)

    def remove(self, outbox: Outbox) -> None:
        self._outboxes.discard(outbox)

    def publish(self, event: events.StateChanged) -> None:
        """Queue the event for every watcher; never waits."""
        if not self._outboxes:
            return
        message = events.to_json(event)
        for outbox in self._outboxes:
            outbox.send(message)
