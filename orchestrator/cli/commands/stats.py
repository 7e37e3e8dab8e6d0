"""`pcompose stats`."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from orchestrator.cli import formats, table
from orchestrator.cli.grammar import Command, option, switch

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation
    from orchestrator.engine.usage import UsageRow

COMMAND = Command(
    name="stats", usage="stats [OPTIONS] [SERVICE...]",
    summary="Show what containers use, again and again",
    examples=(
        ("once, for a script", "stats --no-stream --format json"),
    ),
    flags=(
        switch("all", "a", "Also stopped containers"),
        option("format", "", "table, json, or a Go template"),
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
        formats.lines(form, [])  # what is wrong with it is said before anybody waits
    watch = call.project.usage(args.operands, all=args.has("all"))
    watch.look()
    clears = form == "table" and not args.has("no-stream") and out.stdout.isatty()
    while True:
        time.sleep(PAUSE)
        found = watch.look()
        lines = shown(found, form, cut=not args.has("no-trunc"))
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


def shown(rows: list[UsageRow], form: str, *, cut: bool) -> list[str]:
    """The table, one JSON object a container, or what a template says."""
    texts = [cells(row, cut=cut) for row in rows]
    if form == "table":
        return table.table(HEAD, texts)
    found = [
        dict(sorted({**dict(zip(KEYS, text, strict=True)), "Container": row.container.record.id,
                     "ID": text[0]}.items()))
        for row, text in zip(rows, texts, strict=True)
    ]  # fmt: skip
    if form == "json":
        return [json.dumps(fields, separators=(",", ":")) for fields in found]
    return formats.lines(form, found)
