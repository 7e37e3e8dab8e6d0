"""What the page shows, as data: states, health, use, logs and the plan of one project."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from orchestrator.cli import containers, drawing, table
from orchestrator.errors import PcomposeError
from orchestrator.plan.policy import UpPolicy

if TYPE_CHECKING:
    from orchestrator.engine.picturing import Box
    from orchestrator.engine.usage import UsageRow
    from orchestrator.live import LiveProject
    from orchestrator.state.observed import ObservedContainer

TAIL = 300
"""Lines of each container's log."""
Data = dict[str, Any]  # JSON has no narrower type


class View:
    """One project; `make` gives it anew, so that changed files are seen.  For any thread."""

    def __init__(self, make: Callable[[], LiveProject]) -> None:
        self._make = make
        self._usage = make().usage()
        self._turn = threading.Lock()

    def state(self) -> Data:
        """The graph as SVG, and a row for each service."""
        project = self._make()
        picture = project.picture()
        with self._turn:
            used = {row.container.record.id: row for row in self._usage.look()}
        found: dict[str, list[ObservedContainer]] = {}
        for container in project.ps(all=True):
            if not container.record.oneoff:
                found.setdefault(container.record.service, []).append(container)
        rows = [_row(box, found.get(box.name, []), used) for box in picture.of("service")]
        running = sum(c.is_running for mine in found.values() for c in mine)
        return {
            "project": picture.project, "graph": drawing.as_svg(picture),
            "services": rows, "summary": f"{len(rows)} services, {running} containers",
        }  # fmt: skip

    def logs(self, service: str) -> Data:
        """The last lines of a service."""
        entries = self._make().logs([service], tail=TAIL)
        return {"lines": [f"{entry.name}  {entry.text}" for entry in entries][-TAIL:]}

    def plan(self) -> Data:
        """What `up` would do; what is wrong with the files where they are."""
        try:
            return {"text": str(self._make().plan()) or "nothing: all is as the files say"}
        except PcomposeError as error:
            return {"text": str(error)}

    def act(self, verb: str, service: str) -> Data:
        """start, stop or restart a service; what is missing is made."""
        project = self._make()
        if verb == "start" and not any(c.record.service == service for c in project.ps(all=True)):
            project.up(UpPolicy(services=(service,)))
        elif verb == "start":
            project.start([service])
        elif verb == "stop":
            project.stop([service])
        else:
            project.restart([service])
        return {}


def _row(box: Box, mine: list[ObservedContainer], used: dict[str, UsageRow]) -> Data:
    seen = [used[c.record.id] for c in mine if c.record.id in used]
    running = sum(c.is_running for c in mine)
    return {
        "name": box.name, "state": box.state, "mood": drawing.shade(box.state),
        "replicas": f"{running}/{len(mine)}",
        "verbs": verbs(sum(c.status.state in ("running", "restarting") for c in mine), len(mine)),
        "cpu": f"{sum(row.cpu_percent for row in seen):.1f}%" if seen else "",
        "memory": table.binary(sum(row.memory for row in seen)) if seen else "",
        "ports": ", ".join(box.ports),
        "health": "\n".join(line for c in mine for line in _health(c)),
    }  # fmt: skip


def verbs(alive: int, there: int) -> list[str]:
    """What can be done to a service of so many containers."""
    if not alive:
        return ["start"]
    return ["stop", "restart"] if alive == there else ["start", "stop", "restart"]


def _health(container: ObservedContainer) -> list[str]:
    status = container.status
    lines = [f"{container.record.name}: {containers.status_text(status, now=time.time())}"]
    if status.error:
        lines.append(f"  {status.error}")
    for probe in status.probes[-3:]:
        took = float(probe["end"]) - float(probe["start"])
        lines.append(f"  probe: exit {probe['exit_code']} after {took:.2f}s")
        lines += [f"    {line}" for line in str(probe.get("output", "")).splitlines()[:5]]
    return lines
