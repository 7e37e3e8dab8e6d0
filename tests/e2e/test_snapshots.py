"""`pcompose snapshot` and `pcompose fork`, on real volumes and containers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

STORE = """
services:
  db:
    image: pcompose/host
    command: sh -c "trap 'echo stopped >> /data/log; exit' TERM; sleep infinity & wait"
    volumes: ["data:/data", /anonymous]
  other: {image: pcompose/host, command: sleep infinity}
volumes: {data: }
"""
FILL = """
set -e
chmod 700 /data; chown 26:26 /data
mkdir -p /data/deep/er; echo one > /data/deep/er/file; chown 33:44 /data/deep/er/file
ln /data/deep/er/file /data/hard; ln -s deep/er /data/soft; mkfifo -m 640 /data/pipe
head -c 3000000 /dev/urandom > /data/blob; chmod 4711 /data/blob
echo here > /anonymous/word; echo mine > /etc/own; rm /etc/hostname.gone 2>/dev/null || true
rm -f /etc/debian_version
"""
SPOIL = """
rm -rf /data/* /anonymous/word /etc/own; echo else > /data/blob; mkdir /data/deep
echo back > /etc/debian_version; chmod 755 /data; chown 0:0 /data
"""
LOOK = """
cd /data; ls -lnR --time-style=full-iso . | grep -v "^total"
find . -type f | sort | xargs sha256sum
stat -c "%a %u %g" /data; cat /anonymous/word /etc/own; ls /etc/debian_version 2>&1 | head -1
"""


def look(stack: Stack) -> str:
    return stack.execute("db", "sh", "-c", LOOK)


@pytest.fixture
def filled(stack: Stack) -> Stack:
    stack.write(STORE)
    (stack.directory / ".env").write_text(f"COMPOSE_PROJECT_NAME={stack.name}\n")
    stack("up", "-d")
    stack.execute("db", "sh", "-c", FILL)
    return stack


def forget(stack: Stack) -> None:
    """Snapshots outlive their project; nothing may outlive the test."""
    rows = stack("snapshot", "ls", "-q").stdout.split()
    stack("down", "-v", "-t", "0")
    if rows:
        stack("snapshot", "rm", *rows)
    assert not os.listdir(stack.directory.parent / "data/frozen")


def test_a_restored_stack_is_what_was_saved_to_the_byte(filled: Stack) -> None:
    stack = filled
    before, other = look(stack), stack.pid("other")
    stack("snapshot", "save", "full", "db")
    assert stack.pid("other") == other  # who was not asked for is not stopped
    saved = look(stack)
    assert "stopped" in stack.execute("db", "cat", "/data/log")  # it had time for an orderly end
    assert [line for line in saved.splitlines() if "log" not in line and not line.endswith(" .")
            ] == [line for line in before.splitlines() if not line.endswith(" .")]  # fmt: skip
    for _ in range(2):
        stack.execute("db", "sh", "-c", SPOIL)
        assert look(stack) != saved
        stack("snapshot", "restore", "full", "db")
        assert look(stack) == saved
    row = json.loads(stack("snapshot", "ls", "--format", "json").stdout)
    assert (row["Name"], row["Containers"]) == ("full", ["db/1"])
    forget(stack)


def test_snapshots_lie_on_top_of_each_other_and_go_one_by_one(filled: Stack) -> None:
    stack = filled
    for name in ("a", "b", "c"):
        stack.execute("db", "sh", "-c", f"echo {name} > /data/{name}; rm -f /data/hard")
        stack("snapshot", "save", name)
    stack("snapshot", "rm", "b")
    stack("snapshot", "restore", "a")
    assert stack.execute("db", "sh", "-c", "cd /data; ls a b c 2>/dev/null || true") == "a\n"
    stack("snapshot", "restore", "c")
    assert stack.execute("db", "sh", "-c", "cd /data; cat a b c") == "a\nb\nc\n"
    assert "has no snapshot 'b'" in stack("snapshot", "restore", "b", ok=False).stderr
    assert "cannot be the name" in stack("snapshot", "save", "../x", ok=False).stderr
    stack("down", "-v", "-t", "0")
    stack("up", "-d")
    assert stack.execute("db", "ls", "/data") == ""
    stack("snapshot", "restore", "c")  # of volumes that were removed meanwhile
    assert stack.execute("db", "sh", "-c", "cd /data; cat a b c") == "a\nb\nc\n"
    forget(stack)


def test_forks_begin_alike_and_go_their_own_ways(filled: Stack) -> None:
    stack = filled
    stack("snapshot", "save", "seed")
    names = stack("fork", "seed", "-n", "3").stdout.split()
    assert names == [f"{stack.name}-seed-{n}" for n in (1, 2, 3)]
    seen = [stack("-p", n, "exec", "-T", "db", "sh", "-c", LOOK).stdout for n in names]
    assert len(set(seen)) == 1
    assert "here\nmine\n" in seen[0]
    stack("-p", names[0], "exec", "-T", "db", "sh", "-c", "rm -r /data/*; echo x > /data/new")
    again = stack("-p", names[1], "exec", "-T", "db", "sh", "-c", LOOK).stdout
    assert again == seen[1]
    assert "already" in stack("fork", "seed", ok=False).stderr
    for name in names:
        stack("-p", name, "down", "-v", "-t", "0")
    assert "one" in stack.execute("db", "cat", "/data/hard")
    forget(stack)


def test_killed_at_any_moment_nothing_is_lost(filled: Stack) -> None:
    """What a save or a restore leaves at any of its system calls is mended by the next command."""
    stack = filled
    stack("snapshot", "save", "full")
    stack.execute("db", "sh", "-c", "echo two > /data/two")
    saved = stack.execute("db", "sha256sum", "/data/blob", "/data/two")
    for number, verb in enumerate(("save", "save", "restore", "save", "restore", "save")):
        running = stack.start("snapshot", verb, "full" if verb == "restore" else "later")
        try:
            running.wait(0.08 + number * 0.06)
        except subprocess.TimeoutExpired:
            os.kill(child(running.pid), signal.SIGKILL)
        running.communicate()
        stack("up", "-d")
        if verb == "restore":
            stack.execute("db", "sh", "-c", "echo two > /data/two")
        assert stack.execute("db", "sha256sum", "/data/blob", "/data/two") == saved, number
    half_made = stack.directory.parent / f"data/frozen/.{stack.name}.{'0' * 16}"
    half_made.mkdir()
    (half_made / "upper").mkdir()
    forget(stack)


def child(pid: int) -> int:
    """The process at the end of nsenter's chain."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return child(int(found[0])) if found else pid


def test_what_cannot_be_frozen_is_refused(stack: Stack) -> None:
    stack.write("""
services:
  db: {image: pcompose/host, command: sleep infinity, volumes: ["data:/data"]}
volumes: {data: {driver_opts: {type: tmpfs, device: tmpfs}}}
""")
    assert "no containers" in stack("-p", stack.name, "snapshot", "save", "x", ok=False).stderr
    stack("-p", stack.name, "up", "-d")
    said = stack("-p", stack.name, "snapshot", "save", "x", ok=False).stderr
    assert "is mounted from elsewhere" in said
    said = stack("-p", stack.name, "snapshot", "save", "x", "nobody", ok=False).stderr
    assert "no such service: nobody" in said
