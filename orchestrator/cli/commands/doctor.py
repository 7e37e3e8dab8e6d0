"""`pcompose doctor`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command, option
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation

COMMAND = Command(
    name="doctor", usage="doctor [OPTIONS]", most=0,
    summary="Say what this machine can and cannot do, and what to install",
    flags=(option("format", "", "table or json"),),
)  # fmt: skip


def run(call: Invocation) -> int:
    """One line for each finding; 1 where something is missing without which nothing works."""
    from orchestrator import api

    form = call.args.text("format") or "table"
    if form not in ("table", "json"):
        raise UsageError(f'format value "{form}" could not be parsed', hint="table or json")
    findings = api.doctor()
    for finding in findings:
        if form == "json":
            call.out.line(json.dumps({"Name": finding.name, "State": finding.state,
                                      "Text": finding.text, "Hint": finding.hint}))  # fmt: skip
            continue
        call.out.line(f"{finding.state:8} {finding.name}: {finding.text}")
        if finding.hint:
            call.out.line(f"{'':8}   -> {finding.hint}")
    return int(any(finding.state == "missing" for finding in findings))
