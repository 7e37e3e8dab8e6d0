"""Awaiting: the WaitFor jobs of one request, and what is told when they fail.

What a status means is decided by `waits.py`; the words of a failure are made by `evidence.py`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio

from orchestrator import events
from orchestrator.errors import DeadlineError, DependencyError, PcomposeError, StateError
from orchestrator.supervisor import evidence, protocol, waits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.events import Sink, Status
    from orchestrator.supervisor.lanes import Lane
    from orchestrator.supervisor.project import Project


class Awaiting:
    """All waits of a request, which begins now; `emit` takes the progress."""

    def __init__(self, project: Project, jobs: Sequence[protocol.Job], *, emit: Sink) -> None:
        self._project = project
        self._jobs = [job for job in jobs if isinstance(job, protocol.WaitFor)]
        self._starts = [job for job in jobs if isinstance(job, protocol.StartContainer)]
        self._emit = emit
        self._pending: dict[str, list[str]] = {}
        """Dependent -> the services it still waits for."""
        self._began = time.monotonic()

    async def wait(self, job: protocol.WaitFor) -> None:
        """Until the condition is met; DependencyError, DeadlineError unless it is optional."""
        pending = self._pending.setdefault(job.dependent, [])
        pending.append(job.service)
        self._show_dependents(job)
        try:
            await self._wait_all(job)
        except (DependencyError, DeadlineError) as exc:
            if job.required:
                raise
            for lane in self._lanes(job):
                self._tell(lane, "Skipped", "Warning", f"optional dependency {job.service}")
            self._emit(events.Warned(message=f'optional dependency "{job.service}" of '
                                             f'"{job.dependent}": {exc.message}'))  # fmt: skip
        pending.remove(job.service)
        self._show_dependents(job)

    def _show_dependents(self, job: protocol.WaitFor) -> None:
        """Containers that are held back say for whom; the user does not."""
        pending = self._pending[job.dependent]
        if not job.dependent or not pending:
            return
        held = (s.container for s in self._starts if job.number in s.after)
        for lane in (self._project.lanes[id_] for id_ in held if id_ in self._project.lanes):
            self._tell(lane, "Waiting", "Working", f"for {', '.join(pending)}")

    def _tell(self, lane: Lane, text: str, status: Status, details: str = "") -> None:
        self._emit(events.Progress(kind="Container", name=lane.record.name, text=text,
                                   status=status, details=details, time=time.time()))  # fmt: skip

    def _lanes(self, job: protocol.WaitFor) -> list[Lane]:
        return [self._project.lanes[id_] for id_ in job.containers if id_ in self._project.lanes]

    async def _wait_all(self, job: protocol.WaitFor) -> None:
        if job.condition not in waits.CONDITIONS:
            raise StateError(f"cannot wait for {job.service}: no condition {job.condition!r}")
        if not job.containers:
            raise DependencyError(f"{job.dependent} is missing dependency {job.service}")
        left = None
        if job.timeout is not None:
            left = max(self._began + job.timeout - time.monotonic(), 0.0)
        try:
            with anyio.fail_after(left):
                async with anyio.create_task_group() as group:
                    for id_ in job.containers:
                        group.start_soon(self._wait_one, job, id_)
        except TimeoutError as exc:
            raise self._too_late(job) from exc
        except BaseExceptionGroup as group_error:
            raise _first(group_error) from None

    async def _wait_one(self, job: protocol.WaitFor, id_: str) -> None:
        lane = self._project.lane(id_)
        self._tell(lane, "Waiting", "Working")
        while (found := self._verdict(lane, job)) is None:
            await lane.changed()
        if isinstance(found, waits.Met):
            self._tell(lane, found.text, "Done")
            return
        self._tell(lane, "Error", "Error", found.message)
        raise DependencyError(
            evidence.of_failure(found.message, self._case(lane, job.service), now=time.time())
        )

    def _verdict(self, lane: Lane, job: protocol.WaitFor) -> waits.Met | waits.Failed | None:
        if lane.is_removed:
            return waits.Failed(message=f"container {lane.record.name} was removed")
        subject = waits.Subject(name=lane.record.name, service=lane.record.service,
                                status=lane.status, has_check=lane.has_check)  # fmt: skip
        return waits.verdict(subject, job.condition, dependent=job.dependent)

    def _too_late(self, job: protocol.WaitFor) -> PcomposeError:
        """Names everything that any wait of the request is still missing."""
        missing: dict[str, Lane] = {}
        for other in self._jobs:
            for lane in self._lanes(other):
                if not isinstance(self._verdict(lane, other), waits.Met):
                    missing[lane.id] = lane
        cases = [self._case(lane, lane.record.service) for lane in missing.values()]
        message = waits.too_late(timeout=job.timeout or 0.0)
        return DeadlineError(evidence.of_delay(message, cases, now=time.time()))

    def _case(self, lane: Lane, service: str) -> evidence.Case:
        waiters = [
            evidence.waiter(job.dependent, service, job.condition, job.origin)
            for job in self._jobs if job.service == service and job.dependent
        ]  # fmt: skip
        return evidence.Case(
            name=lane.record.name, service=service, status=lane.status,
            check=lane.spec.healthcheck if lane.has_check else None,
            log_lines=self._last_lines(lane), waiters=list(dict.fromkeys(waiters)),
        )  # fmt: skip

    def _last_lines(self, lane: Lane) -> list[str]:
        from orchestrator.runtime import logs  # only where something went wrong

        path = self._project.layout.container_log(self._project.name, lane.id)
        try:
            return [line.text for line in logs.read_log(path, tail=evidence.LINES)]
        except OSError:
            return []


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that made the others be cancelled."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            return _first(error)
        return error
    return group
