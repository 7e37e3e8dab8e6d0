"""`pcompose events`."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from orchestrator.cli import moments, terminal
from orchestrator.cli.attach import stamp
from orchestrator.cli.grammar import Command, option, switch

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation
    from orchestrator.events import StateChanged


COMMAND = Command(
    name="events", usage="events [OPTIONS] [SERVICE...]",
    summary="Show what happens to containers, as it happens",
    flags=(
        switch("json", "", "One JSON object per line"),
        option("since", "", "From a time stamp, or a duration such as 10m, on"),
        option("until", "", "Up to a time stamp, or a duration such as 10m"),
    ),
    examples=(
        ("Everything that happened in the last hour, and then what comes", "events --since 1h"),
        ("The ends of containers, for a script",
         "events --json | jq -r 'select(.action == \"die\") | .service'"),
    ),
)  # fmt: skip


def run(call: Invocation) -> int:
    """Until interrupted, or until --until."""
    args, now = call.args, time.time()
    since = moments.parse(args.text("since"), now=now)
    until = moments.parse(args.text("until"), now=now)
    shown = as_json if args.has("json") else as_text
    for event in call.project.events(args.operands, since=since, until=until):
        call.out.line(shown(event))
        call.out.flush()
    return 0


def action(event: StateChanged) -> str:
    """The action in Docker's words: `health_status: healthy`."""
    return f"{event.action}: {event.health}" if event.action == "health_status" else event.action


def as_text(event: StateChanged) -> str:
    """A line and an empty one after it, as docker compose."""
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
    said = ", ".join(f"{key}={value}" for key, value in sorted(event.attributes.items()))
    return terminal.visible(
        f"{moment}.{int(event.time % 1 * 1e6):06d} container {action(event)} {event.container} "
        f"({said})"
    ) + "\n"  # fmt: skip


def as_json(event: StateChanged) -> str:
    """docker compose's fields, and the time besides."""
    data = {
        "action": action(event), "attributes": event.attributes, "id": event.container,
        "service": event.service, "time": stamp(event.time), "type": "container",
    }  # fmt: skip
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
