"""A test suite of a user, run with the plugin in a sandbox of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import leftovers

if TYPE_CHECKING:
    from tests.e2e.sandbox import Sandbox

PLUGIN = "orchestrator.testing.plugin"
IS_INSTALLED = any(e.value == PLUGIN for e in entry_points(group="pytest11"))
"""Not where the package was installed before it had the plugin."""

OTHERS = ("randomly", "asyncio", "xdist", "timeout")
"""Plugins of others that are installed with the development tools."""


@dataclass
class Suite:
    """A directory with tests, and the command that runs them."""

    sandbox: Sandbox
    directory: Path
    plugins: tuple[str, ...] = ()
    """Of OTHERS, those that take part."""
    keeps_ini: bool = False
    """It has a pytest.ini of its own."""

    def write(self, **files: str) -> None:
        """`name="text"` makes name.py; other names are given as `{"compose.yaml": text}`."""
        for name, text in files.items():
            path = self.directory / (name if "." in name else f"{name}.py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def command(self, *arguments: str) -> list[str]:
        if not self.keeps_ini:
            (self.directory / "pytest.ini").write_text("[pytest]\n")
        off = [f"no:{name}" for name in ("cacheprovider", *OTHERS) if name not in self.plugins]
        plugins = [*off, *([] if IS_INSTALLED else [PLUGIN])]
        words = [word for plugin in plugins for word in ("-p", plugin)]
        return self.sandbox.inside([sys.executable, "-m", "pytest", *words, *arguments])

    @property
    def environment(self) -> dict[str, str]:
        own = {k: v for k, v in self.sandbox.environment.items() if not k.startswith("PYTEST_")}
        return {**own, "PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(self.temporary)}

    @property
    def temporary(self) -> Path:
        path = self.sandbox.directory / "tmp"
        path.mkdir(exist_ok=True)
        return path

    def run(self, *arguments: str, ok: bool = True) -> str:
        """What pytest says; asserts that all tests passed where `ok`, else that not all did."""
        done = subprocess.run(
            self.command(*arguments), cwd=self.directory, env=self.environment, text=True,
            capture_output=True, check=False, timeout=400,
        )  # fmt: skip
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """pytest beside the test, the leader of a session of its own."""
        return subprocess.Popen(
            self.command(*arguments), cwd=self.directory, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def remains(self) -> dict[str, Any]:
        """What is left of any stack; empty when all of them are gone."""
        assert self.sandbox.holder is not None
        base, pid = str(self.sandbox.directory), self.sandbox.holder.pid
        interfaces = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
        found: dict[str, Any] = {
            "cgroups": [c for c in leftovers.cgroups() if f"-pt-{self.directory.name}-" in c],
            "interfaces": [n for n in (i.split(":")[0].strip() for i in interfaces) if n != "lo"],
            "mounts": [m for m in leftovers.mounts(str(pid)) if base in m],
            "processes": [p for p in leftovers.processes() if base in p],
            "temporary": [n for n in os.listdir(self.temporary) if n != "pytest-of-root"],
        }
        for part in ("run/projects", "data/projects", "data/volumes", "data/networks"):
            inside = Path(base, part)
            found[part] = [
                p.name for p in (inside.iterdir() if inside.is_dir() else ()) if p.name != "lock"
            ]
        return {kind: what for kind, what in found.items() if what}
