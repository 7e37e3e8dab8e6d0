"""What a container uses: the kernel's files by value, and one real group."""

from __future__ import annotations

import os
from pathlib import Path

from orchestrator.runtime import stats
from orchestrator.runtime.stats import Sample


def test_a_group_of_version_2_is_read(tmp_path: Path) -> None:
    files = {
        "cpu.stat": "usage_usec 1500000\nuser_usec 1\n", "memory.current": "5000\n",
        "memory.stat": "anon 1\ninactive_file 1000\n", "memory.max": "9000\n",
        "pids.current": "7\n",
        "io.stat": "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2 rios=1\n",
        "cgroup.procs": "",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    group = dict.fromkeys(("", "memory", "pids", "io"), str(tmp_path))
    found = stats.sample(group, os.getpid(), own_network=False)
    assert (found.cpu, found.memory, found.memory_limit, found.pids) == (1.5, 4000, 9000, 7)
    assert (found.read, found.written, found.received, found.sent) == (11, 22, 0, 0)


def test_a_group_of_version_1_is_read(tmp_path: Path) -> None:
    files = {
        "memory.usage_in_bytes": "5000\n", "memory.stat": "total_inactive_file 500\n",
        "memory.limit_in_bytes": "9223372036854771712\n",
        "blkio.throttle.io_service_bytes_recursive": "8:0 Read 10\n8:0 Write 4\nTotal 14\n",
        "cgroup.procs": f"{os.getpid()}\n",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    group = dict.fromkeys(("memory", "blkio", "freezer"), str(tmp_path))
    found = stats.sample(group, os.getpid(), own_network=False)
    assert (found.memory, found.read, found.written) == (4500, 10, 4)
    assert found.memory_limit == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert found.cpu > 0  # of its processes
    assert found.pids >= 1


def test_without_groups_the_processes_are_asked() -> None:
    found = stats.sample({}, os.getpid(), own_network=True)
    assert found.memory > 1 << 20
    assert found.cpu > 0


def test_percent_is_of_one_processor() -> None:
    before, after = Sample(time=1.0, cpu=1.0), Sample(time=3.0, cpu=5.0)
    assert stats.cpu_percent(before, after) == 200.0
    assert stats.cpu_percent(after, after) == 0.0
