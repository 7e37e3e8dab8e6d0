"""Podman with a place of its own, as the other program that reads and writes images."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")
"""What it would give a container may be more than this machine's root may raise."""


class Podman:
    """A context manager; its place is a short path, since it refuses long ones."""

    def __enter__(self) -> Self:
        self._place = tempfile.TemporaryDirectory(prefix="p")
        place = self._place.name
        self._words = ["podman", "--root", f"{place}/s", "--runroot", f"{place}/r", "--tmpdir",
                       f"{place}/t", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs",
                       "--events-backend", "file", "--runtime", "runc"]  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._place.cleanup()

    def __call__(self, *words: str, cwd: Path | None = None) -> str:
        """What the command prints; asserts that it succeeds."""
        done = subprocess.run([*self._words, *words], capture_output=True, text=True, cwd=cwd,
                              check=False, timeout=120, stdin=subprocess.DEVNULL)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def id_of(self, image: str) -> str:
        return "sha256:" + self("image", "inspect", "-f", "{{.Id}}", image)
