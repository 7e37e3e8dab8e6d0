"""A docker daemon in namespaces of its own, where one is installed."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.e2e.sandbox import Sandbox, eventually

GROUPS = Path("/sys/fs/cgroup")


class Docker:
    """A context manager; its files are gone afterwards, and the control groups that it made."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def __enter__(self) -> Self:
        self._place = tempfile.TemporaryDirectory(prefix="d", ignore_cleanup_errors=True)
        place = self._place.name
        self._host, self._group = f"unix://{place}/sock", f"docker-{os.path.basename(place)}"
        self._daemon = subprocess.Popen(
            self._sandbox.inside(["dockerd", "--data-root", f"{place}/data", "--exec-root",
                                  f"{place}/exec", "--pidfile", f"{place}/pid", "-H", self._host,
                                  "--cgroup-parent", self._group,
                                  "--iptables=false", "--ip6tables=false", "--bridge=none"]),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        eventually(lambda: self._run("version").returncode == 0, timeout=60, what="it answers")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._daemon.terminate()
        self._daemon.wait()
        eventually(self._without_groups, what="its control groups are gone")
        self._place.cleanup()

    def _without_groups(self) -> bool:
        """Whether they are gone, which a process that has not quite ended hinders."""
        found = [Path(directory) for top in GROUPS.glob(f"*/{self._group}")
                 for directory, _, _ in os.walk(top, topdown=False)]  # fmt: skip
        for directory in found:
            with suppress(OSError):
                directory.rmdir()
        return not found

    def __call__(self, *words: str, cwd: Path | None = None) -> str:
        """What the command prints; asserts that it succeeds."""
        done = self._run(*words, cwd=cwd)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def _run(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**self._sandbox.environment, "DOCKER_BUILDKIT": "1"}
        inside = ["env", "-C", str(cwd or "/"), "docker"]  # in the namespace's own directory tree
        return self._sandbox.run([*inside, "-H", self._host, *words], env=environment)

    def id_of(self, image: str) -> str:
        return self("image", "inspect", "-f", "{{.Id}}", image)

    def build(self, directory: Path, tag: str, args: Mapping[str, str]) -> None:
        """Build with BuildKit."""
        given = [f"--build-arg={name}={value}" for name, value in args.items()]
        self("build", "--network", "none", "-t", tag, *given, ".", cwd=directory)
