"""From jobs to effects: a supervisor is there, gets the jobs, and its events reach a Sink.

A `Submission` can be waited for, or polled beside other sources.  Closing it cancels what has not
begun.  Decides nothing about the jobs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from orchestrator import events
from orchestrator.engine import interruption
from orchestrator.errors import SupervisorError, from_json
from orchestrator.events import Sink
from orchestrator.state.layout import Layout
from orchestrator.supervisor import client, protocol, starting
from orchestrator.supervisor.starting import keep_warm as keep_warm
from orchestrator.supervisor.starting import let_cool as let_cool

PATIENCE = 10.0
"""Seconds a supervisor may take to listen."""


class HeadStart:
    """A supervisor that starts while files are read."""

    def __init__(self, layout: Layout, project: str) -> None:
        self._layout, self._project = layout, project
        self._starting: starting.Starting | None = None

    def begin(self) -> None:
        """Start one unless one answers; does not wait."""
        if self._starting is None and not os.path.exists(
            self._layout.control_socket(self._project)
        ):
            self._starting = starting.start(self._layout, self._project)

    def connect(self) -> client.ControlClient:
        """A connection; starts what `begin` has not."""
        interruption.check()
        if self._starting is not None:
            self._await()
        return client.open_client(self._layout, self._project)

    def _await(self) -> None:
        assert self._starting is not None
        begun, self._starting = self._starting, None
        begun.wait(PATIENCE)

    def abandon(self) -> None:
        """There is nothing to do after all: let the supervisor end, unless it keeps something."""
        if self._starting is None:
            return
        self._await()
        found = client.connect(self._layout, self._project)
        if found is not None:
            found.finish(timeout=PATIENCE)


Tty = Callable[[int], None]
"""Gets the master of a container's pty."""


class Submission:
    """Jobs on their way."""

    def __init__(
        self, connection: client.ControlClient, jobs: Sequence[protocol.Job], *, lock: int,
        sink: Sink, stdio: int | None = None, streams: Sequence[int] = (), tty: Tty | None = None,
        parallel: int = 0,
    ) -> None:  # fmt: skip
        self._client, self._sink, self._tty = connection, sink, tty
        self.is_done = False
        self.times: dict[int, tuple[float, float]] = {}
        """Of the jobs, once all is done: when each began and ended, seconds since the epoch."""
        extra = {} if stdio is None else {"stdio": stdio}
        extra |= {"parallel": parallel} if parallel > 0 else {}
        connection.request(
            "execute", jobs=[protocol.job_to_json(job) for job in jobs], fds=[lock, *streams],
            **extra,
        )  # fmt: skip

    def fileno(self) -> int:
        """Readable when there is something to `step` over."""
        return self._client.fileno()

    def step(self) -> None:
        """Handle what has arrived; raises the error that ended the jobs."""
        for message, fds in self._client.pending():
            self._handle(message, fds)

    def wait(self, *, deadline: float | None = None) -> bool:
        """Until all is done; False when `deadline` (monotonic) passed first."""
        while not self.is_done:
            left = None if deadline is None else deadline - time.monotonic()
            if (left is not None and left <= 0) or not interruption.wait([self], timeout=left)[0]:
                return False
            self.step()  # all that has come: what is read is not told of again
        return True

    def _handle(self, message: dict[str, Any], fds: list[int]) -> None:
        if "error" in message:
            raise from_json(message["error"])
        if "event" in message:
            self._sink(events.from_json(message))
        elif "tty" in message and self._tty is not None and len(fds) == 1:
            self._tty(fds.pop())
        elif "result" in message:
            self.is_done = True
            self.times = {n: (begin, end) for n, begin, end in message["result"].get("times", ())}
        for fd in fds:
            os.close(fd)

    def close(self) -> None:
        """End the connection; what has not begun will not."""
        self._client.close()

    def finish(self) -> None:
        """Close, and see a supervisor off that has nothing left to keep."""
        self._client.finish()


def run(
    head: HeadStart, jobs: Sequence[protocol.Job], *, lock: int, sink: Sink,
    last: bool = False, parallel: int = 0,
) -> dict[int, tuple[float, float]]:  # fmt: skip
    """Do the jobs; their times, when they are done.  With `last` also wait until a supervisor that
    keeps nothing any more has ended."""
    submission = Submission(head.connect(), jobs, lock=lock, sink=sink, parallel=parallel)
    try:
        submission.wait()
    except BaseException:
        submission.close()
        raise
    if last:
        submission.finish()
    else:
        submission.close()
    return submission.times


def ask(layout: Layout, project: str, method: str, **params: Any) -> dict[str, Any] | None:
    """The answer of the running supervisor; None where none runs.  PcomposeError of whatever it
    answers with."""
    connection = client.connect(layout, project)
    if connection is None:
        return None
    try:
        connection.request(method, **params)
        return connection.result()
    finally:
        connection.close()


def request(layout: Layout, project: str, method: str, **params: Any) -> dict[str, object] | None:
    """As `ask`, but None too where the supervisor does not do it."""
    try:
        return ask(layout, project, method, **params)
    except SupervisorError:
        return None
