"""What running containers use, and the processes in them: `stats` and `top`.

Reads records, control groups and /proc; needs no supervisor and changes nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.dataclass import dataclass
from orchestrator.engine.lookup import containers
from orchestrator.errors import PcomposeError
from orchestrator.linux import cgroupfs, procfs
from orchestrator.linux.cgroupfs import Hierarchy
from orchestrator.runtime import stats
from orchestrator.runtime.isolation import is_own
from orchestrator.runtime.launch import placement_of
from orchestrator.runtime.spec import ContainerSpec

if TYPE_CHECKING:
    from orchestrator.engine.workspace import Workspace
    from orchestrator.state.observed import ObservedContainer

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """One container at one moment; bytes."""

    container: ObservedContainer
    cpu_percent: float = 0.0
    memory: int = 0
    memory_limit: int = 0
    received: int = 0
    sent: int = 0
    read: int = 0
    written: int = 0
    pids: int = 0


class Watch:
    """Looks at the containers again and again: percentages are those since the last look."""

    def __init__(self, workspace: Workspace, services: Sequence[str], *, everything: bool) -> None:
        self._workspace, self._services, self._everything = workspace, services, everything
        self._hierarchy = Hierarchy.detect()
        self._last: dict[str, stats.Sample] = {}

    def look(self) -> list[UsageRow]:
        """By name; those that do not run are all zeros, and there only with `everything`."""
        found = containers(self._workspace, self._services, everything=self._everything)
        rows = []
        for container in found:
            if container.is_running:
                rows.append(self._row(container))
            elif self._everything:
                rows.append(UsageRow(container=container))
        return rows

    def _row(self, container: ObservedContainer) -> UsageRow:
        spec = ContainerSpec.from_json(container.record.spec)
        own = is_own(spec.namespaces.network)
        now = stats.sample(_group(spec, self._hierarchy), container.status.pid, own_network=own)
        before = self._last.get(container.record.id, now)
        self._last[container.record.id] = now
        return UsageRow(
            container=container, cpu_percent=stats.cpu_percent(before, now), memory=now.memory,
            memory_limit=now.memory_limit, received=now.received, sent=now.sent, read=now.read,
            written=now.written, pids=now.pids,
        )  # fmt: skip


def _group(spec: ContainerSpec, hierarchy: Hierarchy) -> dict[str, str]:
    try:
        return placement_of(spec, hierarchy).group
    except PcomposeError:  # we are not who started it
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRow:
    """One process, in the words of ps(1)."""

    container: ObservedContainer
    uid: str
    pid: int
    """In our pid namespace, as the next."""
    parent: int
    processor: int
    """Percent of its life."""
    started: float
    """Seconds since the epoch."""
    terminal: str
    seconds: int
    """Processor time."""
    command: str


def processes(workspace: Workspace, services: Sequence[str]) -> list[ProcessRow]:
    """Those of all running containers, by container and pid."""
    hierarchy, rows = Hierarchy.detect(), []
    boot = time.time() - float((procfs.read_text("/proc/uptime") or "0").split()[0])
    for container in containers(workspace, services, everything=False):
        if not container.is_running:
            continue
        spec = ContainerSpec.from_json(container.record.spec)
        group = _group(spec, hierarchy)
        for pid in cgroupfs.processes(group) if group else [container.status.pid]:
            row = _process(container, pid, boot)
            if row is not None:
                rows.append(row)
    return rows


def _process(container: ObservedContainer, pid: int, boot: float) -> ProcessRow | None:
    used = procfs.usage(pid)
    if used is None:
        return None
    try:
        owner = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None
    started = boot + used.start_time / _TICKS
    seconds = used.ticks / _TICKS
    life = max(time.time() - started, 0.01)
    name = (procfs.read_text(f"/proc/{pid}/comm") or "?").strip()
    return ProcessRow(
        container=container, uid=_user(owner), pid=pid, parent=used.parent,
        processor=min(99, int(seconds / life * 100)), started=started,
        terminal=_terminal(used.terminal), seconds=int(seconds),
        command=procfs.command_line(pid) or f"[{name}]",
    )  # fmt: skip


def _user(uid: int) -> str:
    """By the machine's own names, as `ps` there says."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _terminal(number: int) -> str:
    if not number:
        return "?"
    major, minor = os.major(number), os.minor(number)
    return f"pts/{minor}" if 136 <= major <= 143 else f"tty{minor}" if major == 4 else "?"
