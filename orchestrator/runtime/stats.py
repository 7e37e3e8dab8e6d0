"""What a container uses: processors, memory, processes, block devices, network.

From the files of its control groups, of either version; where a container is in no group with the
controller (nobody limits it), from its processes one by one: then what processes did that have
ended since is missing in the numbers of block devices.  Reading needs no keeper and changes
nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from orchestrator.dataclass import dataclass
from orchestrator.linux import cgroupfs, procfs

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_NO_LIMIT = 1 << 60
"""Version 1 says "none" with a number near 2^63."""

Group = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look; counters count since the container began."""

    time: float
    """Monotonic seconds."""
    cpu: float = 0.0
    """Seconds of processor time."""
    memory: int = 0
    """Bytes, without what is only cached."""
    memory_limit: int = 0
    """Bytes; that of the machine where it has none."""
    pids: int = 0
    """Threads."""
    read: int = 0
    written: int = 0
    received: int = 0
    sent: int = 0
    """Bytes, of block devices and of interfaces but lo."""


def sample(group: Group, pid: int, *, own_network: bool) -> Sample:
    """Look at a running container with these groups and this first process; `own_network`: the
    counters of its network namespace are its own."""
    pids = cgroupfs.processes(group) if group else [pid]
    read, written = _block(group, pids)
    received, sent = _network(pid) if own_network else (0, 0)
    return Sample(
        time=time.monotonic(), cpu=_cpu(group, pids), memory=_memory(group, pids),
        memory_limit=_memory_limit(group), pids=_pids(group, pids), read=read, written=written,
        received=received, sent=sent,
    )  # fmt: skip


def cpu_percent(before: Sample, after: Sample) -> float:
    """Of one processor, so that four busy ones are 400."""
    elapsed = after.time - before.time
    return max(0.0, after.cpu - before.cpu) / elapsed * 100 if elapsed > 0 else 0.0


def _cpu(group: Group, pids: Iterable[int]) -> float:
    """Version 2 counts it in every group, whether its controller is on or not."""
    if "" in group:
        counted = _table(group[""], "cpu.stat").get("usage_usec")
        if counted is not None:
            return counted / 1e6
    used = (procfs.usage(pid) for pid in pids)
    return sum(each.ticks for each in used if each is not None) / _TICKS


def _memory(group: Group, pids: Iterable[int]) -> int:
    path = group.get("memory")
    if path is None:
        return sum(map(_resident, pids))
    used = cgroupfs.memory_usage(group) or 0
    table = _table(path, "memory.stat")
    cached = table.get("total_inactive_file", table.get("inactive_file", 0))
    return max(0, used - cached)


def _resident(pid: int) -> int:
    """Its share of memory: what several have is divided among them."""
    for line in (procfs.read_text(f"/proc/{pid}/smaps_rollup") or "").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    words = (procfs.read_text(f"/proc/{pid}/statm") or "").split()
    return int(words[1]) * _PAGE if len(words) > 1 else 0


def _memory_limit(group: Group) -> int:
    path = group.get("memory")
    for name in ("memory.max", "memory.limit_in_bytes") if path else ():
        text = (procfs.read_text(f"{path}/{name}") or "").strip()
        if text.isdigit() and int(text) < _NO_LIMIT:
            return int(text)
    return os.sysconf("SC_PHYS_PAGES") * _PAGE


def _pids(group: Group, pids: Iterable[int]) -> int:
    path = group.get("pids")
    text = procfs.read_text(f"{path}/pids.current") if path else None
    if text is not None:
        return int(text)
    used = (procfs.usage(pid) for pid in pids)
    return sum(each.threads for each in used if each is not None)


def _block(group: Group, pids: Iterable[int]) -> tuple[int, int]:
    """(read, written)"""
    if "io" in group:
        return _io_stat(procfs.read_text(f"{group['io']}/io.stat") or "")
    if "blkio" in group:
        name = "blkio.throttle.io_service_bytes_recursive"
        return _service_bytes(procfs.read_text(f"{group['blkio']}/{name}") or "")
    read = written = 0
    for pid in pids:
        table = _colons(procfs.read_text(f"/proc/{pid}/io") or "")
        read, written = read + table.get("read_bytes", 0), written + table.get("write_bytes", 0)
    return read, written


def _io_stat(text: str) -> tuple[int, int]:
    """`8:0 rbytes=1 wbytes=2 …` by line."""
    words = [word.partition("=") for line in text.splitlines() for word in line.split()[1:]]
    return (sum(int(v) for k, _, v in words if k == "rbytes"),
            sum(int(v) for k, _, v in words if k == "wbytes"))


def _service_bytes(text: str) -> tuple[int, int]:
    """`8:0 Read 1` by line."""
    rows = [line.split() for line in text.splitlines()]
    counted = [row for row in rows if len(row) == 3]
    return (sum(int(row[2]) for row in counted if row[1] == "Read"),
            sum(int(row[2]) for row in counted if row[1] == "Write"))


def _network(pid: int) -> tuple[int, int]:
    """(received, sent) by its network namespace; see proc_pid_net(5)."""
    received = sent = 0
    for line in (procfs.read_text(f"/proc/{pid}/net/dev") or "").splitlines()[2:]:
        name, _, numbers = line.partition(":")
        fields = numbers.split()
        if name.strip() != "lo" and len(fields) > 8:
            received, sent = received + int(fields[0]), sent + int(fields[8])
    return received, sent


def _table(path: str, name: str) -> dict[str, int]:
    """A file of lines `key number`."""
    rows = [line.split() for line in (procfs.read_text(f"{path}/{name}") or "").splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def _colons(text: str) -> dict[str, int]:
    """Lines `key: number`."""
    rows = [line.partition(":") for line in text.splitlines()]
    return {key: int(value) for key, _, value in rows if value.strip().isdigit()}
