"""`watch` and `up --watch` on running stacks."""

from __future__ import annotations

import json
import signal
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.sandbox import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import Popen

    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

FILE = """
name: %s
services:
  web:
    image: pcompose/host
    command: sh -c "mkdir -p /tmp/real; ln -sfn /tmp/real /tmp/conf; echo up; exec sleep infinity"
    user: "1234:1234"
    stop_signal: SIGKILL
    develop:
      watch:
        - {path: ./web, action: sync, target: /tmp/app, ignore: [skip/], initial_sync: true}
        - {path: ./conf, action: sync+restart, target: /tmp/conf}
        - {path: ./hot, action: sync+exec, target: /tmp/hot, exec: {command: [sh, -c, "cat /tmp/hot/*"]}}
  built:
    build: ./built
    command: sh -c "cat /words; exec sleep infinity"
    stop_signal: SIGKILL
    develop: {watch: [{path: ./built, action: rebuild}]}
"""  # noqa: E501


@contextmanager
def begun(stack: Stack, *arguments: str, **options: Any) -> Iterator[Popen[str]]:
    """A command beside the test, which it does not outlive."""
    process = stack.start(*arguments, **options)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def seen_from_outside(stack: Stack, path: str) -> bool:
    return bool(stack.sandbox.run(["test", "-e", path]).returncode == 0)


def test_saves_reach_containers_and_logs_go_on(stack: Stack) -> None:
    stack.write(FILE % stack.name)
    stack.write("FROM pcompose/host\nCOPY words /words\n", "built/Dockerfile")
    stack.write("notes\n", "built/.dockerignore")
    stack.write("one\n", "built/words")
    stack.write("there before\n", "web/old")
    stack.write("no\n", "web/skip/file")
    for name in ("conf", "hot"):
        (stack.directory / name).mkdir()
    shown = stack.directory / "shown"

    def lines() -> list[str]:
        return shown.read_text().splitlines()

    with shown.open("w") as out, begun(stack, "up", "--watch", stdout=out) as up:
        eventually(lambda: any("Watch enabled" in line for line in lines()), timeout=60)
        assert stack.execute("web", "sh", "-c", "ls /tmp/app; stat -c %u /tmp/app/old") == \
            "old\n1234\n"
        second = stack("watch", "--no-up", ok=False)
        assert "cannot take exclusive lock for project" in second.stderr

        # each of these is seen, however busy the machine is
        (stack.directory / "web" / "sub").mkdir()
        stack.write("new\n", "web/sub/new")
        eventually(lambda: stack("exec", "-T", "web", "cat", "/tmp/app/sub/new",
                                 ok=False).stdout == "new\n")  # fmt: skip
        (stack.directory / "web" / "old").rename(stack.directory / "web" / "renamed")
        eventually(lambda: stack.execute("web", "ls", "/tmp/app") == "renamed\nsub\n")

        burst = stack.directory / "burst"
        burst.mkdir()
        for number in range(500):
            (burst / str(number)).write_text("x")
        burst.rename(stack.directory / "web" / "burst")
        eventually(lambda: stack.execute("web", "sh", "-c", "ls /tmp/app/burst | wc -l") == "500\n")
        assert len([line for line in lines() if "after 500 changes were detected" in line]) == 1

        stack.write("hello\n", "hot/file")
        eventually(lambda: any(line.endswith("web-1 -> | hello") for line in lines()))

        pid = stack.pid("web")
        stack.write("x", "conf/file")
        eventually(lambda: stack.pid("web") not in (0, pid))
        eventually(lambda: lines().count("web-1    | up") == 2)
        assert stack.execute("web", "ls", "/tmp/real") == "file\n"

        web = stack.pid("web")
        stack.write("not for the build\n", "built/notes")
        stack.write("two\n", "built/words")
        eventually(lambda: "built-1  | two" in lines(), timeout=60)
        assert stack.pid("web") == web
        assert any(line.endswith('service(s) ["built"] successfully built') for line in lines())
        images = [json.loads(line) for line in stack(
            "images", "-a", "--format", "{{json .}}").stdout.splitlines()]  # fmt: skip
        assert [i for i in images if i["Repository"] == "<none>"] == []

        up.send_signal(signal.SIGINT)
        up.communicate(timeout=60)
    assert up.returncode == 130
    assert any("Watch disabled" in line for line in lines())


def test_a_save_is_seen_at_once(stack: Stack) -> None:
    stack.write((FILE % stack.name).split("  built:")[0])
    for name in ("web", "conf", "hot"):
        (stack.directory / name).mkdir()
    shown = stack.directory / "shown"
    with shown.open("w") as out, begun(stack, "watch", stdout=out, stderr=out) as watch:
        eventually(lambda: "Watch enabled" in shown.read_text())
        root = f"/proc/{stack.pid('web')}/root/tmp/app"
        fastest = 10.0
        for number in range(10):
            began = time.monotonic()
            stack.write("x", f"web/{number}")
            eventually(partial(seen_from_outside, stack, f"{root}/{number}"))
            fastest = min(fastest, time.monotonic() - began)
        watch.send_signal(signal.SIGINT)
        watch.communicate(timeout=30)
    assert watch.returncode == 130
    assert fastest < 0.1
