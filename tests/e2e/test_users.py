"""What users of Compose tools stumbled over, on whole stacks."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.sandbox import eventually

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e


def test_a_dependency_in_a_disabled_profile_stops_nothing_but_up(stack: Stack) -> None:
    """R-24."""
    stack.write(f"""
name: {stack.name}
services:
  main: {{image: pcompose/host, command: sleep infinity, profiles: [dev], stop_signal: SIGKILL}}
  test:
    image: pcompose/host
    command: sh -c 'echo said; exec sleep infinity'
    depends_on: [main]
    stop_signal: SIGKILL
""")
    refused = stack("up", "-d", ok=False)
    assert "compose.yaml:8:18: services.test.depends_on.main: needs main" in refused.stderr
    assert stack.ps() == {}

    stack("up", "-d", "main")
    assert list(stack.ps()) == [f"{stack.name}-main-1"]
    stack("--profile", "dev", "up", "-d")
    assert list(stack.ps()) == [f"{stack.name}-main-1", f"{stack.name}-test-1"]

    assert any("said" in line for line in stack.logs("test"))
    stack("build")
    stack("stop", "test")
    stack("start", "--wait", "test")
    stack("rm", "--force", "--stop", "test")
    assert list(stack.ps()) == [f"{stack.name}-main-1"]
    stack("up", "-d", "--no-deps", "test")
    stack("down", "--remove-orphans")
    assert stack.ps() == {}


NEEDY = """
name: %s
services:
  db:
    image: pcompose/host
    command: sh -c "sleep $${DELAY:-0}; touch /tmp/ready; exec sleep infinity"
    environment: {DELAY: "%s"}
    healthcheck: {test: %s, interval: 100ms, retries: %s}
    stop_signal: SIGKILL
  app:
    image: pcompose/host
    command: sh -c "echo app; exec sleep infinity"
    stop_signal: SIGKILL
    depends_on: {db: {condition: service_healthy}}
"""


def test_run_with_an_unhealthy_dependency_does_not_run(stack: Stack) -> None:
    """R-5 and R-6."""
    stack.write(NEEDY % (stack.name, 0, '[CMD, "false"]', 2))
    refused = stack("run", "--rm", "-T", "app", "echo", "ran", ok=False)
    assert refused.returncode == 1
    assert "is unhealthy" in refused.stderr
    assert refused.stdout == ""
    assert stack("run", "--rm", "-T", "--no-deps", "app", "echo", "ran").stdout == "ran\n"
    stack("down")
    stack("up", "-d", "--no-deps", "app", timeout=30)
    assert list(stack.ps()) == [f"{stack.name}-app-1"]


def test_health_begins_anew_with_a_restart(stack: Stack) -> None:
    """R-1 and R-7."""
    stack.write(NEEDY % (stack.name, "0", "[CMD, test, -f, /tmp/ready]", 2))
    stack("up", "-d", "db", "--wait")
    stack.execute("db", "rm", "/tmp/ready")
    name = f"{stack.name}-db-1"
    eventually(lambda: stack.ps()[name]["Health"] == "unhealthy")
    stack("restart", "db")
    stack("up", "-d", "app")
    assert stack.ps()[name]["Health"] == "healthy"
    lines = [json.loads(line) for line in stack("events", "--since", "10m", "--until", "0s",
                                                "--json").stdout.splitlines()]  # fmt: skip
    told = [(e["service"], e["action"]) for e in lines]
    healthy = max(i for i, e in enumerate(told) if e == ("db", "health_status: healthy"))
    assert healthy < told.index(("app", "start"))


def test_a_failed_job_holds_back_its_dependents_on_restart_too(stack: Stack) -> None:
    """R-10."""
    stack.write(f"""
name: {stack.name}
services:
  job: {{image: pcompose/host, command: sh -c "test ! -e /data/fail", volumes: ["data:/data"]}}
  app:
    image: pcompose/host
    command: sleep infinity
    depends_on: {{job: {{condition: service_completed_successfully}}}}
volumes: {{data: }}
""")
    stack("up", "-d")
    stack("run", "--rm", "-T", "--no-deps", "job", "touch", "/data/fail")
    failed = stack("restart", ok=False)
    assert 'service "job" didn\'t complete successfully: exit 1' in failed.stderr
    assert stack.ps()[f"{stack.name}-app-1"]["State"] == "exited"


def test_up_again_and_again_with_runs_between_makes_nothing_again(stack: Stack) -> None:
    """R-33 and R-35."""
    stack.write(f"""
name: {stack.name}
services:
  a: {{image: pcompose/host, command: sleep infinity, env_file: a.env, volumes: [/anonymous]}}
  b: {{image: pcompose/host, command: sleep infinity, depends_on: [a]}}
""")
    stack.write("X=1\n", "a.env")
    stack("up", "-d")
    before = {name: row["ID"] for name, row in stack.ps().items()}
    for _ in range(2):
        stack("run", "--rm", "-T", "b", "true")
        stack("up", "-d")
    assert {name: row["ID"] for name, row in stack.ps().items()} == before
    stack.write("X=2\n", "a.env")
    again = stack("up", "-d").stderr
    assert 'recreate a: environment.X "1" -> "2"' in again
    after = {name: row["ID"] for name, row in stack.ps().items()}
    assert {name for name in after if after[name] != before[name]} == {f"{stack.name}-a-1"}


def test_grace_signal_and_timeout_are_each_honoured(stack: Stack) -> None:
    """R-44."""
    stack.write(f"""
