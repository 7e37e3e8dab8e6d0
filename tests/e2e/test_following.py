"""events, wait, scale and attach: what happens, until it ends, how many, and to be there."""

from __future__ import annotations

import json
import os
import pty
import select
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.sandbox import eventually

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

PAIR = """
services:
  job:
    image: pcompose/host
    command: sh -c 'trap "exit 3" TERM; touch /up; sleep infinity & wait'
    healthcheck: {test: ["CMD", "test", "-e", "/up"]}
    labels: {team: a}
  web:
    image: pcompose/host
    command: sleep infinity
    healthcheck: {test: ["CMD", "true"], interval: 1h}
"""


def test_events_are_told_as_they_happen_and_later_again(stack: Stack) -> None:
    stack.write(PAIR)
    p = ("-p", stack.name)
    follower = stack.start(*p, "events", "--json", "--until", "9999999999")
    stack(*p, "up", "-d", "--wait")
    stack(*p, "exec", "-T", "web", "true")
    stack(*p, "stop", "job")
    stack(*p, "run", "--rm", "-T", "web", "true")
    stack(*p, "down", "-t", "0", "web")
    told: list[dict[str, Any]] = []
    assert follower.stdout is not None
    while not told or (told[-1]["service"], told[-1]["action"]) != ("web", "destroy"):
        told.append(json.loads(follower.stdout.readline()))
    follower.terminate()
    follower.communicate()
    assert follower.returncode == 130

    def of(service: str) -> list[str]:
        return [event["action"] for event in told if event["service"] == service]

    actions = ["create", "start", "health_status: healthy", "kill", "die", "stop"]
    assert of("job") == actions
    web = of("web")
    assert web[:2] == ["create", "start"]
    assert sorted(web[2:6]) == sorted(
        ["health_status: healthy", "exec_create: true", "exec_start: true", "exec_die"]
    )
    assert web[-3:] == ["die", "stop", "destroy"]
    die = next(e for e in told if e["action"] == "die" and e["service"] == "job")
    assert die["type"] == "container"
    assert die["attributes"]["exitCode"] == "3"
    assert die["attributes"]["team"] == "a"
    assert not [key for key in die["attributes"] if key.startswith("com.docker.compose")]

    later = stack(*p, "events", "--since", "1h", "--until", "0s", "job").stdout.splitlines()
    assert [line.split()[2:4] for line in later if line] == [
        ["container", action.split()[0]] for action in actions
    ]
    assert later[1] == "", "an empty line after each, as elsewhere"


def test_wait_ends_with_the_last_one_and_scale_changes_numbers(stack: Stack) -> None:
    stack.write(PAIR)
    p = ("-p", stack.name)
    assert stack(*p, "wait", "job", ok=False).stderr.startswith(
        f'error: no containers for project "{stack.name}"'
    )
    assert "no such service: jo" in stack(*p, "wait", "jo", ok=False).stderr
    stack(*p, "up", "-d")
    plan = stack(*p, "scale", "web=2", "job=0", "--dry-run").stdout
    assert f"CreateContainer {stack.name}-web-2 (scale 1 -> 2)" in plan
    stack(*p, "scale", "web=2", "job=0")
    assert set(stack.ps()) == {f"{stack.name}-web-1", f"{stack.name}-web-2"}
    assert "no such service" in stack(*p, "scale", "nobody=1", ok=False).stderr
    for wrong in ("web", "web=x", "web=-1"):
        assert "invalid scale specifier: " in stack(*p, "scale", wrong, ok=False).stderr
    stack(*p, "scale", "job=1", "web=0")
    waiter = stack.start(*p, "wait", "--down-project", "job")
    eventually(lambda: "web-1" not in str(stack.ps()))
    id_ = stack("ps", "-q", "job").stdout.strip()
    stack(*p, "kill", "-s", "TERM", "job")
    out, err = waiter.communicate()
    assert (waiter.returncode, out) == (3, f'container "{id_}" exited with status code 3\n'), err
    assert stack.remains() == {}


CONSOLES = """
services:
  pipe:
    image: pcompose/host
    stdin_open: true
    command: >-
      sh -c 'trap "echo usr1" USR1; echo ready; while read line || [ $$? -gt 128 ]; do
      echo "got $$line"; echo err >&2; [ "$$line" = end ] && exit 5; done'
  terminal:
    image: pcompose/host
    stdin_open: true
    tty: true
    command: sh
  none:
    image: pcompose/host
    command: sleep infinity
"""


def test_attach_reaches_the_main_process_and_leaves_it_running(stack: Stack) -> None:
    stack.write(CONSOLES)
    p = ("-p", stack.name)
    stack(*p, "up", "-d")
    done = stack(*p, "attach", "pipe", input="one\nend\n", ok=False)
    assert (done.returncode, done.stdout) == (5, "got one\ngot end\n")
    assert done.stderr == "err\nerr\n"
    assert "not running" in stack(*p, "attach", "pipe", ok=False).stderr
    assert "invalid detach keys" in stack(*p, "attach", "--detach-keys", "x y", "none",
                                          ok=False).stderr  # fmt: skip

    pid, terminal = pty.fork()
    if not pid:
        os.chdir(stack.directory)
        argv = stack.sandbox.inside(["pcompose", *p, "attach", "--detach-keys", "ctrl-x,y",
                                     "terminal"])  # fmt: skip
        os.execvpe(argv[0], argv, stack.sandbox.environment)
    seen = b""

    def until(text: bytes) -> None:
        nonlocal seen
        while text not in seen:
            assert select.select([terminal], [], [], 20)[0], seen
            seen += os.read(terminal, 4096)

    os.write(terminal, b"echo $((40+2))\n")
    until(b"42\r\n")
    os.write(terminal, b"\x18y")
    until(b"Detached")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)
    assert stack.ps()[f"{stack.name}-terminal-1"]["State"] == "running"
