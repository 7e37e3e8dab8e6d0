"""`pcompose report`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command, option
from orchestrator.cli.policies import told

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="report", usage="report [OPTIONS]", most=0,
    summary="Bundle state, events, logs and kernel facts of a stack for a bug report",
    notes="Secrets, configs and values of environments are masked; have a look before you send it.",
    flags=(option("output", "o", "File to write (default pcompose-report-NAME-TIME.tar.gz)"),),
    examples=(("what is in it", "report -o r.tar.gz && tar -tzf r.tar.gz"),),
)  # fmt: skip


def run(call: Invocation) -> int:
    """Write it and print its name."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path = call.args.text("output") or f"pcompose-report-{call.project.name}-{stamp}.tar.gz"
    if told(call, f"write {path}"):
        return 0
    renderer = call.out.line_renderer()
    call.live.report(path, sink=renderer)
    call.out.line(path)
    return 0
