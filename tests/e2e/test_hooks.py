"""Hooks run where, when and as whom they should; a failing one says what it said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

GOOD = """
services:
  web:
    image: pcompose/host
    command: sleep infinity
    scale: 2
    volumes: [data:/data]
    environment: {WHO: service, BOTH: service}
    pre_start:
      - command: sh -c 'echo pre $$WHO $$BOTH $$EXTRA >> /data/told'
        environment: {BOTH: hook, EXTRA: more}
      - command: sh -c 'echo second >> /data/told'
    post_start:
      - command: sh -c 'echo post $$(id -u) $$PWD $$WHO $$BOTH >> /data/told'
        user: nobody:nogroup
        privileged: true
        working_dir: /tmp
        environment: {BOTH: hook}
    pre_stop:
      - command: sh -c 'echo stopping >> /data/told'
  last:
    image: pcompose/host
    command: sh -c 'cat /data/told; exec sleep infinity'
    volumes: [data:/data]
    depends_on: [web]
volumes: {data: {}}
"""


def test_hooks_run_once_for_the_service_after_each_start_and_before_each_stop(stack: Stack) -> None:
    stack.write(GOOD.replace("nobody:nogroup", "root"))
    p = ("-p", stack.name)

    def told() -> list[str]:
        return stack.execute("last", "cat", "/data/told").splitlines()

    stack(*p, "up", "-d")
    pre, post = ["pre service hook more", "second"], ["post 0 /tmp service hook"] * 2
    assert told() == [*pre, *post]
    assert [n for n in stack.ps() if "pre_start" in n] == []
    assert stack.logs("--no-log-prefix", "last") == told(), "a dependent waits for the hooks"

    stack(*p, "up", "-d")
    assert told() == [*pre, *post], "nothing is started, so nothing is run"
    stack(*p, "up", "-d", "--scale", "web=3")
    assert told() == [*pre, *post, post[0]], "one runs: pre_start is not run again"
    stack(*p, "up", "-d", "--force-recreate", "--no-deps", "web")
    assert told()[5:] == [*pre, *post], "no pre_stop where a container is replaced"
    stack(*p, "restart", "web")
    assert told()[9:] == ["stopping"] * 2 + post, "a restart has no pre_start"
    stack(*p, "stop", "web")
    assert told()[13:] == ["stopping"] * 2
    stack(*p, "start", "web")
    assert told()[15:] == [*pre, *post]
    stack(*p, "run", "--rm", "-T", "web", "sleep", "0.3")
    assert told()[19:] == [post[0]], "run has post_start only"
    stack(*p, "down")
    seen = stack(*p, "run", "--rm", "-T", "--no-deps", "last", "tail", "-n", "2", "/data/told")
    assert seen.stdout.splitlines() == ["stopping"] * 2


FAILING = """
services:
  web:
    image: pcompose/host
    command: sleep infinity
    pre_start: [{command: "sh -c 'echo out; echo no database >&2; exit CODE_PRE'"}]
    post_start: [{command: "sh -c 'seq 20; echo post failed; exit CODE_POST'"}]
    pre_stop: [{command: "sh -c 'echo not now; exit CODE_STOP'"}]
  last: {image: pcompose/host, command: sleep infinity, depends_on: [web]}
"""


def write(stack: Stack, pre: int, post: int, stop: int) -> None:
    text = FAILING.replace("CODE_PRE", str(pre)).replace("CODE_POST", str(post))
    stack.write(text.replace("CODE_STOP", str(stop)))


def test_a_failing_hook_fails_the_command_and_tells_its_output(stack: Stack) -> None:
    p, web, hook = ("-p", stack.name), f"{stack.name}-web-1", f"{stack.name}-web-1-pre_start-0"
    write(stack, 3, 0, 0)
    done = stack(*p, "up", "-d", ok=False)
    assert done.returncode == 1
    assert f"{web}: pre_start[0] hook exited with status 3 (compose.yaml:6):" in done.stderr
    assert "    no database\n" in done.stderr
    assert "    out\n" not in done.stderr, "what it wrote to standard error says more"
    assert "is kept for inspection" in done.stderr
    states = {name: row["State"] for name, row in stack.ps().items()}
    assert states == {web: "created", hook: "exited", f"{stack.name}-last-1": "created"}

    write(stack, 0, 4, 0)
    done = stack(*p, "up", ok=False)
    assert done.returncode == 1
    assert f"{web}: post_start[0] hook exited with status 4 (compose.yaml:7):" in done.stderr
    assert "    12\n" in done.stderr
    assert "    11\n" not in done.stderr, "ten lines are enough"
    assert "web-1 -> | 3\n" in done.stdout, "attached: all of it is shown as it comes"
    states = {name: row["State"] for name, row in stack.ps().items()}
    assert states == {web: "running", f"{stack.name}-last-1": "created"}, "the hook's is cleared"

    write(stack, 0, 0, 5)
    stack(*p, "up", "-d")
    for verb in ("stop", "restart", "down"):
        done = stack(*p, verb, ok=False)
        assert done.returncode == 1
        assert f"{web}: pre_stop[0] hook exited with status 5 (compose.yaml:8):" in done.stderr
    assert stack.ps()[web]["State"] == "running"
    stack(*p, "kill", "web")
    stack(*p, "down")
    assert stack.remains() == {}


def test_an_interrupted_hook_is_ended_and_down_clears_it_away(stack: Stack) -> None:
    stack.write("""
services:
  web:
    image: pcompose/host
    command: sleep infinity
    post_start: [{command: sleep 4711}]
  job:
    image: pcompose/host
    command: sleep infinity
    pre_start: [{command: sleep 4712}]
""")
    from tests.e2e.sandbox import eventually

    def running(seconds: str) -> bool:
        done = stack.sandbox.run(["pgrep", "-fx", f"sleep {seconds}"])
        return bool(done.stdout)

    up = stack.start("-p", stack.name, "up", "-d")
    eventually(lambda: running("4711") and running("4712"), what="both hooks")
    up.terminate()
    up.communicate()
    eventually(lambda: not running("4711") and not running("4712"), what="no hook")
    assert up.returncode == 130
    stack("-p", stack.name, "down", "-t", "0")
    assert stack.remains() == {}
