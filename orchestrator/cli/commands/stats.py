"""`pcompose stats`."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from orchestrator.cli import table
from orchestrator.cli.grammar import Command, option, switch
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation
    from orchestrator.engine.usage import UsageRow

COMMAND = Command(
    name="stats", usage="stats [OPTIONS] [SERVICE...]",
    summary="Show what containers use, again and again",
    flags=(
        switch("all", "a", "Also stopped containers"),
        option("format", "", "table or json"),
        switch("no-stream", "", "Show it once"),
        switch("no-trunc", "", "Show ids whole"),
    ),
)  # fmt: skip
HEAD = ("CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O",
        "PIDS")  # fmt: skip
KEYS = ("Container", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
PAUSE = 1.0
"""Seconds between two looks."""
_CLEAR = "\x1b[H\x1b[J"


def run(call: Invocation) -> int:
    """Look twice for the first percentages, then once a second."""
    args, out = call.args, call.out
    form = args.text("format") or "table"
    if form not in ("table", "json"):
        raise UsageError(f'format "{form}" is not available yet', hint="table or json")
    watch = call.project.usage(args.operands, all=args.has("all"))
    watch.look()
    clears = form == "table" and not args.has("no-stream") and out.stdout.isatty()
    while True:
        time.sleep(PAUSE)
        found = [cells(row, cut=not args.has("no-trunc")) for row in watch.look()]
        lines = json_lines(found) if form == "json" else table.table(HEAD, found)
        out.stdout.write((_CLEAR if clears else "") + "".join(f"{line}\n" for line in lines))
        out.stdout.flush()
        if args.has("no-stream"):
            return 0


def cells(row: UsageRow, *, cut: bool) -> tuple[str, ...]:
    """The cells of the table, in the words of docker stats."""
    record = row.container.record
    share = row.memory / row.memory_limit * 100 if row.memory_limit else 0.0
    return (
        record.id[:12] if cut else record.id, record.name, f"{row.cpu_percent:.2f}%",
        f"{table.binary(row.memory)} / {table.binary(row.memory_limit)}", f"{share:.2f}%",
        f"{table.size(row.received)} / {table.size(row.sent)}",
        f"{table.size(row.read)} / {table.size(row.written)}", str(row.pids),
    )  # fmt: skip


def json_lines(rows: list[tuple[str, ...]]) -> list[str]:
    """One object a container, with the keys of docker stats, alphabetical."""
    found = []
    for row in rows:
        fields = {**dict(zip(KEYS, row, strict=True)), "ID": row[0]}
        found.append(json.dumps(dict(sorted(fields.items())), separators=(",", ":")))
    return found
