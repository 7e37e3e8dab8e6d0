"""`pcompose volumes`: those of the project."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from orchestrator.cli import formats, table
from orchestrator.cli.grammar import Command, option, switch
from orchestrator.cli.volumes import fields

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="volumes", usage="volumes [OPTIONS] [SERVICE...]",
    summary="List the project's volumes, or those of services",
    examples=(
        ("names only", "volumes -q"),
    ),
    flags=(
        option("format", "", "table, json, or a Go template"),
        switch("quiet", "q", "Names only"),
    ),
)  # fmt: skip


def run(call: Invocation) -> int:
    """Print the list."""
    form = call.args.text("format") or "table"
    found = call.project.volumes(call.args.operands)
    if call.args.has("quiet"):
        lines = [row.name for row in found]
    elif form == "json":
        lines = [json.dumps(fields(row), separators=(",", ":")) for row in found]
    elif form != "table":
        lines = formats.lines(form, [fields(row) for row in found])
    else:
        lines = table.table(("DRIVER", "VOLUME NAME"), [("local", row.name) for row in found])
    for line in lines:
        call.out.line(line)
    return 0
