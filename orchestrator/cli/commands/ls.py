"""`pcompose ls`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from orchestrator.cli import formats, table
from orchestrator.cli.grammar import Command, many, option, switch
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation
    from orchestrator.engine.listing import ProjectRow


COMMAND = Command(
    name="ls", usage="ls [OPTIONS]", summary="List projects", most=0,
    examples=(
        ("stopped ones too", "ls -a"),
    ),
    flags=(
        switch("all", "a", "Also projects without running containers"),
        many("filter", "", "name=REGEX", metavar="filter"),
        option("format", "", "table, json, or a Go template"),
        switch("quiet", "q", "Names only"),
    ),
)


def run(call: Invocation) -> int:
    """Print the list."""
    from orchestrator import api

    form = call.args.text("format") or "table"
    patterns = [_pattern(text) for text in call.args.all("filter")]
    found = [
        row for row in api.projects()
        if (call.args.has("all") or row.is_running) and all(p.search(row.name) for p in patterns)
    ]  # fmt: skip
    if call.args.has("quiet"):
        lines = [row.name for row in found]
    elif form == "json":
        lines = [json.dumps([_fields(row) for row in found], separators=(",", ":"))]
    elif form != "table":
        lines = formats.lines(form, [_fields(row) for row in found], least=20)
    else:
        rows = [(row.name, _status(row), ",".join(row.config_files)) for row in found]
        lines = table.table(("NAME", "STATUS", "CONFIG FILES"), rows, least=20)
    for line in lines:
        call.out.line(line)
    return 0


def _pattern(text: str) -> re.Pattern[str]:
    key, equals, value = text.partition("=")
    if key != "name" or not equals:
        raise UsageError(f"invalid filter '{key}'")
    try:
        return re.compile(value)
    except re.error as exc:
        raise UsageError(f"invalid filter '{text}': {exc}") from exc


def _status(row: ProjectRow) -> str:
    return ", ".join(f"{state}({count})" for state, count in row.states)


def _fields(row: ProjectRow) -> dict[str, object]:
    return {"Name": row.name, "Status": _status(row), "ConfigFiles": ",".join(row.config_files),
            "supervisor_pid": row.supervisor_pid, "keeper_pid": row.keeper_pid}  # fmt: skip
