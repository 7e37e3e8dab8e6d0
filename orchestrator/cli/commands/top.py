"""`pcompose top`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from orchestrator.cli import table, terminal
from orchestrator.cli.grammar import Command

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation
    from orchestrator.engine.usage import ProcessRow

COMMAND = Command(
    name="top", usage="top [SERVICE...]", summary="Show the processes of running containers",
    examples=(
        ("the processes of a service", "top web"),
    ),
)
HEAD = ("SERVICE", "#", "UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")
_DAY = 86_400


def run(call: Invocation) -> int:
    """Print the table."""
    rows = [cells(row, now=time.time()) for row in call.project.processes(call.args.operands)]
    for line in table.table(HEAD, rows, least=4, gap=2) if rows else ():
        call.out.line(line)
    return 0


def cells(row: ProcessRow, *, now: float) -> tuple[str, ...]:
    """The cells, as ps(1) has them."""
    record = row.container.record
    minutes, seconds = divmod(row.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    form = "%H:%M" if now - row.started < _DAY else "%b%d"
    return (
        record.service, str(record.index), row.uid, str(row.pid), str(row.parent),
        str(row.processor), time.strftime(form, time.localtime(row.started)), row.terminal,
        f"{hours:02}:{minutes:02}:{seconds:02}", terminal.visible(row.command),
    )  # fmt: skip
