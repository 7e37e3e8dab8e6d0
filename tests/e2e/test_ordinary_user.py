"""An ordinary user of this machine, with one id and without systemd, and a stack of theirs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.source_tree import ROOT

pytestmark = pytest.mark.e2e

USER = 61234
PYTHON = "/usr/bin/python3"
"""Ours may be in a directory of root's."""
FILE = """
name: ordinary
services:
  web: {image: pcompose/host, command: python3 -m http.server 8000, working_dir: /srv,
        volumes: ["data:/srv", "./here:/here"], healthcheck: {test: "true"}}
  other: {image: pcompose/host, command: sleep 1000, init: true,
          depends_on: {web: {condition: service_healthy}}}
volumes: {data: }
"""
PATH = f"{ROOT}:{Path(yaml.__file__).parents[1]}"
FETCH = "import urllib.request as u; print(u.urlopen('http://web:8000/f').read().decode())"
Pcompose = Callable[..., str]


def as_user(*command: str) -> list[str]:
    """In a network namespace of its own: nothing gets out."""
    become = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *command]
    return ["unshare", "--net", "--", *become]


def is_reachable() -> bool:
    """Whether the user may read our code."""
    command = as_user(PYTHON, "-c", "import orchestrator.dataclass, yaml")
    environment = {**os.environ, "PYTHONPATH": PATH}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


@pytest.fixture
def pcompose() -> Iterator[Pcompose]:
    if os.geteuid() or shutil.which("setpriv") is None or not is_reachable():
        pytest.skip("root is needed, setpriv, and a checkout that others can read")
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o755)
        (home / "compose.yaml").write_text(FILE)
        for part in ("run", "here"):
            (home / part).mkdir()
            os.chown(home / part, USER, USER)
        os.chown(home, USER, USER)
        environment = {"PATH": os.environ["PATH"], "HOME": name, "PYTHONPATH": PATH,
                       "XDG_RUNTIME_DIR": f"{name}/run"}  # fmt: skip

        def call(*words: str) -> str:
            done = subprocess.run(
                as_user(PYTHON, "-m", "orchestrator", *words), cwd=home, text=True,
                env=environment, capture_output=True, check=False, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
            return done.stdout

        try:
            yield call
            call("down", "--volumes", "--timeout", "0")
        finally:
            end_holder(home / "run/pcompose/rootless/holder.json")


def end_holder(record: Path) -> None:
    """The process that holds the user's namespaces stays until it is told: it is our child's."""
    inside = int(json.loads(record.read_text())["pid"])
    holder = int(Path(f"/proc/{inside}/stat").read_text().rpartition(")")[2].split()[1])
    descriptor = os.pidfd_open(holder)
    signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    import select

    assert select.select([descriptor], [], [], 20)[0], "the holder does not end"
    os.close(descriptor)


def test_a_stack_of_an_ordinary_user_works(pcompose: Pcompose) -> None:
    pcompose("up", "--detach")
    pcompose("exec", "-T", "web", "sh", "-c", "echo written >/srv/f; touch /here/mine")
    assert pcompose("exec", "-T", "other", "python3", "-c", FETCH).strip() == "written"
    pcompose("stop", "--timeout", "0", "other")
    pcompose("start", "other")
    rows = [json.loads(line) for line in pcompose("ps", "--format", "json").splitlines()]
    assert {row["Service"]: row["State"] for row in rows} == {"web": "running", "other": "running"}
    tries = "mount -t tmpfs x /mnt || echo 1 >/proc/sys/kernel/panic"
    command = f"({tries}) 2>/dev/null && echo out || echo held"
    assert pcompose("exec", "-T", "web", "sh", "-c", command).strip() == "held"