name: {stack.name}
services:
  s:
    image: pcompose/host
    command: [sh, -c, "trap 'echo usr; sleep 0.5; exit 7' USR1; echo up; while :; do sleep 0.05; done"]
    stop_signal: SIGUSR1
    stop_grace_period: 20s
""")  # noqa: E501
    stack("up", "-d")
    eventually(lambda: stack.logs())
    stack("stop")
    assert [line.split("| ")[1] for line in stack.logs()] == ["up", "usr"]
    assert stack.ps()[f"{stack.name}-s-1"]["ExitCode"] == 7
    stack("start")
    eventually(lambda: len(stack.logs()) == 3)
    stack("stop", "-t", "0")
    assert stack.ps()[f"{stack.name}-s-1"]["ExitCode"] == 137


def test_interrupting_up_leaves_a_service_with_restart_always_down(stack: Stack) -> None:
    """R-45."""
    stack.write(f"""
name: {stack.name}
services:
  s: {{image: pcompose/host, command: sh -c "echo up; exec sleep infinity", restart: always}}
""")
    running = stack.start("up")
    assert running.stdout is not None
    while "| up" not in running.stdout.readline():
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=30)
    assert running.returncode == 130
    assert stack.ps()[f"{stack.name}-s-1"]["State"] == "exited"


def test_lines_of_what_is_restarted_or_made_again_go_on_in_an_attached_up(stack: Stack) -> None:
    """R-55 and R-57."""
    text = """
name: %s
services:
  a:
    image: pcompose/host
    command: [sh, -c, "echo first; trap 'printf last; exit' TERM; while :; do sleep 0.05; done"]
    environment: {N: "%s"}
  b: {image: pcompose/host, command: [sh, -c, "sleep 0.2; echo -n exiting; exit 1"], restart: "on-failure:1"}
"""  # noqa: E501
    stack.write(text % (stack.name, 1))
    shown = stack.directory / "shown"
    with shown.open("w") as out:
        running = stack.start("up", stdout=out)
        eventually(lambda: shown.read_text().count("b-1  | exiting") == 2)
        stack.write(text % (stack.name, 2))
        stack("up", "-d")
        eventually(lambda: shown.read_text().count("a-1  | first") == 2)
        stack("stop")
        running.communicate(timeout=30)
    lines = shown.read_text().splitlines()
    assert [line for line in lines if line.startswith("a-1  | ")] == [
        "a-1  | first", "a-1  | last", "a-1  | first", "a-1  | last"]
    assert {"b-1 exited with code 1 (restarting)", "a-1 has been recreated"} < set(lines)


def test_exec_takes_its_input_and_not_that_of_the_caller_s_script(stack: Stack) -> None:
    """R-58."""
    stack.write(f"name: {stack.name}\nservices: {{s: {{image: pcompose/host, "
                "command: sleep infinity, stop_signal: SIGKILL}}\n")
    stack("up", "-d")
    assert stack("exec", "-T", "s", "cat", input="hi\n").stdout == "hi\n"
    script = "pcompose exec -T s cat </dev/null\necho after\npcompose exec s tty || echo none\n"
    done = stack.sandbox.run(["bash"], input=script, cwd=stack.directory)
    assert done.stdout.splitlines() == ["after", "not a tty", "none"]


def test_orphans_go_and_what_another_file_has_made_stays(stack: Stack) -> None:
    """R-60."""
    service = "{image: pcompose/host, command: sleep infinity, stop_signal: SIGKILL}"
    stack.write(f"name: {stack.name}\nservices: {{a: {service}}}\n", "a.yaml")
    stack.write(f"name: {stack.name}\nservices: {{b: {service}}}\n", "b.yaml")
    stack("-f", "a.yaml", "up", "-d")
    stack("-f", "b.yaml", "up", "-d")
    stack("-f", "a.yaml", "run", "-T", "a", "true")
    assert len(stack.ps()) == 3
    done = stack("-f", "b.yaml", "up", "-d", "--remove-orphans")
    assert f"containers {stack.name}-a-1" in done.stderr
    stack("-f", "a.yaml", "up", "-d", "--remove-orphans")
    assert list(stack.ps()) == [f"{stack.name}-a-1", f"{stack.name}-b-1"]
    stack("-f", "a.yaml", "down", "--remove-orphans")
    assert list(stack.ps()) == [f"{stack.name}-b-1"]


def test_json_of_ps_is_an_object_a_line_whatever_there_is(stack: Stack) -> None:
    """R-62."""
    stack.write(f"name: {stack.name}\nservices:\n  a: &s {{image: pcompose/host, "
                "command: sleep infinity, stop_signal: SIGKILL}\n  b: *s\n")
    assert stack("ps", "--format", "json").stdout == ""
    for number, service in enumerate(("a", "b"), start=1):
        stack("up", "-d", service)
        rows = [json.loads(line) for line in stack("ps", "--format", "json").stdout.splitlines()]
        assert len(rows) == number
        assert all(row["State"] == "running" for row in rows)
