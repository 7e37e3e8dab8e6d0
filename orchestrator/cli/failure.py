"""Errors as text: message and hint; for mistakes in a file also its line with a caret, or JSON.

Loaded only when something failed.  Reads the source file named in the error and nothing else.
"""

from __future__ import annotations

import json
import re

from orchestrator.cli import terminal
from orchestrator.cli.output import Style
from orchestrator.errors import PcomposeError, SpecError

_PLACE = re.compile(r"(?P<file>.+?):(?P<line>[0-9]+)(?::(?P<column>[0-9]+))?")
_LONGEST = 160


def describe(error: PcomposeError, *, style: Style) -> str:
    """The whole text, ending in a newline."""
    if style.is_json:
        return _as_json(error)
    if isinstance(error, SpecError):
        return "".join(
            _problem(where, message, hint, style=style) for where, message, hint in error.problems
        )
    return _red("error: ", style) + terminal_safe(error.message) + "\n" + _hint(error.hint, style)


def _as_json(error: PcomposeError) -> str:
    data: dict[str, object] = {"error": True, "message": error.message}
    if error.hint:
        data["hint"] = error.hint
    if isinstance(error, SpecError):
        data["problems"] = [
            {**_place(where), "message": message, "hint": hint, "severity": "error"}
            for where, message, hint in error.problems
        ]
    return json.dumps(data, separators=(",", ":")) + "\n"


def _place(where: str) -> dict[str, object]:
    """`file:line:col` as an editor wants it; lines and columns count from 1, null: not known."""
    found = _PLACE.fullmatch(where)
    if found is None:
        return {"file": where or None, "line": None, "column": None}
    column = found["column"]
    return {"file": found["file"], "line": int(found["line"]),
            "column": int(column) if column else None}  # fmt: skip


def _problem(where: str, message: str, hint: str | None, *, style: Style) -> str:
    place = f"{where}: " if where else _red("error: ", style)
    source = _source(where, style) if style.cursor_err else ""
    return f"{place}{terminal_safe(message)}\n{source}{_hint(hint, style)}"


def terminal_safe(text: str) -> str:
    """Several lines may stay several lines; anything else that steers a terminal may not."""
    return "\n".join(terminal.visible(line) for line in text.splitlines())


def _hint(hint: str | None, style: Style) -> str:
    if not hint:
        return ""
    mark = terminal.paint("hint:", terminal.CYAN if style.colour_err else "")
    return f"{mark} {terminal_safe(hint)}\n"


def _red(text: str, style: Style) -> str:
    return terminal.paint(text, terminal.RED if style.colour_err else "")


def _source(where: str, style: Style) -> str:
    """The line that is meant and a caret under the column; nothing where it cannot be read."""
    place = _PLACE.fullmatch(where)
    if place is None:
        return ""
    try:
        with open(place["file"], encoding="utf-8", errors="replace") as file:
            lines = file.read(4 << 20).splitlines()
        line = lines[int(place["line"]) - 1]
    except (OSError, IndexError, ValueError):
        return ""
    column = int(place["column"] or 0)
    text = terminal.visible(line.expandtabs(1))[:_LONGEST]
    gutter = f"{place['line']:>5} | "
    caret = ""
    if 0 < column <= len(text) + 1:
        blanks = " " * (len(gutter) - 2) + "| " + " " * (column - 1)
        caret = blanks + terminal.paint("^", terminal.RED if style.colour_err else "") + "\n"
    return f"{gutter}{text}\n{caret}"
