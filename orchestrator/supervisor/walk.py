"""Walk: runs a graph of jobs, each as soon as what it needs is done.

Knows the order of jobs, not what they do.  The first error keeps what has not begun from beginning;
jobs in flight run to their end, because half a start is worse than a whole one; jobs that wait for
what others do are broken off.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio

from orchestrator.errors import PcomposeError, SupervisorError
from orchestrator.supervisor import faults
from orchestrator.supervisor.protocol import BROKEN_OFF, Job

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from anyio.abc import TaskGroup


def check_order(jobs: Sequence[Job]) -> None:
    """SupervisorError unless every number is unique and the graph ends somewhere."""
    known = {job.number for job in jobs}
    if len(known) != len(jobs):
        raise SupervisorError("bad request: two jobs have the same number")
    missing = {job.number: set(job.after) for job in jobs}
    for number, after in missing.items():
        if not after <= known:
            raise SupervisorError(f"bad request: job {number} waits for a job that is not there")
    while missing:
        free = {number for number, after in missing.items() if not after}
        if not free:
            raise SupervisorError("bad request: jobs wait for each other in a circle")
        missing = {n: after - free for n, after in missing.items() if n not in free}


class Walk:
    """One graph of jobs on its way; `run` once, `cancel` at any time.  No more than `limit` jobs
    are under way at once, those that only wait not counted; 0 and below: as many as there are."""

    def __init__(
        self, jobs: Sequence[Job], *, perform: Callable[[Job], Awaitable[None]], limit: int = 0
    ) -> None:
        check_order(jobs)
        self._jobs = {job.number: job for job in jobs}
        self._missing = {job.number: set(job.after) for job in jobs}
        self._needed_by: dict[int, list[int]] = {}
        for job in jobs:
            for number in job.after:
                self._needed_by.setdefault(number, []).append(job.number)
        self._perform = perform
        self._room = anyio.CapacityLimiter(limit if limit > 0 else max(len(jobs), 1))
        self._waits: set[anyio.CancelScope] = set()
        self._error: PcomposeError | None = None
        self.is_cancelled = False
        self.times: dict[int, tuple[float, float]] = {}
        """Number of a job that is done -> when it began and ended, seconds since the epoch."""

    def cancel(self) -> None:
        """Nothing begins any more; waits end now."""
        self.is_cancelled = True
        for scope in self._waits:
            scope.cancel()

    async def run(self) -> None:
        """Until all is done, or what had begun before an error or `cancel` is.  Raises the first
        error."""
        async with anyio.create_task_group() as group:
            for number in [n for n, after in self._missing.items() if not after]:
                self._begin(number, group)
        if self._error is not None:
            raise self._error

    def _begin(self, number: int, group: TaskGroup) -> None:
        del self._missing[number]
        group.start_soon(self._one, self._jobs[number], group)

    async def _one(self, job: Job, group: TaskGroup) -> None:
        if self.is_cancelled:
            return
        began = time.time()
        try:
            await (self._wait(job) if isinstance(job, BROKEN_OFF) else self._work(job))
        except Exception as exc:
            error = faults.known(exc, doing=f"doing {type(job).__name__}")
            self._error = self._error or error
            self.cancel()
        if not self.is_cancelled:
            self.times[job.number] = (began, time.time())
            self._done(job.number, group)

    async def _work(self, job: Job) -> None:
        async with self._room:
            if not self.is_cancelled:
                await self._perform(job)

    async def _wait(self, job: Job) -> None:
        with anyio.CancelScope() as scope:
            self._waits.add(scope)
            try:
                await self._perform(job)
            finally:
                self._waits.discard(scope)

    def _done(self, number: int, group: TaskGroup) -> None:
        for other in self._needed_by.get(number, ()):
            self._missing[other].discard(number)
            if not self._missing[other]:
                self._begin(other, group)
