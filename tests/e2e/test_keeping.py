"""Health, conditions, restart policies, logs and exit codes of running stacks."""

from __future__ import annotations

import json
import os
import signal
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.e2e.sandbox import eventually

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

ONE = "services:\n  s: {image: pcompose/host, %s}\n"
RESTARTED = ONE % "command: sleep infinity, restart: always"


def test_a_dependent_starts_as_soon_as_its_dependency_is_healthy(stack: Stack) -> None:
    stack.write("""
services:
  db:
    image: pcompose/host
    command: sh -c "sleep 0.3; touch /tmp/ready; sleep infinity"
    healthcheck: {test: [CMD, test, -f, /tmp/ready], interval: 30s}
  app:
    image: pcompose/host
    command: sleep infinity
    depends_on: {db: {condition: service_healthy}}
""")
    begun = time.monotonic()
    stack("-p", stack.name, "up", "-d")
    assert time.monotonic() - begun < 10
    rows = stack.ps()
    assert rows[f"{stack.name}-db-1"]["Health"] == "healthy"
    assert rows[f"{stack.name}-app-1"]["State"] == "running"


def test_an_unhealthy_dependency_fails_up_with_all_that_is_known(stack: Stack) -> None:
    stack.write("""
services:
  db:
    image: pcompose/host
    command: sh -c "echo cannot open data; sleep infinity"
    healthcheck: {test: "echo no luck; exit 3", interval: 100ms, retries: 2}
  app:
    image: pcompose/host
    command: sleep infinity
    depends_on: {db: {condition: service_healthy}}
""")
    done = stack("-p", stack.name, "up", "-d", ok=False)
    assert done.returncode == 1
    assert f"dependency failed to start: container {stack.name}-db-1 is unhealthy" in done.stderr
    words = (
        "app waits for db: service_healthy (compose.yaml:10)",
        "healthcheck of db (compose.yaml:6): CMD-SHELL echo no luck; exit 3",
        "interval 0.1s (compose.yaml:6), timeout 30s (default), retries 2 (compose.yaml:6)",
        "last 3 probes:\n    exit 3 after ", "      no luck\n", "    cannot open data\n",
    )  # fmt: skip
    assert [w for w in words if w not in done.stderr] == []
    assert stack.ps()[f"{stack.name}-app-1"]["State"] == "created"


def test_a_dependency_that_exits_fails_up_at_once(stack: Stack) -> None:
    stack.write("""
services:
  db:
    image: pcompose/host
    command: sh -c "echo cannot open data; exit 1"
    healthcheck: {test: [CMD, "false"], interval: 30s}
  app:
    image: pcompose/host
    command: sleep infinity
    depends_on: {db: {condition: service_healthy}}
""")
    done = stack("-p", stack.name, "up", "-d", ok=False, timeout=10)
    assert f"container {stack.name}-db-1 exited (1)" in done.stderr
    assert "cannot open data" in done.stderr


def test_a_dependent_waits_for_completion_and_refuses_failure(stack: Stack) -> None:
    text = """
services:
  init:
    image: pcompose/host
    command: sh -c "sleep 0.2; exit %d"
  app:
    image: pcompose/host
    command: sleep infinity
    depends_on: {init: {condition: service_completed_successfully}}
"""
    stack.write(text % 3)
    failed = stack("-p", stack.name, "up", "-d", ok=False)
    assert 'service "init" didn\'t complete successfully: exit 3' in failed.stderr
    stack.write(text % 0)
    stack("-p", stack.name, "up", "-d")
    assert stack.ps()[f"{stack.name}-app-1"]["State"] == "running"


def test_wait_takes_a_finished_one_shot_as_done(stack: Stack) -> None:
    stack.write("""
services:
  oneshot: {image: pcompose/host, command: "true"}
  web: {image: pcompose/host, command: sleep infinity}
""")
    stack("-p", stack.name, "up", "-d", "--wait")


def test_wait_names_who_is_not_ready(stack: Stack) -> None:
    stack.write("""
services:
  slow:
    image: pcompose/host
    command: sleep infinity
    healthcheck: {test: [CMD, "false"], interval: 1s, retries: 100}
  held:
    image: pcompose/host
    command: sleep infinity
    depends_on: {slow: {condition: service_healthy}}
  good: {image: pcompose/host, command: sleep infinity}
""")
    done = stack("-p", stack.name, "up", "-d", "--wait", "--wait-timeout", "1", ok=False)
    assert done.returncode == 1
    assert "application not healthy after 1s\n" in done.stderr
    named = [line.split()[1] for line in done.stderr.splitlines() if "is not ready" in line]
    assert named == ["slow", "held"]


