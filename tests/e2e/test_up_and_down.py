"""A stack comes up, stays as it is, changes by the least, and goes without a trace."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.e2e.sandbox import eventually
from tests.source_tree import ROOT

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

PAIR = """
services:
  web:
    image: pcompose/host
    command: sleep infinity
    environment: {LOG_LEVEL: info}
    depends_on: [db]
  db:
    image: pcompose/host
    command: sleep infinity
"""


def test_the_quickstart_answers_and_counts(stack: Stack) -> None:
    shutil.copytree(ROOT / "examples/quickstart", stack.directory, dirs_exist_ok=True)
    stack("-p", stack.name, "up", "-d", "--wait")
    page = eventually(lambda: stack.fetch("http://127.0.0.1:8080"), what="the page")
    assert page.startswith("Hello from pcompose: ")
    first = int(page.split()[-1])
    eventually(lambda: int(stack.fetch("http://127.0.0.1:8080").split()[-1]) > first)
    stack("-p", stack.name, "down", "-v")
    assert stack.remains() == {}


def test_up_again_changes_nothing_and_says_so(stack: Stack) -> None:
    stack.write(PAIR)
    stack("-p", stack.name, "up", "-d")
    before = stack.ps()
    again = stack("-p", stack.name, "up", "-d")
    after = stack.ps()
    assert {n: (r["ID"], r["Pid"]) for n, r in before.items()} == {
        n: (r["ID"], r["Pid"]) for n, r in after.items()
    }
    assert f"Container {stack.name}-web-1 Running" in again.stderr


def test_plan_tells_what_up_would_do_and_whether_it_would(stack: Stack) -> None:
    stack.write(PAIR)
    first = stack("-p", stack.name, "plan", ok=False)
    assert first.returncode == 2
    assert f"CreateContainer {stack.name}-web-1" in first.stdout
    assert stack.ps() == {}
    stack("-p", stack.name, "up", "-d")
    assert stack("-p", stack.name, "plan").returncode == 0


def test_a_changed_variable_recreates_one_service_and_says_why(stack: Stack) -> None:
    stack.write(PAIR)
    stack("-p", stack.name, "up", "-d")
    before = stack.ps()
    stack.write(PAIR.replace("LOG_LEVEL: info", "LOG_LEVEL: debug"))
    planned = stack("-p", stack.name, "plan", ok=False)
    reason = 'recreate web: environment.LOG_LEVEL "info" -> "debug" (compose.yaml:6)'
    assert planned.returncode == 2
    assert reason in planned.stdout
    done = stack("-p", stack.name, "up", "-d")
    assert reason in done.stdout + done.stderr
    after = stack.ps()
    web, db = f"{stack.name}-web-1", f"{stack.name}-db-1"
    assert before[web]["ID"] != after[web]["ID"]
    assert before[db]["Pid"] == after[db]["Pid"]
    assert stack.execute("web", "printenv", "LOG_LEVEL").strip() == "debug"


def test_a_dry_run_changes_nothing(stack: Stack) -> None:
    stack.write(PAIR)
    stack("-p", stack.name, "up", "-d")
    before = stack.ps()
    stack.write(PAIR.replace("info", "debug"))
    shown = stack("-p", stack.name, "up", "-d", "--dry-run")
    assert "recreate web" in shown.stdout
    after = stack.ps()
    for row in (*before.values(), *after.values()):  # these two say how long it is now
        del row["Status"], row["RunningFor"]
    assert after == before


def test_recreation_can_be_forced_and_forbidden(stack: Stack) -> None:
    stack.write(PAIR)
    stack("-p", stack.name, "up", "-d")
    first = stack.pid("web")
    stack("-p", stack.name, "up", "-d", "--force-recreate", "--no-deps", "web")
    second = stack.pid("web")
    assert second != first
    stack.write(PAIR.replace("info", "debug"))
    stack("-p", stack.name, "up", "-d", "--no-recreate")
    assert stack.pid("web") == second


def test_a_service_is_scaled_up_and_down(stack: Stack) -> None:
    stack.write(PAIR)
    stack("-p", stack.name, "up", "-d", "--scale", "web=3")
    assert {f"{stack.name}-web-{n}" for n in (1, 2, 3)} < set(stack.ps())
    first = stack.pid("web")
    stack("-p", stack.name, "up", "-d", "--scale", "web=1")
    assert set(stack.ps()) == {f"{stack.name}-web-1", f"{stack.name}-db-1"}
    assert stack.pid("web") == first


def test_orphans_are_told_and_removed_on_request(stack: Stack) -> None:
    stack.write(PAIR)
    stack("-p", stack.name, "up", "-d")
    stack.write("services:\n  db:\n    image: pcompose/host\n    command: sleep infinity\n")
    told = stack("-p", stack.name, "up", "-d")
    assert f"Found orphan containers ({stack.name}-web-1) for this project" in told.stderr
    assert f"{stack.name}-web-1" in stack.ps()
    stack("-p", stack.name, "up", "-d", "--remove-orphans")
    assert set(stack.ps()) == {f"{stack.name}-db-1"}


def test_named_services_bring_their_dependencies_unless_told_not_to(stack: Stack) -> None:
    stack.write(PAIR + "  other:\n    image: pcompose/host\n    command: sleep infinity\n")
    stack("-p", stack.name, "up", "-d", "--no-deps", "web")
    assert set(stack.ps()) == {f"{stack.name}-web-1"}
    stack("-p", stack.name, "up", "-d", "web")
    assert set(stack.ps()) == {f"{stack.name}-web-1", f"{stack.name}-db-1"}


def test_down_needs_no_file_and_stops_dependents_first(stack: Stack) -> None:
    script = "trap 'date +%s%N; exit' TERM; echo up; while :; do sleep 0.05; done"
    service = f"\n    image: pcompose/host\n    command: [sh, -c, \"{script}\"]\n"
    stack.write(
        f"services:\n  web:{service}    depends_on: [api]\n  api:{service}    depends_on: [db]\n"
        f"  db:{service}"
    )
    stack("-p", stack.name, "up", "-d")
    eventually(lambda: len(stack.logs()) == 3)
    stack("-p", stack.name, "stop")
    stamps = dict(line.split("|") for line in stack.logs("--tail", "1"))
    times = {name.strip(): int(stamp) for name, stamp in stamps.items()}
    assert times["web-1"] < times["api-1"] < times["db-1"]
    (stack.directory / "compose.yaml").unlink()
    stack("-p", stack.name, "down", "-v")
    assert stack.remains() == {}


def test_a_process_that_cannot_be_asked_to_stop_is_not_waited_for(stack: Stack) -> None:
    stack.write(PAIR)
    stack("-p", stack.name, "up", "-d")
    done = stack("-p", stack.name, "down", timeout=5)
    assert done.returncode == 0


def test_ls_shows_the_project_and_its_two_processes(stack: Stack) -> None:
    stack.write(PAIR)
    stack("-p", stack.name, "up", "-d")
    row = stack.ls()
    assert row["Status"] == "running(2)"
    assert row["ConfigFiles"] == str(stack.directory / "compose.yaml")
    assert row["supervisor_pid"] > 0
    assert row["keeper_pid"] > 0


def test_stop_start_restart_kill_and_rm_do_what_they_say(stack: Stack) -> None:
    stack.write(PAIR)
    name = f"{stack.name}-web-1"
    stack("-p", stack.name, "up", "-d")
    stack("-p", stack.name, "stop", "web")
    assert stack.ps()[name]["State"] == "exited"
    stack("-p", stack.name, "start", "web")
    first = stack.pid("web")
    stack("-p", stack.name, "restart", "web")
    assert stack.pid("web") != first
    stack("-p", stack.name, "kill", "web")
    row = eventually(lambda: (r := stack.ps()[name])["State"] == "exited" and r)
    assert row["ExitCode"] == 137
    stack("-p", stack.name, "rm", "-f", "web")
    assert name not in stack.ps()


def test_progress_can_be_read_by_programs(stack: Stack) -> None:
    stack.write(PAIR)
    done = stack("-p", stack.name, "--progress", "json", "up", "-d")
    rows = [json.loads(line) for line in done.stderr.splitlines()]
    started = {row["id"] for row in rows if row["text"] == "Started"}
    assert started == {f"Container {stack.name}-web-1", f"Container {stack.name}-db-1"}
