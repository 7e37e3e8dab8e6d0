"""`podman --runtime pcompose-oci`: run, exec, logs, stop, rm, with an image made here."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.bundle import COMMAND
from tests.runtime.kept import eventually

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("podman") is None, reason="podman is not installed"),
]
IMAGE = "localhost/links:latest"


class Podman:
    """Podman with storage, state and configuration of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        runtime = root / "pcompose-oci"
        words = shlex.join(COMMAND)
        runtime.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        runtime.chmod(0o755)
        conf = root / "containers.conf"
        # What this machine's root may not raise, no runtime can.
        conf.write_text('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n')
        self.environment = {**os.environ, "CONTAINERS_CONF": str(conf)}
        self.words = [
            "podman", "--root", f"{root}/storage", "--runroot", f"{root}/run", "--tmpdir",
            f"{root}/tmp", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs",
            "--events-backend", "file", "--runtime", str(runtime)]  # fmt: skip

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self.words, *words], capture_output=True, text=True, check=False,
                              timeout=120, stdin=subprocess.DEVNULL, env=self.environment)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self("run", "--network", "none", "--volume", "/usr:/usr:ro", *words)

    def text(self, *words: str) -> str:
        done = self(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    root = tmp_path_factory.mktemp("podman")
    archive = root / "rootfs.tar"
    with tarfile.open(archive, "w") as tar:
        for name in ("usr", "tmp", "etc", "dev", "proc", "sys"):
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(member)
        for name in ("bin", "sbin", "lib", "lib64"):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, f"usr/{name}"
            tar.addfile(member)
    found = Podman(root)
    found.text("import", str(archive), IMAGE)
    yield found
    found("rm", "--all", "--force", "--time", "0")
    found("rmi", "--all", "--force")


def test_a_container_runs_and_its_exit_code_comes_back(podman: Podman) -> None:
    done = podman.run("--rm", IMAGE, "sh", "-c", "id -u; exit 7")
    assert (done.returncode, done.stdout) == (7, "0\n"), done.stderr
    assert podman.run("--rm", IMAGE, "nonexistent").returncode == 127
    assert podman.run("--rm", IMAGE, "/etc").returncode == 126


def test_exec_logs_pause_stop_and_remove(podman: Podman) -> None:
    script = "trap 'exit 3' TERM; echo hello; while :; do sleep 0.1; done"
    done = podman.run("--detach", "--name", "c", IMAGE, "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    eventually(lambda: podman.text("logs", "c") == "hello")
    assert podman.text("exec", "--env", "A=b", "c", "sh", "-c", "echo $A") == "b"
    assert podman("exec", "c", "sh", "-c", "exit 5").returncode == 5
    assert podman("exec", "c", "nonexistent").returncode == 127
    podman.text("pause", "c")
    assert podman.text("inspect", "--format", "{{.State.Status}}", "c") == "paused"
    podman.text("unpause", "c")
    podman.text("stop", "--time", "30", "c")
    state = json.loads(podman.text("inspect", "c"))[0]["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 3)
    podman.text("rm", "c")


def test_what_a_container_is_given_it_has(podman: Podman) -> None:
    script = ("id -u; cat /proc/self/status | grep CapEff; hostname; ulimit -n; "
              "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; "
              "touch /x 2>/dev/null || echo read-only; tty; stat -c %a /tmp/t")  # fmt: skip
    done = podman.run(
        "--rm", "--user", "1000", "--hostname", "web", "--cap-drop", "all", "--ulimit",
        "nofile=100:200", "--ulimit", "nproc=99:99", "--pids-limit", "50", "--read-only",
        "--tmpfs", "/tmp/t:mode=711", IMAGE, "sh", "-c", script)  # fmt: skip
    assert done.stdout.splitlines() == [
        "1000", "CapEff:\t0000000000000000", "web", "100", "50", "read-only", "not a tty", "711",
    ], done.stderr


def test_a_terminal_and_a_user_namespace(podman: Podman) -> None:
    done = podman.run("--rm", "--tty", IMAGE, "sh", "-c", "tty; ls /dev/console")
    assert done.stdout.split() == ["/dev/pts/0", "/dev/console"], done.stderr
    done = podman.run(
        "--rm", "--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536", IMAGE,
        "sh", "-c", "id -u; cat /proc/self/uid_map; ls /sys/kernel | grep -c .; : > /dev/null")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:4] == ["0", "0", "100000", "65536"]
