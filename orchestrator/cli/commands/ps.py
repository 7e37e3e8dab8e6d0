"""`pcompose ps`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from orchestrator.cli import containers, formats, table
from orchestrator.cli.grammar import Command, many, option, switch
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation
    from orchestrator.state.observed import ObservedContainer


STATES = ("paused", "restarting", "removing", "running", "dead", "created", "exited")
COMMAND = Command(
    name="ps", usage="ps [OPTIONS] [SERVICE...]", summary="List containers",
    examples=(
        ("one line of your own each", "ps --format '{{.Name}} {{.State}}'"),
        ("failed ones", "ps -a --filter status=exited"),
    ),
    flags=(
        switch("all", "a", "Also stopped containers and those of run"),
        option("filter", "", "status=STATE"),
        option("format", "", "table, json, raw, or a Go template; `table TEMPLATE`"),
        switch("no-trunc", "", "Show commands, ids and mounts whole"),
        switch("orphans", "", "=false hides services that are not in the files"),
        switch("quiet", "q", "Ids only"),
        switch("services", "", "Names of services only"),
        many("status", "", "Only containers in this state", metavar="state"),
        switch("verbose", "", "Also names that containers asked for in vain, and faults"),
    ),
)  # fmt: skip


def run(call: Invocation) -> int:
    """Print the list."""
    found = _chosen(call)
    if call.args.has("quiet"):
        lines = [c.record.id for c in found]
    elif call.args.has("services"):
        lines = list(dict.fromkeys(c.record.service for c in found))
    else:
        lines = _shown(call, found)
    if call.args.has("verbose"):
        faults = [f"fault {fault.id}: {fault}" for fault in call.project.faults.active()]
        lines = [*lines, *_missed(call, found), *faults]
    for line in lines:
        call.out.line(line)
    return 0


def _missed(call: Invocation, found: list[ObservedContainer]) -> list[str]:
    """`p-web-1 asked for "postgress" 14 times: nobody has that name (did you mean postgres?)`."""
    names = {c.record.id: c.record.name for c in found}
    return [
        f'{names[miss.container]} asked for "{miss.name}" '
        f"{'once' if miss.times == 1 else f'{miss.times} times'}: nobody has that name"
        + (f" (did you mean {miss.near}?)" if miss.near else "")
        for miss in call.project.misses() if miss.container in names
    ]


def _chosen(call: Invocation) -> list[ObservedContainer]:
    args = call.args
    states = _states(args.all("status"), args.text("filter"))
    found = call.project.ps(args.operands, all=args.has("all") or bool(states))
    if args.said("orphans") and not args.has("orphans"):
        known = {*call.project.model.services, *call.project.model.disabled}
        found = [c for c in found if c.record.service in known]
    return [c for c in found if not states or c.status.shown_state in states]


def _states(states: list[str], filter_: str | None) -> list[str]:
    if filter_ is not None:
        key, equals, value = filter_.partition("=")
        if not equals:
            raise UsageError("arguments to --filter should be in form KEY=VAL")
        if key != "status":
            raise UsageError(f"unknown filter {key}")
        states = [*states, value]
    for state in states:
        if state not in STATES:
            raise UsageError(f'unknown status "{state}"', hint="one of " + ", ".join(STATES))
    return states


def _shown(call: Invocation, found: list[ObservedContainer]) -> list[str]:
    form, now = call.args.text("format") or "table", time.time()
    cut = not call.args.has("no-trunc")
    if form == "json":
        return [containers.json_line(c, now=now, cut=cut) for c in found]
    if form == "raw":
        return [line for c in found for line in containers.raw_lines(c, now=now, cut=cut)]
    if form != "table":
        return formats.lines(form, [containers.template_row(c, now=now, cut=cut) for c in found])
    return table.table(containers.HEAD, [containers.row(c, now=now, cut=cut) for c in found])
