"""`wait`: until containers have ended, with their exit codes.

Hears of ends from the supervisor; where it goes away, the next one tells, and what ended meanwhile
is seen in the records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.engine.logs import Stream
from orchestrator.engine.lookup import check, selected
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import UsageError
from orchestrator.events import StateChanged
from orchestrator.state.observed import ObservedContainer
from orchestrator.supervisor import client

UNKNOWN = 1
"""The exit code of a container whose own could not be known."""


def await_ends(workspace: Workspace, services: Sequence[str]) -> Iterator[tuple[str, int]]:
    """(full id, exit code) of each running container of the services, one-offs included, as they
    end.  UsageError where none runs."""
    stream = Stream(workspace.layout, workspace.name, wants=lambda _: False)
    try:
        stream.watch(client.connect(workspace.layout, workspace.name))
        observed = workspace.observe()
        check(workspace, services, observed.containers)
        chosen = selected(observed, services, running=True, oneoffs=True)
        if not chosen:
            raise UsageError(f'no containers for project "{workspace.name}"')
        yield from _ends(workspace, stream, {c.record.id: c for c in chosen})
    finally:
        stream.close()


def _ends(
    workspace: Workspace, stream: Stream, waiting: dict[str, ObservedContainer]
) -> Iterator[tuple[str, int]]:
    while waiting:
        if not stream.is_watching:
            stream.watch(client.connect(workspace.layout, workspace.name))
            yield from _ended_meanwhile(workspace, waiting)
        for event in stream.events():
            if not isinstance(event, StateChanged) or event.container not in waiting:
                continue
            if event.is_end:
                del waiting[event.container]
                yield event.container, _code(event.exit_code)


def _ended_meanwhile(
    workspace: Workspace, waiting: dict[str, ObservedContainer]
) -> Iterator[tuple[str, int]]:
    there = {c.record.id: c for c in workspace.observe().containers}
    for id_ in list(waiting):
        found = there.get(id_)
        if found is None or found.status.state not in ("running", "restarting"):
            del waiting[id_]
            yield id_, _code(None if found is None else found.status.exit_code)


def _code(exit_code: int | None) -> int:
    return UNKNOWN if exit_code is None else exit_code
