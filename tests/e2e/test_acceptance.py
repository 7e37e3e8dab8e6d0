"""What the reference's own end-to-end tests look at and no other test of ours does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.sandbox import eventually

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

SERVED = """
name: %s
services:
  web:
    image: pcompose/host
    command: [sh, -c, "echo $$HOSTNAME up; exec sleep infinity"]
    ports: ["80"]
    stop_signal: SIGKILL
  quiet: {image: pcompose/host, command: echo hidden, attach: false}
"""


def test_ports_hashes_and_whom_exec_prefers(stack: Stack) -> None:
    stack.write(SERVED % stack.name)
    stack("create")
    created = stack.ps()
    stack("create")
    assert {n: r["ID"] for n, r in stack.ps().items()} == {n: r["ID"] for n, r in created.items()}
    stack("up", "-d")
    labels = json.loads(stack("ps", "--format", "json", "web").stdout)["Labels"].split(",")
    wanted = stack("config", "--hash", "web").stdout.split()[1]
    assert f"com.docker.compose.config-hash={wanted}" in labels
    host, _, number = stack("port", "web", "80").stdout.strip().rpartition(":")
    assert host == "0.0.0.0"
    assert int(number) > 0

    one_off = stack("run", "-d", "-P", "--name", "other", "web", "sleep", "infinity")
    assert len(one_off.stdout.strip()) == 64
    rows = {r["Name"]: r for r in map(json.loads, stack("ps", "-a", "--format", "json")
                                      .stdout.splitlines())}  # fmt: skip
    published = [p["PublishedPort"] for p in rows["other"]["Publishers"]]
    assert published
    assert published != [int(number)]
    pid_1 = stack.execute("web", "cat", "/proc/1/cmdline")
    assert pid_1 == "sleep\0infinity\0"
    assert stack.execute("web", "hostname").strip() == rows[f"{stack.name}-web-1"]["ID"][:12]
    stack("kill", "--remove-orphans")


def test_followed_logs_take_in_a_new_replica_and_an_attached_up_hides_what_it_is_told(
    stack: Stack,
) -> None:
    stack.write(SERVED % stack.name)
    shown = stack.directory / "shown"
    with shown.open("w") as out:
        up = stack.start("up", stdout=out)
        eventually(lambda: "web-1  | " in shown.read_text())
        up.send_signal(2)
        up.communicate(timeout=30)
    assert "hidden" not in shown.read_text()
    assert "hidden" in "".join(stack.logs("quiet"))

    stack("up", "-d")
    with shown.open("w") as out:
        logs = stack.start("logs", "-f", "--no-color", "web", stdout=out)
        eventually(lambda: "web-1  | " in shown.read_text())
        stack("up", "-d", "--scale", "web=2")
        eventually(lambda: "web-2  | " in shown.read_text())
        stack("down")
        logs.communicate(timeout=30)
