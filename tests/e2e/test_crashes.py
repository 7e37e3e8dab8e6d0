"""SIGKILL of the command, the supervisor or the keeper, at any moment: nothing is lost."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.sandbox import eventually

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

COUNTER = "i=0; while [ $$i -lt 4000 ]; do i=$$((i+1)); echo line $$i; [ $$((i%40)) = 0 ] && sleep 0.02; done; sleep infinity"  # noqa: E501
STACK = f"""
services:
  talker:
    image: pcompose/host
    command: [sh, -c, "{COUNTER}"]
  quiet:
    image: pcompose/host
    command: sleep infinity
    restart: always
    depends_on: [talker]
"""
SLEEPER = "services:\n  s: {image: pcompose/host, command: sleep infinity}\n"
MANY = "services:\n" + "".join(
    f"  s{n}:\n    image: pcompose/host\n    command: sleep infinity\n" for n in range(12)
)


def identities(stack: Stack) -> dict[str, tuple[str, int]]:
    return {name: (row["ID"], row["Pid"]) for name, row in stack.ps().items()}


def both_live(stack: Stack) -> dict[str, Any] | None:
    row = stack.ls()
    return row if row.get("supervisor_pid") and row.get("keeper_pid") else None


@pytest.mark.parametrize("victim", ["supervisor", "keeper", "both"])
def test_containers_and_every_line_survive(stack: Stack, victim: str) -> None:
    stack.write(STACK)
    stack("-p", stack.name, "up", "-d")
    before = identities(stack)
    for _ in range(3):
        row = eventually(lambda: both_live(stack))
        if victim in ("supervisor", "both"):
            os.kill(row["supervisor_pid"], signal.SIGKILL)
        if victim in ("keeper", "both"):
            os.kill(row["keeper_pid"], signal.SIGKILL)
        if victim == "both":  # nobody is left to notice: the next command repairs
            stack("-p", stack.name, "up", "-d")
        key = "keeper_pid" if victim == "keeper" else "supervisor_pid"
        eventually(lambda: stack.ls().get(key) not in (None, row[key]))  # noqa: B023
    assert identities(stack) == before
    lines = eventually(
        lambda: (found := stack.logs("--no-log-prefix", "talker"))[-1:] == ["line 4000"] and found,
        timeout=30,
    )
    assert lines == [f"line {n}" for n in range(1, 4001)]
    stack("-p", stack.name, "down", "-v", "-t", "1")
    assert stack.remains() == {}


def test_a_restart_policy_is_kept_after_the_supervisor_was_killed(stack: Stack) -> None:
    stack.write(STACK)
    stack("-p", stack.name, "up", "-d")
    first = stack.pid("quiet")
    old = stack.ls()["supervisor_pid"]
    os.kill(old, signal.SIGKILL)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: stack.pid("quiet") not in (0, first), what="restarted")


@pytest.mark.parametrize("delay", [0.05, 0.1, 0.15, 0.2, 0.3, 0.4])
def test_a_killed_up_is_finished_by_the_next(stack: Stack, delay: float) -> None:
    stack.write(MANY)
    command = stack.start("-p", stack.name, "up", "-d")
    time.sleep(delay)  # where it strikes is the point of the parameter
    command.kill()
    command.communicate()
    stack("-p", stack.name, "up", "-d")
    rows = stack.ps()
    assert set(rows) == {f"{stack.name}-s{n}-1" for n in range(12)}
    assert {row["State"] for row in rows.values()} == {"running"}
    stack("-p", stack.name, "down", "-v")
    assert stack.remains() == {}


@pytest.mark.parametrize("delay", [0.05, 0.1, 0.15, 0.25])
@pytest.mark.parametrize("victim", ["supervisor_pid", "keeper_pid"])
def test_up_after_a_helper_died_in_the_middle_of_up_converges(
    stack: Stack, delay: float, victim: str
) -> None:
    stack.write(MANY)
    command = stack.start("-p", stack.name, "up", "-d")
    time.sleep(delay)
    pid = stack.ls().get(victim)
    if pid:
        os.kill(pid, signal.SIGKILL)
    command.communicate(timeout=60)
    stack("-p", stack.name, "up", "-d")
    rows = stack.ps()
    assert set(rows) == {f"{stack.name}-s{n}-1" for n in range(12)}
    assert {row["State"] for row in rows.values()} == {"running"}
    stack("-p", stack.name, "down", "-v")
    assert stack.remains() == {}


@pytest.mark.parametrize("delay", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("victim", ["command", "supervisor_pid", "keeper_pid"])
def test_a_killed_down_is_finished_by_the_next(stack: Stack, delay: float, victim: str) -> None:
    stack.write(MANY)
    stack("-p", stack.name, "up", "-d")
    row = stack.ls()
    command = stack.start("-p", stack.name, "down", "-v")
    time.sleep(delay)
    try:
        os.kill(command.pid if victim == "command" else row[victim], signal.SIGKILL)
    except ProcessLookupError:
        pass  # down was faster: then everything must be gone already
    command.communicate(timeout=60)
    stack("-p", stack.name, "down", "-v")
    eventually(lambda: stack.remains() == {})


def test_two_ups_at_once_make_one_set(stack: Stack) -> None:
    stack.write(MANY)
    both = [stack.start("-p", stack.name, "up", "-d") for _ in range(2)]
    assert [c.communicate(timeout=60) and c.returncode for c in both] == [0, 0]
    rows = stack.ps()
    assert set(rows) == {f"{stack.name}-s{n}-1" for n in range(12)}


def test_an_attached_up_outlives_its_supervisor(stack: Stack) -> None:
    stack.write(SLEEPER)
    attached = stack.start("-p", stack.name, "up")
    row = eventually(lambda: both_live(stack))
    eventually(lambda: stack.ps()[f"{stack.name}-s-1"]["State"] == "running")
    os.kill(row["supervisor_pid"], signal.SIGKILL)
    eventually(lambda: stack.ls().get("supervisor_pid") not in (None, row["supervisor_pid"]))
    stack("-p", stack.name, "kill", "s")
    out, _ = attached.communicate(timeout=20)
    assert attached.returncode == 0
    assert "s-1 exited with code 137" in out
