"""Waiting for a service as its user sees it: a port answers, a page is there, a line was written,
its health check is content.

Nothing runs in the container for it.  Who waits listens to the supervisor meanwhile, so the end of
the container ends the wait at once, with its exit code and its last words.
"""

from __future__ import annotations

import re
import socket
import time
from typing import TYPE_CHECKING, Protocol

from orchestrator.dataclass import dataclass
from orchestrator.engine import reaching
from orchestrator.engine.logs import LogEntry, Stream
from orchestrator.engine.lookup import check
from orchestrator.errors import DeadlineError, DependencyError, NetworkError, UsageError
from orchestrator.runtime import logs
from orchestrator.runtime.spec import ContainerSpec
from orchestrator.supervisor import client, evidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.engine.reaching import Address
    from orchestrator.engine.workspace import Workspace
    from orchestrator.state.observed import ObservedContainer
    from orchestrator.state.records import ContainerRecord

RETRY = (0.005, 0.01, 0.02, 0.05)
"""Seconds between two tries, the last for all that follow."""
_CONNECT, _ANSWER = 0.5, 5.0


class Condition(Protocol):
    """What is waited for; `tried` is what the last try came to."""

    tried: str

    def is_met(self, waiting: Waiting) -> bool:
        """Try once."""


class Tcp:
    """The port accepts a connection."""

    def __init__(self, port: int) -> None:
        self.port, self.tried = port, ""

    def is_met(self, waiting: Waiting) -> bool:
        try:
            socket.create_connection(waiting.address(self.port), timeout=_CONNECT).close()
        except (OSError, NetworkError) as exc:
            self.tried = f"port {self.port}: {exc}"
            return False
        return True


class Http:
    """A page is answered with a status below 400; `page` is `8080`, `:8080/health`."""

    def __init__(self, page: str | int) -> None:
        found = re.fullmatch(r":?(\d{1,5})(/.*)?", str(page))
        if found is None:
            raise UsageError(f"bad page to wait for: {page!r}", hint="PORT or :PORT/PATH")
        self.port, self.path, self.tried = int(found[1]), found[2] or "/", ""

    def is_met(self, waiting: Waiting) -> bool:
        import http.client

        try:
            host, port = waiting.address(self.port)
            connection = http.client.HTTPConnection(host, port, timeout=_CONNECT)
            connection.connect()
            connection.sock.settimeout(_ANSWER)
            connection.request("GET", self.path, headers={"Connection": "close"})
            status = connection.getresponse().status
            connection.close()
        except (OSError, http.client.HTTPException, NetworkError) as exc:
            self.tried = f"GET :{self.port}{self.path}: {exc or type(exc).__name__}"
            return False
        self.tried = f"GET :{self.port}{self.path}: status {status}"
        return status < 400


class Line:
    """A line of the output that the pattern is found in, of this run of the container."""

    def __init__(self, pattern: str | re.Pattern[str]) -> None:
        try:
            self.pattern = re.compile(pattern)
        except re.error as exc:
            raise UsageError(f"bad pattern {pattern!r}: {exc}") from exc
        self.tried = f"no line matches {self.pattern.pattern!r}"

    def is_met(self, waiting: Waiting) -> bool:
        lines, waiting.lines = waiting.lines, []
        return any(self.pattern.search(line) for line in lines)


class Healthy:
    """Its health check has passed."""

    tried = ""

    def is_met(self, waiting: Waiting) -> bool:
        container = waiting.look()
        self.tried = f"health: {container.status.health or 'there is no health check'}"
        return container.status.health == "healthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whose readiness; `index` 0: that of the first replica."""

    service: str
    index: int = 0


