"""How long a project lives: --ttl, --while-pid, --idle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.sandbox import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

IDLE = """
services:
  idle:
    image: pcompose/host
    command: sleep infinity
    volumes: ["data:/data"]
  done: {image: pcompose/host, command: "true"}
volumes: {data: }
"""


def up(stack: Stack, *arguments: str) -> None:
    stack("-p", stack.name, "up", "-d", *arguments)


def is_gone(stack: Stack) -> bool:
    return set(stack.remains()) <= {"volumes"}


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "infinity"]) as process:
        yield process
        process.kill()


def test_a_project_ends_with_its_time_and_keeps_its_volumes(stack: Stack) -> None:
    stack.write(IDLE)
    up(stack, "--ttl", "1500ms")
    assert stack.ps()
    eventually(lambda: is_gone(stack), what="it is taken down")
    volumes = stack.directory.parent / "data/volumes"
    assert stack.remains() == {"volumes": [f"{volumes}/{stack.name}_data"]}


def test_a_project_ends_with_the_process_that_holds_it(
    stack: Stack, sleeper: subprocess.Popen[bytes]
) -> None:
    stack.write(IDLE)
    up(stack, "--while-pid", str(sleeper.pid))
    time.sleep(1)
    assert stack.ps()[f"{stack.name}-idle-1"]["State"] == "running"
    sleeper.kill()
    sleeper.wait()
    eventually(lambda: is_gone(stack), timeout=12)


def test_another_process_may_hold_it_too(
    stack: Stack, sleeper: subprocess.Popen[bytes]
) -> None:
    stack.write(IDLE)
    other = subprocess.Popen(["sleep", "infinity"])
    for process in (sleeper, other):
        up(stack, "--while-pid", str(process.pid))
    sleeper.kill()
    sleeper.wait()
    time.sleep(1)
    assert stack.ps()[f"{stack.name}-idle-1"]["State"] == "running"
    other.kill()
    other.wait()
    eventually(lambda: is_gone(stack))


def test_a_lease_outlives_the_supervisor_and_the_keeper(
    stack: Stack, sleeper: subprocess.Popen[bytes]
) -> None:
    stack.write(IDLE)
    up(stack, "--while-pid", str(sleeper.pid))
    os.kill(stack.ls()["supervisor_pid"], signal.SIGKILL)
    sleeper.kill()
    sleeper.wait()
    eventually(lambda: is_gone(stack))


def test_what_a_killed_down_leaves_goes_with_the_lease(
    stack: Stack, sleeper: subprocess.Popen[bytes]
) -> None:
    stack.write(IDLE)
    for delay in (0.1, 0.2, 0.3):
        up(stack, "--while-pid", str(sleeper.pid))
        running = stack.start("-p", stack.name, "down", start_new_session=True)
        time.sleep(delay)  # the moment is the parameter: nothing is waited for
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
    sleeper.kill()
    sleeper.wait()
    eventually(lambda: is_gone(stack))


def test_use_keeps_an_idle_project(stack: Stack) -> None:
    stack.write(IDLE.replace("sleep infinity", "python3 -m http.server 8000"))
    up(stack, "--idle", "1500ms")
    project = stack.directory.parent / "data/projects" / stack.name
    records = [json.loads(p.read_text()) for p in project.glob("containers/*/record.json")]
    spec = next(record["spec"] for record in records if record["service"] == "idle")
    for _ in range(8):
        stack.fetch(f"http://{spec['endpoints'][0]['address']}:8000/")
        time.sleep(0.3)
    assert stack.ps()[f"{stack.name}-idle-1"]["State"] == "running"
    eventually(lambda: is_gone(stack))


def test_a_lease_is_kept_by_up_taken_away_by_ttl_0_and_needs_a_process_that_lives(
    stack: Stack, sleeper: subprocess.Popen[bytes]
) -> None:
    stack.write(IDLE)
    up(stack, "--while-pid", str(sleeper.pid))
    up(stack)
    lease = stack.directory.parent / "data/projects" / stack.name / "lease.json"
    assert lease.exists()
    up(stack, "--ttl", "0")
    assert not lease.exists()
    sleeper.kill()
    sleeper.wait()
    done = stack("-p", stack.name, "up", "-d", "--while-pid", str(sleeper.pid), ok=False)
    assert f"no process has the id {sleeper.pid}" in done.stderr
    done = stack("-p", stack.name, "up", "-d", "--ttl", "soon", ok=False)
    assert 'invalid duration "soon" for --ttl' in done.stderr
    assert stack.ps()[f"{stack.name}-idle-1"]["State"] == "running"
