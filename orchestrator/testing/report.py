"""What a failed test's report says about its stacks, and what is kept of them in files.

Reads only; a fault here must not hide the test's own.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.testing.stack import ServiceState, Stack

LINES = 200
"""Most lines of output in a report; the files have all."""
PROBES = 3
"""Results of a health check in a report, the last ones."""


def section(stack: Stack, *, since: float) -> str:
    """Each container's state, its last probes, and what was written since `since` (seconds since
    the epoch)."""
    parts = [line for state in stack.states() for line in _state(state)]
    parts += [f"warning: {message}" for message in stack.warnings]
    lines = list(_output(stack, since=since))
    parts.append("-- output during this test --" if lines else "-- no output during this test --")
    if len(lines) > LINES:
        parts.append(f"… {len(lines) - LINES} lines before these")
    return "\n".join([*parts, *lines[-LINES:]])


def _state(state: ServiceState) -> Iterator[str]:
    words = [state.state]
    if state.state in ("exited", "dead", "restarting"):
        code = "unknown" if state.exit_code is None else state.exit_code
        words[0] += f" ({code})"
    if state.oom_killed:
        words.append("killed for want of memory")
    if state.health:
        words.append(state.health)
    if state.error:
        words.append(state.error)
    yield f"{state.name}: {', '.join(words)}"
    for probe in state.probes[-PROBES:]:
        output = str(probe.get("output", "")).strip()
        yield f"  probe (exit {probe.get('exit_code')}): {output}".rstrip(": ")


def _output(stack: Stack, *, since: float) -> Iterator[str]:
    entries = list(stack.project.logs(since=since))
    width = max((len(entry.name) for entry in entries), default=0)
    for entry in entries:
        yield f"{entry.name:{width}} | {entry.text}"


def keep(stack: Stack, directory: Path, *, since: float, nodeid: str) -> Path:
    """Write report.txt, the whole log of each container, ps.json and events.jsonl into a directory
    of the test's own below `directory`; that directory."""
    from orchestrator import events

    place = directory / re.sub(r"[^A-Za-z0-9_.\[\]-]+", "_", nodeid)[-150:] / stack.name
    (place / "logs").mkdir(parents=True, exist_ok=True)
    (place / "report.txt").write_text(section(stack, since=since) + "\n")
    logs: dict[str, list[str]] = {}
    for entry in stack.project.logs():
        logs.setdefault(entry.name, []).append(f"{entry.time:.6f} {entry.stream} {entry.text}\n")
    for name, lines in logs.items():
        (place / "logs" / f"{name}.log").write_text("".join(lines))
    states = [{name: getattr(s, name) for name in s.__slots__} for s in stack.states()]
    (place / "ps.json").write_text(json.dumps(states, indent=2) + "\n")
    happened = stack.project.events(since=0.0, until=time.time())
    (place / "events.jsonl").write_text(
        "".join(json.dumps(events.to_json(event)) + "\n" for event in happened)
    )
    return place