class Waiting:
    """One wait, connected to the supervisor."""

    def __init__(self, workspace: Workspace, target: Target) -> None:
        self._workspace, self._target = workspace, target
        self._started: set[str] = set()
        self.lines: list[str] = []
        """Written by the replica and not looked at yet."""
        self._stream = Stream(workspace.layout, workspace.name, wants=self._wants)

    def begin(self) -> None:
        """From here on nothing is missed."""
        workspace = self._workspace
        self._stream.watch(client.connect(workspace.layout, workspace.name))
        container = self.look()
        since = container.status.started_at
        self.lines = [
            entry.text for entry in self._stream.add(container.record, skip=False)
            if entry.time >= since
        ]  # fmt: skip

    def _wants(self, record: ContainerRecord) -> bool:
        index = self._target.index
        return (record.service == self._target.service and not record.oneoff
                and index in (0, record.index))  # fmt: skip

    def address(self, port: int) -> Address:
        """Of a port of the replica."""
        target = self._target
        try:
            return reaching.address(self._workspace, target.service, port, index=target.index)
        except UsageError as exc:  # between two runs of it
            raise NetworkError(exc.message) from exc

    def look(self) -> ObservedContainer:
        """The replica as it is; DependencyError where it has ended or never ran."""
        observed = self._workspace.observe()
        mine = [c for c in observed.containers if self._wants(c.record)]
        if not mine:
            check(self._workspace, [self._target.service], observed.containers)
            raise DependencyError(f'service "{self._target.service}" has no container')
        first = min(mine, key=lambda c: (c.record.index, -c.record.created_at))
        if first.status.state in ("exited", "dead", "created"):
            raise DependencyError(self._obituary(first))
        return first

    def _obituary(self, container: ObservedContainer) -> str:
        status, name = container.status, container.record.name
        code = "unknown" if status.exit_code is None else status.exit_code
        message = f"container {name} exited ({code})"
        if status.state == "created":
            message = f"container {name} has not been started"
        if status.error:
            message += f": {status.error}"
        return self._with_evidence(message, container)

    def _with_evidence(self, message: str, container: ObservedContainer) -> str:
        spec = ContainerSpec.from_json(container.record.spec)
        case = evidence.Case(
            name=container.record.name, service=container.record.service, status=container.status,
            check=spec.healthcheck, log_lines=self._last_lines(container),
        )  # fmt: skip
        return evidence.of_failure(message, case, now=time.time())

    def _last_lines(self, container: ObservedContainer) -> list[str]:
        record = container.record
        path = self._workspace.layout.container_log(record.project, record.id)
        try:
            return [line.text for line in logs.read_log(path, tail=evidence.LINES)]
        except OSError:
            return []

    def step(self, patience: float) -> None:
        """Let things happen, at most for so many seconds; DependencyError at the replica's end."""
        for event in self._stream.events(timeout=patience):
            if isinstance(event, LogEntry):
                self.lines.append(event.text)
            elif event.action == "die" and not event.restarting:
                self.look()
        if not self._stream.is_watching:
            workspace = self._workspace
            self._stream.watch(client.connect(workspace.layout, workspace.name))
            self.look()

    def too_late(self, timeout: float, conditions: Sequence[Condition]) -> DeadlineError:
        container = self.look()
        tried = "; ".join(c.tried for c in conditions if c.tried)
        message = f"{container.record.name} is not ready after {timeout:g}s: {tried}"
        return DeadlineError(self._with_evidence(message, container))

    def close(self) -> None:
        self._stream.close()


def await_ready(
    workspace: Workspace, target: Target, conditions: Sequence[Condition], *, timeout: float
) -> None:
    """Until all conditions are met, one after the other.  DependencyError at once when the
    container ends for good, DeadlineError after `timeout` seconds; both say what it wrote last."""
    deadline = time.monotonic() + timeout
    waiting = Waiting(workspace, target)
    try:
        waiting.begin()
        for condition in conditions:
            delays = iter(RETRY)
            while not condition.is_met(waiting):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise waiting.too_late(timeout, conditions)
                waiting.step(min(next(delays, RETRY[-1]), left))
    finally:
        waiting.close()
