"""`events`: what happened to the containers of a project, and what happens.

Reads the project's journal and follows it, across supervisors that come and go and across `down`
and the next `up`.  Starts nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence

from orchestrator import events
from orchestrator.engine import interruption
from orchestrator.engine.lookup import check
from orchestrator.engine.workspace import Workspace
from orchestrator.events import StateChanged
from orchestrator.state import journal


def follow(
    workspace: Workspace, services: Sequence[str], *, since: float | None, until: float | None
) -> Iterator[StateChanged]:
    """Events of the services (empty: all), one-offs left out; with `since` from the past on, else
    from now on; until `until`, which may have passed, or without end.  Seconds since the epoch."""
    known = workspace.observe().containers
    if known or not workspace.is_named:
        check(workspace, services, known)
    path = workspace.layout.project_journal(workspace.name)
    reader, watch = journal.Reader(path), journal.Watch(path)
    end = math.inf if until is None else until
    try:
        watch.prepare()
        if since is None:
            reader.skip()
            found, begin = reader.news(), 0.0
        else:
            found, begin = reader.past(), since
        while True:
            for entry in found:
                event = events.from_json(entry)
                if isinstance(event, StateChanged) and _is_wanted(event, services) and (
                    begin <= event.time <= end
                ):
                    yield event
            if time.time() >= end:
                return
            _wait(watch, end - time.time())
            watch.prepare()
            found = reader.news()
    finally:
        reader.close()
        watch.close()


def _wait(watch: journal.Watch, timeout: float) -> None:
    interrupt = interruption.current()
    watch.wait(timeout, wake=[] if interrupt is None else [interrupt.fileno()])
    interruption.check()


def _is_wanted(event: StateChanged, services: Sequence[str]) -> bool:
    return not event.oneoff and (not services or event.service in services)
