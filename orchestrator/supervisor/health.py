"""Health: when the next probe is due and what its result means.

Pure: states and times in, states out; the probes themselves are run by `probes.py`.  Meanings as in
the Compose specification (`healthcheck`) with two deliberate differences that make a stack come up
sooner and change no verdict:

* The first probe runs at once, and until the first success probes follow each other quickly: after
  50 ms, then half as long again each time, never slower than `interval` (inside `start_period`:
  `start_interval`).
* So that `retries` keeps its meaning, a failure before the first success counts only where a
  probe would have been due by `interval` alone: the first count is one interval after the start (or
  at the end of the start period, where there is one), then one per interval.  Probes are moved so
  that they hit those moments.  An unhealthy container becomes unhealthy when it would have, a
  healthy one earlier.

After the first success every probe counts, one interval after the end of the one before.
"""

from __future__ import annotations

from typing import Literal

from orchestrator.dataclass import dataclass, replace

QUICK_DELAY = 0.05
GROWTH = 1.5
SHORTEST_DELAY = 0.01
"""Nobody wants a machine that does nothing but probe, whatever `start_interval` says."""

Status = Literal["starting", "healthy", "unhealthy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The numbers of a healthcheck; seconds."""

    interval: float = 30.0
    retries: int = 3
    start_period: float = 0.0
    start_interval: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What is known so far; all times on the one clock the caller uses."""

    status: Status = "starting"
    streak: int = 0
    """Counted failures in a row."""
    started: float
    due: float
    """When the next probe shall run."""
    counts_from: float
    """Before the first success: a failing probe that began at or after this counts."""
    delay: float = QUICK_DELAY
    succeeded: bool = False


def begin(check: Check, *, now: float) -> Health:
    """The health of a container that started at `now`; the first probe is due at once."""
    counts_from = now + check.start_period + check.interval
    if check.start_period > 0:
        counts_from = now + check.start_period
    return Health(started=now, due=now, counts_from=counts_from)


def resume(check: Check, status: str, streak: int, *, started: float, now: float) -> Health:
    """The health of a container that another supervisor watched; `started` may lie in the past.
    A probe is due at once: its result says more than the one that was written down."""
    fresh = begin(check, now=started)
    if status not in ("healthy", "unhealthy"):
        return replace(fresh, due=now, streak=streak)
    known: Status = "healthy" if status == "healthy" else "unhealthy"
    return replace(fresh, due=now, streak=streak, status=known, succeeded=status == "healthy")


def after_probe(
    health: Health, check: Check, *, began: float, ended: float, passed: bool
) -> Health:
    """The next state.  A probe that could not be run or took too long has not passed."""
    if passed:
        due = ended + check.interval
        return replace(health, status="healthy", streak=0, succeeded=True, due=due)
    if health.succeeded or health.status == "unhealthy":
        return _counted(replace(health, due=ended + check.interval), check)
    return _failed_early(health, check, began=began, ended=ended)


def postponed(health: Health, *, now: float) -> Health:
    """A probe could not be tried, for reasons that are not the container's: soon again."""
    return replace(health, due=now + QUICK_DELAY)


def _counted(health: Health, check: Check) -> Health:
    streak = health.streak + 1
    if streak >= max(check.retries, 1):
        return replace(health, streak=streak, status="unhealthy")
    return replace(health, streak=streak)


def _failed_early(health: Health, check: Check, *, began: float, ended: float) -> Health:
    """Nothing has succeeded yet: count at most once per interval, come back soon."""
    slowest = check.interval
    if check.start_interval > 0 and ended < health.started + check.start_period:
        slowest = max(check.start_interval, SHORTEST_DELAY)
    if began >= health.counts_from:
        health = _counted(replace(health, counts_from=began + check.interval), check)
    if health.status == "unhealthy":
        return replace(health, due=ended + check.interval)
    delay = min(health.delay, slowest)
    due = ended + delay
    if ended < health.counts_from:
        due = min(due, health.counts_from)
    return replace(health, due=due, delay=min(health.delay * GROWTH, slowest))
