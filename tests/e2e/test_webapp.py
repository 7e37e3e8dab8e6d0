"""examples/webapp: postgres, redis, a Python application and nginx, on images made here."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.e2e.sandbox import eventually
from tests.source_tree import ROOT

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

EXAMPLE = ROOT / "examples/webapp"
CACHE = ROOT / ".cache/webapp"


@pytest.mark.skipif(shutil.which("mmdebstrap") is None, reason="needs mmdebstrap to make images")
def test_the_web_application_serves_survives_and_goes(stack: Stack) -> None:
    ignored = shutil.ignore_patterns(".cache")
    shutil.copytree(EXAMPLE, stack.directory, dirs_exist_ok=True, ignore=ignored)
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
    before = stack.ps()
    stack("-p", stack.name, "up", "-d", "--wait")
    assert {n: r["Pid"] for n, r in stack.ps().items()} == {n: r["Pid"] for n, r in before.items()}
    stack("-p", stack.name, "down", "-v")
    assert stack.remains() == {}
