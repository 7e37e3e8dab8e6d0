"""Evidence: why somebody waits in vain, in all the words that are known about it.

Pure: statuses, checks and log lines in, text out.  `waits.py` finds that a wait has failed,
`execute.py` gathers what is told here.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from orchestrator.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.runtime.spec import Healthcheck
    from orchestrator.state.records import ContainerStatus

PROBES = 3
LINES = 20
_LONGEST_OUTPUT = 600
_LONGEST_LINE = 400
_SETTINGS = ("interval", "timeout", "retries", "start_period", "start_interval")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A container that is waited for."""

    name: str
    service: str
    status: ContainerStatus
    check: Healthcheck | None
    log_lines: Sequence[str]
    """Its last lines, oldest first."""
    waiters: Sequence[str] = ()
    """Who waits for it, in words of `waiter`."""


def waiter(dependent: str, service: str, condition: str, origin: str) -> str:
    """`web waits for db: service_healthy (compose.yaml:7)`; the user has no name."""
    place = f" ({origin})" if origin else ""
    return f"{dependent or '--wait'} waits for {service}: {condition}{place}"


def of_failure(message: str, case: Case, *, now: float) -> str:
    """The message and, indented below it, all there is to know; `now` in seconds since the epoch.
    """
    parts = [message, *(f"  {words}" for words in case.waiters)]
    parts += [f"  {words}" for words in _end(case.status)]
    if case.check is not None and case.status.probes:
        parts += _probing(case.check, case.status, service=case.service, now=now)
    if case.log_lines:
        parts.append(f"  last log lines of {case.name}:")
        parts += [f"    {line.rstrip()[:_LONGEST_LINE]}" for line in case.log_lines[-LINES:]]
    elif case.status.state != "created":
        parts.append(f"  {case.name} has written nothing to its log")
    return "\n".join(parts)


def of_delay(message: str, cases: Sequence[Case], *, now: float) -> str:
    """The message and each container that was not ready in time, with its state and evidence."""
    parts = [message]
    for case in cases:
        words = f"service {case.service} is not ready: container {case.name} {_state(case)}"
        parts += [f"  {line}" for line in of_failure(words, case, now=now).splitlines()]
    return "\n".join(parts)


def _state(case: Case) -> str:
    status = case.status
    match status.state:
        case "created":
            return "has not been started"
        case "running" if case.check is not None:
            streak = f", {status.failing_streak} failures in a row" if status.failing_streak else ""
            return f"is running, health {status.health or 'unknown'}{streak}"
        case "restarting":
            return f"is restarting after exit code {_code(status)}"
        case _:
            return f"is {status.shown_state}"


def _code(status: ContainerStatus) -> str:
    return "unknown" if status.exit_code is None else str(status.exit_code)


def _end(status: ContainerStatus) -> list[str]:
    """What an exit code alone does not tell."""
    if status.state not in ("exited", "dead", "restarting"):
        return []
    if status.oom_killed:
        return ["it was killed because its memory limit was reached (OOM)"]
    if status.exit_code is not None and status.exit_code > 128:
        try:
            return [f"it was ended by {signal.Signals(status.exit_code - 128).name}"]
        except ValueError:
            return []
    return []


def _probing(
    check: Healthcheck, status: ContainerStatus, *, service: str, now: float
) -> list[str]:  # fmt: skip
    place = f" ({check.origin})" if check.origin else ""
    parts = [f"  healthcheck of {service}{place}: {' '.join(check.test)}"]
    parts.append("    " + ", ".join(_setting(check, name) for name in _SETTINGS))
    probes = status.probes[-PROBES:]
    parts.append("  last probe:" if len(probes) == 1 else f"  last {len(probes)} probes:")
    for probe in probes:
        parts += _probe(probe, now=now)
    return parts


def _setting(check: Healthcheck, name: str) -> str:
    value = getattr(check, name)
    unit = "" if name == "retries" else "s"
    return f"{name} {value:g}{unit} ({check.origins.get(name, 'default')})"


def _probe(probe: dict[str, Any], *, now: float) -> list[str]:
    start, end = float(probe.get("start") or 0), float(probe.get("end") or 0)
    took, ago = max(end - start, 0.0), max(now - end, 0.0)
    head = f"    exit {probe.get('exit_code')} after {took:.3f}s, {ago:.1f}s ago"
    output = str(probe.get("output", "")).strip()[-_LONGEST_OUTPUT:]
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    return [head + (":" if lines else ", no output"), *(f"      {line}" for line in lines)]
