"""What the terminal can do: widths, escape sequences, colours.

Pure but for asking the terminal.  Knows nothing of containers.
"""

from __future__ import annotations

import os

RESET = "\x1b[0m"
CLEAR_LINE = "\x1b[2K\r"
GREEN, YELLOW, RED, CYAN, BLUE, BOLD = "32", "33", "31", "36", "34", "1"
PREFIX_COLOURS = ("36", "33", "32", "35", "34", "36;1", "33;1", "32;1", "35;1", "34;1")
"""cyan, yellow, green, magenta, blue, then their bright versions: docker compose's order."""


def is_terminal(fd: int) -> bool:
    """Whether `fd` is a terminal; a closed descriptor is none."""
    try:
        return os.isatty(fd)
    except OSError:
        return False


def size(fd: int) -> tuple[int, int]:
    """(columns, rows) of the terminal at `fd`; 80 by 24 where it does not say."""
    try:
        found = os.get_terminal_size(fd)
    except OSError:
        return 80, 24
    return found.columns or 80, found.lines or 24


def paint(text: str, colour: str) -> str:
    """`text` in `colour`; an empty colour leaves it alone."""
    return f"\x1b[{colour}m{text}{RESET}" if colour else text


def visible(text: str) -> str:
    """`text` with control characters made visible, so that a name cannot move the cursor."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else repr(c)[1:-1] for c in text)


def cut(text: str, width: int) -> str:
    """At most `width` characters; the last one says that something is missing."""
    if len(text) <= width:
        return text
    return text[: width - 1] + "…" if width > 0 else ""
