"""Restart policies by tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.supervisor import restart
from orchestrator.supervisor.restart import Exit


@pytest.mark.parametrize(
    ("policy", "code", "restarts", "retries", "expected"),
    [
        ("no", 1, 0, 0, False),
        ("no", 0, 0, 0, False),
        ("always", 0, 50, 0, True),
        ("always", None, 0, 0, True),
        ("unless-stopped", 3, 0, 0, True),
        ("on-failure", 0, 0, 0, False),
        ("on-failure", 1, 99, 0, True),
        ("on-failure", 1, 2, 3, True),
        ("on-failure", 1, 3, 3, False),
        ("on-failure", None, 0, 1, True),
    ],
)
def test_a_policy_decides_by_code_and_count(
    policy: str, code: int | None, restarts: int, retries: int, expected: bool
) -> None:
    end = Exit(exit_code=code, ran_for=1.0, restarts=restarts)
    assert restart.is_restarted(policy, end, retries=retries) is expected


@pytest.mark.parametrize("policy", ["no", "always", "on-failure", "unless-stopped"])
def test_a_stop_by_the_user_silences_every_policy(policy: str) -> None:
    end = Exit(exit_code=1, ran_for=1.0, restarts=0, stopped_by_user=True)
    assert not restart.is_restarted(policy, end, retries=0)


def test_delays_double_up_to_a_minute() -> None:
    delay: float | None = None
    seen = []
    for _ in range(12):
        delay = restart.next_delay(delay, ran_for=0.0)
        seen.append(round(delay, 3))
    assert seen == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60.0, 60.0]


def test_a_long_run_begins_the_delays_anew() -> None:
    assert restart.next_delay(25.6, ran_for=9.9) == 51.2
    assert restart.next_delay(25.6, ran_for=10.0) == restart.FIRST_DELAY


@given(restarts=st.integers(0, 10_000), since=st.floats(0, 1e6), ran=st.floats(0, 1e6))
def test_a_resumed_delay_is_never_longer_than_the_longest(
    restarts: int, since: float, ran: float
) -> None:
    left = restart.resumed_delay(restarts=restarts, ran_for=ran, since_exit=since)
    assert 0 <= left <= restart.LONGEST_DELAY


def test_a_resumed_delay_is_what_is_left_of_it() -> None:
    left = restart.resumed_delay(restarts=3, ran_for=0.5, since_exit=0.3)
    assert left == pytest.approx(0.5)


def test_a_clock_that_went_back_makes_no_delay_longer() -> None:
    assert restart.resumed_delay(restarts=0, ran_for=0.0, since_exit=-1e9) == restart.FIRST_DELAY
