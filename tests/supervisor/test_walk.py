"""The order of jobs, with jobs that only note that they ran."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import InternalError, NetworkError, SupervisorError
from orchestrator.supervisor.protocol import Job, StartContainer, WaitFor
from orchestrator.supervisor.walk import Walk


def start(number: int, *after: int) -> Job:
    return StartContainer(number=number, after=after, container=f"c{number}")


def wait(number: int, *after: int) -> Job:
    return WaitFor(number=number, after=after, containers=("c",), condition="running",
                   service="s", dependent="")  # fmt: skip


@st.composite
def graphs(draw: st.DrawFn) -> list[Job]:
    """Any acyclic graph, its jobs in any order."""
    count = draw(st.integers(0, 12))
    jobs = [
        start(n, *sorted(draw(st.sets(st.integers(1, n - 1), max_size=4)) if n > 1 else ()))
        for n in range(1, count + 1)
    ]
    return draw(st.permutations(jobs))


@given(jobs=graphs())
def test_every_job_runs_once_and_after_what_it_needs(jobs: list[Job]) -> None:
    done: list[int] = []

    async def perform(job: Job) -> None:
        assert set(job.after) <= set(done)
        await anyio.lowlevel.checkpoint()
        done.append(job.number)

    anyio.run(Walk(jobs, perform=perform).run)
    assert sorted(done) == sorted(job.number for job in jobs)


@given(jobs=graphs(), failing=st.integers(1, 12))
def test_nothing_that_needs_a_failed_job_runs(jobs: list[Job], failing: int) -> None:
    begun: set[int] = set()

    async def perform(job: Job) -> None:
        begun.add(job.number)
        if job.number == failing:
            raise NetworkError("no")

    walk = Walk(jobs, perform=perform)
    if failing in {job.number for job in jobs}:
        with pytest.raises(NetworkError):
            anyio.run(walk.run)
    assert not any(failing in job.after for job in jobs if job.number in begun)


def test_independent_jobs_overlap() -> None:
    async def main() -> None:
        met = anyio.Event()
        count = 0

        async def perform(job: Job) -> None:
            nonlocal count
            count += 1
            if count == 40:
                met.set()
            await met.wait()  # deadlocks unless all forty are under way together

        with anyio.fail_after(5):
            await Walk([start(n) for n in range(1, 41)], perform=perform).run()

    anyio.run(main)


def test_what_is_in_flight_ends_and_waits_are_broken_off_after_an_error() -> None:
    finished: list[int] = []

    async def main() -> None:
        flying = anyio.Event()

        async def perform(job: Job) -> None:
            if job.number == 1:
                await flying.wait()
                raise NetworkError("no")
            if job.number == 2:
                flying.set()
                await anyio.lowlevel.checkpoint()
                await anyio.lowlevel.checkpoint()
                finished.append(2)
            if job.number == 3:
                await anyio.sleep_forever()

        with anyio.fail_after(5):
            await Walk([start(1), start(2), wait(3), start(4, 3)], perform=perform).run()

    with pytest.raises(NetworkError):
        anyio.run(main)
    assert finished == [2]


def test_cancelling_begins_nothing_more() -> None:
    begun: list[int] = []

    async def perform(job: Job) -> None:
        begun.append(job.number)
        walk.cancel()

    walk = Walk([start(1), start(2, 1)], perform=perform)
    anyio.run(walk.run)
    assert (begun, walk.is_cancelled) == ([1], True)


def test_a_bug_becomes_an_internal_error(capfd: pytest.CaptureFixture[str]) -> None:
    async def perform(job: Job) -> None:
        raise ZeroDivisionError("oh")

    with pytest.raises(InternalError, match="ZeroDivisionError: oh"):
        anyio.run(Walk([start(1)], perform=perform).run)
    assert "Traceback" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ([start(1), start(1)], "same number"),
        ([start(1, 2)], "not there"),
        ([start(1, 1)], "circle"),
        ([start(1, 3), start(2, 1), start(3, 2)], "circle"),
    ],
)
def test_graphs_without_an_order_are_refused(jobs: list[Job], message: str) -> None:
    async def perform(job: Job) -> None:
        raise AssertionError("never")

    with pytest.raises(SupervisorError, match=message):
        Walk(jobs, perform=perform)


@pytest.mark.parametrize(("limit", "most"), [(0, 9), (-1, 9), (1, 1), (3, 3)])
def test_no_more_jobs_than_allowed_are_under_way_and_waits_do_not_count(
    limit: int, most: int
) -> None:
    now, peak, done = 0, 0, list[int]()

    async def perform(job: Job) -> None:
        nonlocal now, peak
        counts = int(not isinstance(job, WaitFor))
        now += counts
        peak = max(peak, now)
        await anyio.sleep(0.001)
        now -= counts
        done.append(job.number)

    jobs = [*map(start, range(1, 10)), wait(10)]
    anyio.run(Walk(jobs, perform=perform, limit=limit).run)
    assert (peak, sorted(done)) == (most, list(range(1, 11)))
