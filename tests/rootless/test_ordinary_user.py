"""Whole stacks of an ordinary user; skipped for root.  `make vm-test` runs them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Pcompose = Callable[..., str]

pytestmark = pytest.mark.skipif(os.geteuid() == 0, reason="is for ordinary users: make vm-test")

FILE = """
services:
  web:
    image: pcompose/host
    command: python3 -m http.server 8000
    working_dir: /srv
    mem_limit: 64m
    pids_limit: 50
    ports: ["127.0.0.1::8000"]
    volumes: ["data:/srv", "./here:/here"]
    healthcheck: {test: "true", interval: 1s}
  other:
    image: pcompose/host
    command: sleep 1000
    user: "33:33"
    init: true
    depends_on: {web: {condition: service_healthy}}
volumes: {data: {}}
"""


@pytest.fixture
def pcompose(tmp_path: Path) -> Iterator[Pcompose]:
    """The command in a project directory, with the user's own run-time directory (a socket and
    the namespaces stay there) and data below the test's directory."""
    (tmp_path / "here").mkdir()
    (tmp_path / "compose.yaml").write_text(FILE)
    package = str(Path(__file__).parents[2])
    environment = {
        **os.environ, "PCOMPOSE_DATA": str(tmp_path / "data"), "COMPOSE_PROJECT_NAME": "ordinary",
        "PYTHONPATH": f"{package}:{os.environ.get('PYTHONPATH', '')}",
    }  # fmt: skip

    def call(*words: str, errors: int = subprocess.PIPE) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator", *words], cwd=tmp_path, env=environment,
            stdout=subprocess.PIPE, stderr=errors, text=True, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    yield call
    call("down", "--volumes")
    assert not list((tmp_path / "data/projects").glob("*"))


def port(pcompose: Pcompose) -> str:
    return pcompose("port", "web", "8000").strip()


def test_a_stack_answers_on_the_host_and_by_name(pcompose: Pcompose) -> None:
    pcompose("up", "--detach", "--wait")
    pcompose("exec", "-T", "web", "sh", "-c", "echo written >/srv/index.html")
    with urllib.request.urlopen(f"http://{port(pcompose)}/") as page:
        assert page.read() == b"written\n"
    fetch = "import urllib.request as u; print(u.urlopen('http://web:8000/').read().decode())"
    assert pcompose("exec", "-T", "other", "python3", "-c", fetch).strip() == "written"
    assert "GET /" in pcompose("logs", "--no-color", "web", errors=subprocess.STDOUT)


def test_what_a_container_writes_is_the_users_own(pcompose: Pcompose, tmp_path: Path) -> None:
    pcompose("up", "--detach")
    pcompose("exec", "-T", "web", "touch", "/here/file")
    assert (tmp_path / "here/file").stat().st_uid == os.geteuid()


def test_another_user_of_a_container_is_one_of_the_subordinate_ids(pcompose: Pcompose) -> None:
    pcompose("up", "--detach")
    assert pcompose("exec", "-T", "other", "id", "-u").strip() == "33"
    outside = int(json.loads(pcompose("ps", "--format", "json", "other"))["Pid"])
    assert os.stat(f"/proc/{outside}").st_uid not in (0, 33, os.geteuid())


@pytest.mark.skipif(not shutil.which("systemctl"), reason="limits come through systemd")
def test_limits_are_those_of_the_users_manager(pcompose: Pcompose) -> None:
    pcompose("up", "--detach")
    read = ("cat", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/pids.max")
    assert pcompose("exec", "-T", "web", *read).split() == [str(64 << 20), "50"]


def test_containers_stop_and_start_again(pcompose: Pcompose) -> None:
    pcompose("up", "--detach")
    pcompose("stop", "--timeout", "1")
    rows = map(json.loads, pcompose("ps", "--all", "--format", "json").splitlines())
    assert {row["State"] for row in rows} == {"exited"}
    pcompose("start")
    rows = map(json.loads, pcompose("ps", "--format", "json").splitlines())
    assert {row["State"] for row in rows} == {"running"}


def test_a_container_does_not_get_out_of_its_place(pcompose: Pcompose) -> None:
    pcompose("up", "--detach")
    tries = "mount -t tmpfs x /mnt || echo 1 >/proc/sys/kernel/panic || ls /proc/1/root/home/user"
    command = ("exec", "-T", "web", "sh", "-c", f"({tries}) 2>/dev/null && echo out || echo held")
    assert pcompose(*command).strip() == "held"
