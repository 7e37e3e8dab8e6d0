"""pause, unpause, stats and top, on whole stacks."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.sandbox import eventually

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

COUNTING = """
services:
  a:
    image: pcompose/host
    command: sh -c 'while :; do echo x >>/tmp/n; sleep 0.02; done'
    stop_grace_period: 30s
    healthcheck: {test: ["CMD", "true"], interval: 1h, start_interval: 0.1s, start_period: 1h}
"""


def test_a_paused_container_stands_still_until_it_is_unpaused(stack: Stack) -> None:
    stack.write(COUNTING)
    stack("-p", stack.name, "up", "-d", "--wait")
    name = f"{stack.name}-a-1"
    upper = next(Path(stack.directory.parent).glob("data/projects/*/containers/*/upper/tmp/n"))
    stack("-p", stack.name, "pause")
    size = upper.stat().st_size
    row = stack.ps()[name]
    assert (row["State"], row["Status"].endswith("(Paused)")) == ("paused", True)
    assert list(stack.ps("--status", "paused")) == [name]
    assert stack.ls()["Status"] == "paused(1)"
    assert "is paused" in stack("exec", "-T", "a", "true", ok=False).stderr
    assert "paused already" in stack("-p", stack.name, "pause", "a", ok=False).stderr
    time.sleep(0.3)  # longer than ten of its rounds: nothing else can show that nothing happens
    assert upper.stat().st_size == size
    stack("-p", stack.name, "unpause")
    eventually(lambda: upper.stat().st_size > size)
    assert stack.ps()[name]["State"] == "running"
    assert "not paused" in stack("-p", stack.name, "unpause", "a", ok=False).stderr
    assert "No container to unpause" in stack("-p", stack.name, "unpause").stderr


def test_a_paused_container_can_be_stopped_killed_and_removed(stack: Stack) -> None:
    stack.write(COUNTING)
    for words in (("stop", "-t", "20"), ("kill",), ("down",)):
        stack("-p", stack.name, "up", "-d")
        stack("-p", stack.name, "pause")
        began = time.monotonic()
        stack("-p", stack.name, *words)
        eventually(lambda: stack.ps().get(f"{stack.name}-a-1", {}).get("State") != "paused")
        assert time.monotonic() - began < 15
    assert stack.remains() == {}


def test_a_pause_outlives_the_supervisor(stack: Stack) -> None:
    stack.write(COUNTING)
    stack("-p", stack.name, "up", "-d")
    stack("-p", stack.name, "pause")
    pid = _pid(stack)
    os.kill(pid, 9)
    eventually(lambda: _pid(stack) not in (0, pid))
    assert stack.ps()[f"{stack.name}-a-1"]["State"] == "paused"
    stack("-p", stack.name, "unpause")
    assert stack.ps()[f"{stack.name}-a-1"]["State"] == "running"


def _pid(stack: Stack) -> int:
    path = stack.directory.parent / "run/projects" / stack.name / "supervisor.lock"
    words = path.read_text().split() if path.exists() else []
    return int(words[0]) if words else 0


def test_stats_and_top_show_what_runs(stack: Stack) -> None:
    stack.write("""
services:
  busy: {image: pcompose/host, command: sh -c 'while :; do :; done', mem_limit: 64m, cpus: 0.5}
  idle:
    image: pcompose/host
    command: python3 -c "x = bytearray(30 << 20); import time; time.sleep(1000)"
""")
    stack("-p", stack.name, "up", "-d")
    rows: dict[str, dict[str, Any]] = {}
    for line in stack("stats", "--no-stream", "--format", "json").stdout.splitlines():
        row = json.loads(line)
        rows[row["Name"].split("-")[1]] = row
    assert rows.keys() == {"busy", "idle"}
    assert list(rows["busy"]) == ["BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage",
                                  "Name", "NetIO", "PIDs"]  # fmt: skip
    assert 1 < float(rows["busy"]["CPUPerc"].rstrip("%")) < 75
    assert rows["busy"]["MemUsage"].endswith(" / 64MiB")
    assert float(rows["idle"]["MemUsage"].split("MiB")[0]) > 25
    assert rows["idle"]["PIDs"] == "1"
    table = stack("stats", "--no-stream").stdout.splitlines()
    assert table[0].split("   ")[0] == "CONTAINER ID"
    assert len(table) == 3
    head, *lines = stack("top").stdout.splitlines()
    assert head.split() == ["SERVICE", "#", "UID", "PID", "PPID", "C", "STIME", "TTY", "TIME",
                            "CMD"]  # fmt: skip
    assert [line.split()[:3] for line in lines] == [["busy", "1", "root"], ["idle", "1", "root"]]
    assert "while :" in lines[0]
    assert int(lines[1].split()[3]) == stack.pid("idle")


def test_memory_that_ran_out_is_remembered(stack: Stack) -> None:
    stack.write("""
services:
  a:
    image: pcompose/host
    command: python3 -c "x = bytearray(200 << 20)"
    mem_limit: 32m
    memswap_limit: 32m
""")
    stack("-p", stack.name, "up", "-d")
    row = eventually(lambda: [r for r in stack.ps().values() if r["State"] == "exited"])[0]
    assert row["ExitCode"] == 137
    status = next(Path(stack.directory.parent).glob("data/projects/*/containers/*/status.json"))
    assert json.loads(status.read_text())["oom_killed"] is True
