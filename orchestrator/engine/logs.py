"""Logs of several containers as one stream, merged by time, and followed together with what
happens.

Reads the log files and listens to the supervisor's `watch`; needs no supervisor for what is past.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

from orchestrator import events
from orchestrator.dataclass import dataclass
from orchestrator.engine import interruption
from orchestrator.engine.session import Signals
from orchestrator.engine.submit import Submission
from orchestrator.errors import SupervisorError
from orchestrator.events import StateChanged
from orchestrator.linux import inotify
from orchestrator.names import display_name
from orchestrator.runtime import logs
from orchestrator.state import store
from orchestrator.state.layout import Layout
from orchestrator.state.records import ContainerRecord
from orchestrator.supervisor import client

PATIENCE = 0.5
"""Seconds after which files are looked at even if nobody reported a change: kernels before 6.8 do
not report what splice(2) writes."""
_CHANGED = inotify.IN_MODIFY | inotify.IN_CREATE | inotify.IN_MOVED_TO


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One line of one container."""

    container: str
    """Full id."""
    name: str
    """As shown: `web-1`."""
    service: str
    index: int
    stream: str
    """stdout or stderr."""
    time: float
    """Seconds since the epoch."""
    text: str


Event = LogEntry | StateChanged


def _entry(record: ContainerRecord, line: logs.LogLine) -> LogEntry:
    return LogEntry(
        container=record.id, service=record.service, index=record.index, stream=line.stream,
        name=display_name(record.project, record.name, record.service, record.index),
        time=line.time, text=line.text,
    )  # fmt: skip


def history(
    layout: Layout, records: Iterable[ContainerRecord], *, since: float | None = None,
    until: float | None = None, tail: int | None = None,
) -> Iterator[LogEntry]:  # fmt: skip
    """What has been written, merged by time.  `tail`: lines of each container."""
    def lines(record: ContainerRecord) -> Iterator[LogEntry]:
        directory = layout.container_log(record.project, record.id)
        for line in logs.read_log(directory, since=since, until=until, tail=tail):
            yield _entry(record, line)

    return heapq.merge(*map(lines, records), key=lambda entry: entry.time)


class Stream:
    """Follows logs and state changes; closes everything it opened."""

    def __init__(
        self, layout: Layout, project: str, *, wants: Callable[[ContainerRecord], bool]
    ) -> None:
        self._layout, self._project, self._wants = layout, project, wants
        self._inotify = inotify.Inotify()
        self._followers: dict[str, tuple[ContainerRecord, logs.LogFollower]] = {}
        self._watch: client.ControlClient | None = None
        self._submissions: list[Submission] = []
        self._signals: Signals | None = None

    def watch(self, connection: client.ControlClient | None) -> None:
        """Listen to the supervisor over `connection`; once this returns no change is missed."""
        self._watch = connection
        if connection is None:
            return
        try:
            connection.request("watch")
            connection.receive()  # {"watching": true}
        except SupervisorError:
            connection.close()
            self._watch = None

    @property
    def is_watching(self) -> bool:
        """Whether a supervisor would tell of changes."""
        return self._watch is not None

    def add(self, record: ContainerRecord, *, skip: bool) -> list[LogEntry]:
        """Follow a container; gives what is in its log already, unless it is to be skipped."""
        if record.id in self._followers or not self._wants(record):
            return []
        directory = self._layout.container_log(record.project, record.id)
        if not os.path.isdir(directory):
            return []
        self._inotify.add(directory, _CHANGED)
        follower = logs.LogFollower(directory)
        self._followers[record.id] = (record, follower)
        lines = follower.read()
        return [] if skip else [_entry(record, line) for line in lines]

    def attach(self, submission: Submission) -> None:
        """Let the events of jobs on their way arrive while this stream is read."""
        self._submissions.append(submission)

    def detach(self, submission: Submission) -> None:
        """Break jobs off: what has not begun will not."""
        self._submissions.remove(submission)
        submission.close()

    def wake_by(self, signals: Signals) -> None:
        """A signal ends the wait of `events`."""
        self._signals = signals

    @property
    def is_submitting(self) -> bool:
        """Whether jobs are still on their way."""
        return any(not s.is_done for s in self._submissions)

    def events(self, *, timeout: float | None = None) -> list[Event]:
        """What happened since the last call; waits for something to happen, at most `timeout`
        seconds.  An error that ended attached jobs is raised."""
        sources: list[inotify.Inotify | Submission | client.ControlClient | Signals] = [
            self._inotify, *(s for s in self._submissions if not s.is_done)
        ]
        if self._watch is not None:
            sources.append(self._watch)
        if self._signals is not None:
            sources.append(self._signals)
        wait = PATIENCE if timeout is None else min(PATIENCE, timeout)
        readable, _ = interruption.wait(sources, timeout=wait)
        if self._inotify in readable:
            self._inotify.read()
        # always: a message may have come in the same read as the one before it
        changes = self._changes() if self._watch is not None else []
        found = [*self._lines(), *changes]
        for submission in self._submissions:
            if submission in readable:
                submission.step()
        return found

    def _lines(self) -> list[Event]:
        found = [
            _entry(record, line)
            for record, follower in self._followers.values() for line in follower.read()
        ]  # fmt: skip
        return sorted(found, key=lambda entry: entry.time)

    def _changes(self) -> list[Event]:
        """State changes; before a container's end is told, the rest of its output is."""
        assert self._watch is not None
        try:
            arrived = self._watch.pending()
        except SupervisorError:
            self._watch.close()
            self._watch = None
            return []
        found: list[Event] = []
        for message, fds in arrived:
            for fd in fds:
                os.close(fd)
            event = events.from_json(message) if "event" in message else None
            if isinstance(event, StateChanged):
                found += self.around(event)
        return found

    def around(self, event: StateChanged) -> list[Event]:
        """The change, after the output that came before it."""
        if event.action in ("create", "start"):
            return [*self.adopt(event.container), event]
        if event.action == "die" and event.container in self._followers:
            record, follower = self._followers[event.container]
            return [*(_entry(record, line) for line in follower.read(last=True)), event]
        return [event]

    def adopt(self, id_: str) -> list[LogEntry]:
        """Follow a container that has just been made, if it is one of those wanted."""
        record = store.read_record(
            self._layout.container_record(self._project, id_), ContainerRecord
        )
        return [] if record is None else self.add(record, skip=False)

    def drain(self) -> list[Event]:
        """The rest of every log, unfinished lines included."""
        found = [
            _entry(record, line)
            for record, follower in self._followers.values() for line in follower.read(last=True)
        ]  # fmt: skip
        return sorted(found, key=lambda entry: entry.time)

    def close(self) -> None:
        """Stop listening."""
        self._inotify.close()
        for submission in self._submissions:
            submission.close()
        if self._watch is not None:
            self._watch.close()


def select_records(
    records: Iterable[ContainerRecord], services: Sequence[str], *, index: int | None
) -> list[ContainerRecord]:
    """The replicas of `services` (empty: all); `index` picks one."""
    return [
        r for r in records
        if (not services or r.service in services) and (index is None or r.index == index)
    ]  # fmt: skip
