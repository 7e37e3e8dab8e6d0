"""examples/webapp: postgres, redis, a Python application and nginx, on images made here; and
examples/quickstart on both images: of root, and of an ordinary user with the same files."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.e2e import ordinary
from tests.e2e.sandbox import eventually
from tests.source_tree import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.ordinary import Machine
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

EXAMPLE = ROOT / "examples/webapp"
CACHE = ROOT / ".cache/webapp"


needs_images = pytest.mark.skipif(shutil.which("mmdebstrap") is None,
                                  reason="needs mmdebstrap to make images")  # fmt: skip


def example(name: str, directory: Path) -> None:
    shutil.copytree(ROOT / "examples" / name, directory, dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns(".cache"))  # fmt: skip


@needs_images
def test_the_web_application_serves_survives_and_goes(stack: Stack) -> None:
    example("webapp", stack.directory)
    # The archive is fetched before the sandbox is entered: inside there is no network.
    environment = {**stack.sandbox.environment, "WEBAPP_CACHE": str(EXAMPLE / ".cache")}
    made = subprocess.run(["sh", "./make-images.sh"], cwd=stack.directory, timeout=600,
                          env=environment, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    stack("-p", stack.name, "up", "-d", "--wait")
    first = eventually(lambda: stack.fetch("http://127.0.0.1:8088/"), what="the page")
    second = stack.fetch("http://127.0.0.1:8088/")
    assert first != second  # the counter of redis went on
    assert "postgres" in first.lower()
    redis = stack.pid("redis")
    os.kill(redis, signal.SIGKILL)
    eventually(lambda: stack.pid("redis") not in (0, redis), what="redis restarted")
    eventually(lambda: stack.fetch("http://127.0.0.1:8088/"), what="the page after the restart")
    example("quickstart", stack.directory / "quickstart")
    stack.sandbox.environment["IMAGE"] = "webapp:12"
    quickstart = ("-p", f"{stack.name}q", "-f", "quickstart/compose.yaml")
    stack(*quickstart, "up", "-d", "--wait")
    assert "Hello from pcompose" in stack.fetch("http://127.0.0.1:8080/")
    stack(*quickstart, "down", "-v", "-t", "0")
    before = stack.ps()
    stack("-p", stack.name, "up", "-d", "--wait")
    assert {n: r["Pid"] for n, r in stack.ps().items()} == {n: r["Pid"] for n, r in before.items()}
    stack("-p", stack.name, "down", "-v")
    assert stack.remains() == {}


@needs_images
@ordinary.needs_ids
def test_an_ordinary_user_runs_the_same_files_on_both_images(machine: Machine) -> None:
    machine.give_ids()
    command = machine.home / "pcompose"
    command.write_text(f'#!/bin/sh\nexec {ordinary.PYTHON} -m orchestrator "$@"\n')
    command.chmod(0o755)
    for name in ("webapp", "quickstart"):
        example(name, machine.home / name)
    images = ["sh", "webapp/make-images.sh"]
    if not list((EXAMPLE / ".cache").glob("root-*.tar")):  # what takes root is made by root
        subprocess.run(images, cwd=EXAMPLE.parent, check=True, timeout=600,
                       env={**os.environ, "PCOMPOSE": "true"})  # fmt: skip
    environment = {"PCOMPOSE": str(command), "WEBAPP_CACHE": str(EXAMPLE / ".cache")}
    assert machine.user(*images, **environment).returncode == 0

    def serves(port: int) -> str:
        fetch = (ordinary.PYTHON, "-c", ordinary.FETCH, f"http://127.0.0.1:{port}/")
        return str(eventually(lambda: machine.user(*fetch).stdout, what="the page"))

    webapp = ("-f", "webapp/compose.yaml")
    machine.pcompose(*webapp, "up", "-d", "--wait")
    assert "postgres" in serves(8088).lower()
    machine.pcompose(*webapp, "down", "-v", "-t", "0")
    for image in ("webapp:12", "pcompose/host"):
        machine.pcompose("-f", "quickstart/compose.yaml", "up", "-d", "--wait", IMAGE=image)
        assert "Hello from pcompose" in serves(8080)
