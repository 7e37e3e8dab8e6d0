"""Tables as docker compose prints them, and the words of times, sizes and states.  Pure."""

from __future__ import annotations

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, least: int = 10,
          gap: int = 3) -> list[str]:  # fmt: skip
    """Columns at least `least` wide with `gap` blanks after the text; the last one is ragged."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(max(len(line[i]) + gap for line in lines), least) for i in range(len(head))]
    return [
        "".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def ago(seconds: float) -> str:
    """`2 minutes`, as the Docker world rounds."""
    whole = int(max(seconds, 0))
    if whole < 1:
        return "Less than a second"
    if whole < 60:
        return "1 second" if whole == 1 else f"{whole} seconds"
    minutes = whole // 60
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = round(seconds / 3600)
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    days = hours // 24
    if days < 14:
        return f"{days} days"
    if days < 61:
        return f"{days // 7} weeks"
    if days < 730:
        return f"{days // 30} months"
    return f"{days // 365} years"


def size(count: int) -> str:
    """Decimal units, three significant digits: `7.8MB`."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.3g}{units[0]}" if value < 999.5 else f"{value:.0f}{units[0]}"


def binary(count: int) -> str:
    """Binary units, four significant digits: `1.543MiB`."""
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.4g}{units[0]}"
