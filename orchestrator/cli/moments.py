"""Times on the command line: RFC 3339, seconds since the epoch, or a duration that lies back."""

from __future__ import annotations

import re

from orchestrator.errors import UsageError

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")


def parse(text: str | None, *, now: float) -> float | None:
    """Seconds since the epoch; None where nothing was said; UsageError where it is no time."""
    if text is None:
        return None
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", text):
        return float(text)
    back = _duration(text)
    if back is not None:
        return now - back
    from datetime import datetime

    head, dot, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    try:  # fromisoformat takes six digits of fraction at most; Go writes nine
        moment = datetime.fromisoformat(f"{head}{dot}{digits[:6]}{rest[len(digits):]}")
    except ValueError as exc:
        raise UsageError(f'invalid time "{text}"',
                         hint="a duration such as 10m, 2024-05-06T07:08:09Z, or seconds since 1970"
                         ) from exc  # fmt: skip
    return moment.timestamp()


def duration(text: str | None, *, flag: str) -> float | None:
    """Seconds of `1h30m`; None where nothing was said; UsageError where it is none."""
    if text is None:
        return None
    found = 0.0 if text == "0" else _duration(text)
    if found is None:
        raise UsageError(f'invalid duration "{text}" for --{flag}',
                         hint="such as 90s, 30m or 1h30m")  # fmt: skip
    return found


def _duration(text: str) -> float | None:
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return float(sum(float(number) * _UNITS[unit] for number, unit in parts))


def format_rfc3339(seconds: float | None) -> str | None:
    """UTC to the second."""
    if seconds is None:
        return None
    import time

    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
