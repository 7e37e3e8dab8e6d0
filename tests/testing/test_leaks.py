"""However a run of tests ends, nothing of its stacks stays on the machine."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.sandbox import eventually

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.testing.suite import Suite

pytestmark = pytest.mark.e2e

GONE = 12
"""Seconds; on a machine of one's own five are plenty, and what is asked for."""
STACK = """
services:
  idle:
    image: pcompose/host
    command: sleep infinity
    volumes: ["data:/data"]
volumes: {data: }
"""
WAITS = """
import pathlib, time

def test_it(compose_project, compose_up):
    compose_up(text="services: {other: {image: pcompose/host, command: sleep infinity}}")
    pathlib.Path("ready").touch()
    time.sleep(100)
"""


def begun(suite: Suite, *arguments: str) -> subprocess.Popen[str]:
    """pytest in the middle of a test that has two stacks."""
    suite.write(**{"compose.yaml": STACK}, test_it=WAITS)
    running = suite.start(*arguments)
    eventually((suite.directory / "ready").exists, timeout=30, what="the test has begun")
    assert len(suite.remains()["cgroups"]) >= 2
    return running


def test_pytest_killed(suite: Suite) -> None:
    running = begun(suite)
    os.kill(running.pid, signal.SIGKILL)  # nsenter has become pytest
    eventually(lambda: not suite.remains(), timeout=GONE, what="nothing remains")
    running.communicate()


def test_pytest_and_all_supervisors_and_keepers_killed_at_once(suite: Suite) -> None:
    """The next run tidies up: nobody else is left to do it."""
    running = begun(suite)
    victims = [running.pid, *(int(p.split()[0]) for p in suite.remains()["processes"])]
    for pid in victims:
        os.kill(pid, signal.SIGSTOP)
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    running.communicate()
    assert suite.remains()
    suite.write(test_it="def test_it(compose_project): pass")
    suite.run()
    assert not suite.remains()


def test_ctrl_c(suite: Suite) -> None:
    running = begun(suite)
    os.kill(running.pid, signal.SIGINT)
    said, _ = running.communicate(timeout=60)
    assert "KeyboardInterrupt" in said
    assert not suite.remains()


@pytest.mark.parametrize("method", ["signal", "thread"])
def test_a_time_limit(suite: Suite, method: str) -> None:
    pytest.importorskip("pytest_timeout")
    suite.plugins = ("timeout",)
    running = begun(suite, "--timeout", "3", "--timeout-method", method)
    running.communicate(timeout=60)
    eventually(lambda: not suite.remains(), timeout=GONE, what="nothing remains")


def test_a_worker_that_crashes(suite: Suite) -> None:
    pytest.importorskip("xdist")
    suite.plugins = ("xdist",)
    suite.write(**{"compose.yaml": STACK}, test_it="""
import os, signal, pytest

@pytest.mark.parametrize("number", range(4))
def test_it(compose_project, number):
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    compose_project.exec("idle", "true")
""")
    said = suite.run("-n", "2", ok=False)
    assert "1 failed, 3 passed" in said
    eventually(lambda: not suite.remains(), timeout=GONE, what="nothing remains")


NAMES = """
import pathlib, time, pytest

@pytest.mark.parametrize("number", range(6))
@pytest.mark.compose("compose.yaml", scope="session", share=%r)
def test_it(compose_project, number, worker_id):
    time.sleep(0.2)
    compose_project.exec("idle", "touch", f"/data/{number}")
    with open("names.txt", "a") as file:
        file.write(f"{worker_id} {compose_project.name}\\n")
"""


def names(directory: Path) -> tuple[set[str], set[str]]:
    """(workers, stacks) that took part."""
    rows = [line.split() for line in (directory / "names.txt").read_text().splitlines()]
    return {row[0] for row in rows}, {row[1] for row in rows}


def test_workers_share_one_stack_or_have_one_each(suite: Suite) -> None:
    pytest.importorskip("xdist")
    suite.plugins = ("xdist",)
    for share in ("all", "worker"):
        suite.write(**{"compose.yaml": STACK, "names.txt": ""}, test_it=NAMES % share)
        suite.run("-n", "3", "--dist", "load")
        workers, stacks = names(suite.directory)
        assert len(workers) > 1
        assert len(stacks) == (1 if share == "all" else len(workers))
        assert not suite.remains()


KEPT = """
def test_it(compose_project):
    with open("ids", "w") as file:
        for container in compose_project.project.ps():
            print(container.record.service, container.record.id, file=file)
"""


def test_a_stack_that_is_kept_is_not_made_again(suite: Suite) -> None:
    two = STACK.replace("volumes: {data", "  other: {image: pcompose/host, command: sleep 1000}\n"
                        "volumes: {data")  # fmt: skip
    suite.write(**{"compose.yaml": two}, test_it=KEPT)

    def ids(keep: str = "10m") -> dict[str, str]:
        suite.run("--pcompose-keep", keep)
        lines = (suite.directory / "ids").read_text().splitlines()
        return dict(line.split() for line in lines)

    first = ids()
    assert ids() == first
    suite.write(**{"compose.yaml": two.replace("1000", "1001")})
    changed = ids(keep="1s")
    assert changed["idle"] == first["idle"]
    assert changed["other"] != first["other"]
    eventually(lambda: not suite.remains(), what="idle past its time it is gone")