def test_restart_policies_are_obeyed(stack: Stack) -> None:
    stack.write("""
services:
  always: {image: pcompose/host, command: sleep infinity, restart: always}
  failing: {image: pcompose/host, command: sh -c "exit 7", restart: "on-failure:2"}
  once: {image: pcompose/host, command: sh -c "exit 0", restart: on-failure}
  never: {image: pcompose/host, command: sh -c "exit 5"}
""")
    stack("-p", stack.name, "up", "-d")
    first = stack.pid("always")
    os.kill(first, signal.SIGKILL)
    eventually(lambda: stack.pid("always") not in (0, first))
    eventually(lambda: stack.ps()[f"{stack.name}-failing-1"]["State"] == "exited")
    codes = eventually(
        lambda: (rows := {n: (r["State"], r["ExitCode"]) for n, r in stack.ps().items()})
        and rows[f"{stack.name}-never-1"][0] == "exited" and rows
    )
    assert codes[f"{stack.name}-failing-1"] == ("exited", 7)
    assert codes[f"{stack.name}-once-1"] == ("exited", 0)
    assert codes[f"{stack.name}-never-1"] == ("exited", 5)


def test_a_stopped_service_stays_stopped(stack: Stack) -> None:
    stack.write(RESTARTED)
    stack("-p", stack.name, "up", "-d")
    stack("-p", stack.name, "stop")
    assert stack.ps()[f"{stack.name}-s-1"]["State"] == "exited"


def test_a_killed_main_process_comes_back(stack: Stack) -> None:
    stack.write(RESTARTED)
    stack("-p", stack.name, "up", "-d")
    first = stack.pid("s")
    os.kill(first, signal.SIGKILL)
    eventually(lambda: stack.pid("s") not in (0, first))


def test_the_first_byte_and_the_last_partial_line_are_kept(stack: Stack) -> None:
    stack.write(ONE % "command: 'sh -c \"echo a; echo -n exiting\"'")
    stack("-p", stack.name, "up", "-d")
    eventually(lambda: stack.ps()[f"{stack.name}-s-1"]["State"] == "exited")
    assert stack.logs("--no-log-prefix") == ["a", "exiting"]


def test_logs_of_several_services_come_in_order_of_time(stack: Stack) -> None:
    script = "for i in 1 2 3 4 5; do date +%s%N; sleep 0.05; done; sleep infinity"
    stack.write("services:\n" + "".join(
        f"  {n}: {{image: pcompose/host, command: [sh, -c, '{script}']}}\n" for n in "abc"
    ))  # fmt: skip
    stack("-p", stack.name, "up", "-d")
    lines = eventually(lambda: len(found := stack.logs()) == 15 and found)
    stamps = [int(line.split("|")[1]) for line in lines]
    late = [b - a for a, b in pairwise(stamps) if b < a]
    assert all(-gap < 20_000_000 for gap in late), late
    assert len(stack.logs("--tail", "2", "a")) == 2


def test_following_logs_sees_lines_as_they_come(stack: Stack) -> None:
    script = "for i in 1 2 3; do echo tick $$i; sleep 0.1; done; sleep infinity"
    stack.write(f"services:\n  a: {{image: pcompose/host, command: [sh, -c, '{script}']}}\n")
    stack("-p", stack.name, "up", "-d")
    follower = stack.start("-p", stack.name, "logs", "-f", "--no-log-prefix")
    assert follower.stdout is not None
    assert [follower.stdout.readline() for _ in range(3)] == ["tick 1\n", "tick 2\n", "tick 3\n"]
    follower.terminate()
    follower.communicate(timeout=5)


def test_ps_shows_the_fields_docker_compose_shows(stack: Stack) -> None:
    stack.write(ONE % "command: sleep infinity, ports: ['18081:80']")
    stack("-p", stack.name, "up", "-d")
    (row,) = [json.loads(line) for line in
              stack("-p", stack.name, "ps", "--format", "json").stdout.splitlines()]  # fmt: skip
    assert set(row) >= {
        "Command", "CreatedAt", "ExitCode", "Health", "ID", "Image", "Labels", "LocalVolumes",
        "Mounts", "Name", "Names", "Networks", "Ports", "Project", "Publishers", "RunningFor",
        "Service", "Size", "State", "Status", "Pid",
    }  # fmt: skip
    assert {(p["TargetPort"], p["PublishedPort"], p["Protocol"]) for p in row["Publishers"]} == {
        (80, 18081, "tcp")
    }
    table = stack("-p", stack.name, "ps").stdout.splitlines()
    assert table[0].split() == ["NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"]
