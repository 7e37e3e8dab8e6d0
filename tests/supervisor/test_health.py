"""The health machine on a virtual clock."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.supervisor import health
from orchestrator.supervisor.health import Check, Health

Probe = Callable[[float], bool]


def play(
    check: Check, probe: Probe, *, until: float, takes: float = 0.0
) -> list[tuple[float, Health]]:
    """Run probes when they are due, from 0 to `until`; each state after the time of its end."""
    state = health.begin(check, now=0.0)
    seen = []
    while state.due <= until:
        began = state.due
        passed = probe(began)
        ended = began + takes
        state = health.after_probe(state, check, began=began, ended=ended, passed=passed)
        seen.append((ended, state))
    return seen


def first(seen: list[tuple[float, Health]], status: str) -> float | None:
    return next((time for time, state in seen if state.status == status), None)


def test_the_first_probe_runs_at_once() -> None:
    assert health.begin(Check(interval=30), now=7.0).due == 7.0


def test_a_success_at_once_is_healthy_at_once() -> None:
    assert first(play(Check(), lambda t: True, until=1), "healthy") == 0.0


def test_a_service_ready_after_a_second_is_seen_within_half_a_second() -> None:
    found = first(play(Check(interval=30), lambda t: t >= 1.0, until=60), "healthy")
    assert found is not None
    assert 1.0 <= found <= 1.5


def test_retries_keep_their_meaning_without_start_period() -> None:
    seen = play(Check(interval=5, retries=3), lambda t: False, until=60)
    assert first(seen, "unhealthy") == 15.0


def test_retries_count_from_the_end_of_the_start_period() -> None:
    seen = play(Check(interval=5, retries=3, start_period=20), lambda t: False, until=90)
    assert first(seen, "unhealthy") == 30.0


def test_failures_inside_the_start_period_do_not_count() -> None:
    seen = play(Check(interval=1, retries=1, start_period=10), lambda t: t > 9, until=30)
    assert first(seen, "unhealthy") is None
    assert first(seen, "healthy") is not None


def test_inside_the_start_period_probes_are_never_rarer_than_start_interval() -> None:
    check = Check(interval=60, start_period=30, start_interval=2)
    times = [time for time, _ in play(check, lambda t: False, until=29)]
    assert max(b - a for a, b in pairwise(times)) <= 2.0


def test_a_healthy_container_becomes_unhealthy_after_retries_failures_in_a_row() -> None:
    seen = play(Check(interval=2, retries=3), lambda t: t < 5, until=30)
    assert [state.status for time, state in seen if 5 < time < 11] == [
        "healthy", "healthy", "unhealthy"]  # fmt: skip
    assert first(seen, "unhealthy") == 10.0


def test_an_unhealthy_container_recovers_with_one_success() -> None:
    seen = play(Check(interval=2, retries=1), lambda t: not 1 < t < 9, until=12)
    assert (seen[-1][1].status, seen[-1][1].streak) == ("healthy", 0)


def test_after_a_success_probes_are_one_interval_after_the_end_of_the_last() -> None:
    seen = play(Check(interval=10), lambda t: True, until=35, takes=1.0)
    assert [time for time, _ in seen] == [1.0, 12.0, 23.0, 34.0]


def test_a_watched_container_is_probed_at_once_by_the_next_supervisor() -> None:
    state = health.resume(Check(interval=30), "healthy", 0, started=0.0, now=100.0)
    assert (state.due, state.status, state.succeeded) == (100.0, "healthy", True)


def test_the_streak_survives_a_change_of_supervisors() -> None:
    check = Check(interval=30, retries=3)
    state = health.resume(check, "healthy", 2, started=0.0, now=100.0)
    state = health.after_probe(state, check, began=100.0, ended=100.0, passed=False)
    assert state.status == "unhealthy"


checks = st.builds(
    Check, interval=st.floats(0.01, 100), retries=st.integers(0, 6),
    start_period=st.one_of(st.just(0.0), st.floats(0, 100)),
    start_interval=st.one_of(st.just(0.0), st.floats(0.5, 20)),
)  # fmt: skip


@settings(deadline=None)  # other work on the machine is no failure
@given(check=checks)
def test_a_container_that_never_passes_is_never_unhealthy_too_early(check: Check) -> None:
    """Not before `retries` intervals (one less where the start period's end counts at once)."""
    retries = max(check.retries, 1)
    bound = check.start_period + (retries - (check.start_period > 0)) * check.interval
    seen = play(check, lambda t: False, until=bound + 3 * check.interval)
    found = first(seen, "unhealthy")
    assert found is not None
    assert bound * 0.999999 <= found <= bound * 1.000001 + 1e-9


@given(check=checks, results=st.lists(st.booleans(), max_size=40))
def test_probes_never_stop_and_never_overlap(check: Check, results: list[bool]) -> None:
    state, now = health.begin(check, now=0.0), 0.0
    for passed in results:
        now = state.due
        state = health.after_probe(state, check, began=now, ended=now, passed=passed)
        assert now < state.due <= now + max(check.interval, check.start_interval) + 1e-9
        assert (state.status == "healthy") == (state.status != "unhealthy" and state.succeeded)
