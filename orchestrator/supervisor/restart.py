"""Restart policies: whether a container that ended runs again, and after how long.

Pure: numbers in, a delay or None out.  Knows neither clocks nor containers.  The rules are those
of the Docker engine (its documentation, "Start containers automatically"), the delays too: 100 ms,
doubled at each restart up to a minute, from the beginning once a run lasted ten seconds.
"""

from __future__ import annotations

from orchestrator.dataclass import dataclass

FIRST_DELAY = 0.1
LONGEST_DELAY = 60.0
LONG_RUN = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a run ended; times in seconds."""

    exit_code: int | None
    """None where it could not be known: counted as a failure."""
    ran_for: float
    restarts: int
    """Automatic restarts since the container was last started by somebody."""
    stopped_by_user: bool = False


def is_restarted(policy: str, end: Exit, *, retries: int) -> bool:
    """Whether `policy` (no, always, on-failure, unless-stopped) starts it again; `retries` is the N
    of on-failure:N, 0 without end.  `stop` and `kill` by a user silence every policy."""
    if end.stopped_by_user:
        return False
    if policy == "on-failure":
        return end.exit_code != 0 and (retries <= 0 or end.restarts < retries)
    return policy in ("always", "unless-stopped")


def next_delay(previous: float | None, *, ran_for: float) -> float:
    """Seconds to wait before the next start, from the delay before the run that just ended."""
    if previous is None or ran_for >= LONG_RUN:
        return FIRST_DELAY
    return min(max(previous, FIRST_DELAY) * 2, LONGEST_DELAY)


def resumed_delay(*, restarts: int, ran_for: float, since_exit: float) -> float:
    """What is left of a back-off that another supervisor began; its delay is not written down but
    follows from the number of restarts (never less than it was)."""
    if ran_for >= LONG_RUN:
        whole = FIRST_DELAY
    else:
        whole = min(FIRST_DELAY * 2 ** min(restarts, 10), LONGEST_DELAY)
    return min(max(whole - since_exit, 0.0), whole)
