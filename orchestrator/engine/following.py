"""`logs`: the past of the chosen containers, and with -f what comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.engine import logs
from orchestrator.engine.logs import LogEntry, Stream
from orchestrator.engine.lookup import check
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import UsageError
from orchestrator.events import StateChanged
from orchestrator.names import display_name
from orchestrator.state.observed import Observed
from orchestrator.state.records import ContainerRecord
from orchestrator.supervisor import client


def _records(
    workspace: Workspace, services: Sequence[str], *, index: int | None
) -> tuple[Observed, list[ContainerRecord]]:
    if index is not None and len(services) != 1:
        raise UsageError("--index requires one service to be selected")
    observed = workspace.observe()
    check(workspace, services, observed.containers)
    records = [c.record for c in observed.containers]
    chosen = logs.select_records(records, services, index=index)
    if index is not None and not chosen:
        raise UsageError(f'service "{services[0]}" has no replica {index}')
    return observed, chosen


def history(
    workspace: Workspace, services: Sequence[str], *, since: float | None, until: float | None,
    tail: int | None, index: int | None,
) -> Iterator[LogEntry]:  # fmt: skip
    """Merged by time; stopped containers and one-offs too."""
    _, records = _records(workspace, services, index=index)
    return logs.history(workspace.layout, records, since=since, until=until, tail=tail)


def shown_names(
    workspace: Workspace, services: Sequence[str], *, index: int | None
) -> list[str]:
    """Names as the prefixes have them."""
    _, records = _records(workspace, services, index=index)
    return [display_name(r.project, r.name, r.service, r.index) for r in records]


def follow(
    workspace: Workspace, services: Sequence[str], *, since: float | None, tail: int | None,
    index: int | None,
) -> Iterator[LogEntry | StateChanged]:  # fmt: skip
    """The past, then what comes, until none of the containers runs; new replicas are joined."""
    observed, records = _records(workspace, services, index=index)

    def wants(record: ContainerRecord) -> bool:
        return (not services or record.service in services) and index in (None, record.index)

    stream = Stream(workspace.layout, workspace.name, wants=wants)
    try:
        stream.watch(client.connect(workspace.layout, workspace.name))
        yield from _past(stream, records, since=since, tail=tail)
        chosen = {record.id for record in records}
        running = {c.record.id for c in observed.containers
                   if c.record.id in chosen and c.status.state in ("running", "restarting")}
        yield from _future(workspace, stream, services, running)
        yield from stream.drain()
    finally:
        stream.close()


def _past(
    stream: Stream, records: Sequence[ContainerRecord], *, since: float | None, tail: int | None
) -> Iterator[LogEntry]:
    found: list[LogEntry] = []
    for record in records:
        lines = stream.add(record, skip=False)
        if since is not None:
            lines = [line for line in lines if line.time >= since]
        found += lines if tail is None else lines[len(lines) - tail if tail < len(lines) else 0 :]
    yield from sorted(found, key=lambda entry: entry.time)


def _future(
    workspace: Workspace, stream: Stream, services: Sequence[str], running: set[str]
) -> Iterator[LogEntry | StateChanged]:
    while running:
        for event in stream.events():
            yield event
            if not isinstance(event, StateChanged):
                continue
            if event.action == "start" and (not services or event.service in services):
                running.add(event.container)
            elif event.is_end:
                running.discard(event.container)
        if not stream.is_watching:
            # the supervisor is gone: the next one tells, and what ended meanwhile is seen here
            stream.watch(client.connect(workspace.layout, workspace.name))
            running &= {c.record.id for c in workspace.observe().containers
                        if c.status.state in ("running", "restarting")}  # fmt: skip
