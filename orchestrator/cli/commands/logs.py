"""`pcompose logs`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from orchestrator.cli import attach, moments
from orchestrator.cli.grammar import Command, number, option, switch
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="logs", usage="logs [OPTIONS] [SERVICE...]", summary="Show the output of containers",
    examples=(
        ("the last lines, and what comes", "logs -f --tail 20 web"),
        ("what was said in the last hour", "logs --since 1h"),
    ),
    flags=(
        switch("follow", "f", "Go on as lines come"),
        number("index", "", "Only this replica of the service"),
        switch("no-color", "", "Monochrome output"),
        switch("no-log-prefix", "", "No prefix before lines"),
        option("since", "", "From a time stamp, or a duration such as 10m"),
        option("tail", "n", "Lines of each container, or all"),
        switch("timestamps", "t", "Time stamps before lines"),
        option("until", "", "Up to a time stamp, or a duration such as 10m"),
    ),
)  # fmt: skip


def run(call: Invocation) -> int:
    """Merged by time, and all of it on stdout: `logs > FILE` loses nothing."""
    args = call.args
    printer = attach.Printer(call.out, colour=not args.has("no-color"),
                             prefix=not args.has("no-log-prefix"),
                             stamps=args.has("timestamps"), merged=True)  # fmt: skip
    now = time.time()
    since = moments.parse(args.text("since"), now=now)
    until = moments.parse(args.text("until"), now=now)
    index, tail = args.number("index") or None, _tail(args.text("tail"))
    for name in call.project.log_names(args.operands, index=index):
        printer.expect(name)
    if args.has("follow"):
        return _follow(call, printer, since=since, until=until, tail=tail, index=index)
    for entry in call.project.logs(args.operands, since=since, until=until, tail=tail,
                                   index=index):  # fmt: skip
        printer.entry(entry)
    return 0


def _follow(call: Invocation, printer: attach.Printer, *, since: float | None,
            until: float | None, tail: int | None, index: int | None) -> int:  # fmt: skip
    from orchestrator.events import StateChanged

    project = call.project
    for event in project.follow(call.args.operands, since=since, tail=tail, index=index):
        if not isinstance(event, StateChanged):
            if until is not None and event.time > until:
                break
            printer.entry(event)
            printer.flush()
        elif event.action == "die" and not event.oneoff:
            printer.ended(event, project=project.name)
            printer.flush()
    return 0


def _tail(text: str | None) -> int | None:
    if text is None or text == "all":
        return None
    if not text.isdecimal():
        raise UsageError(f'invalid --tail "{text}"', hint="a number of lines, or all")
    return int(text)
