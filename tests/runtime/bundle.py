"""OCI bundles in a temporary directory, and `pcompose-oci` called on them as engines call it."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.linux.cgroupfs import Hierarchy
from orchestrator.runtime.oci.template import template
from tests.runtime.kept import eventually, make_rootfs
from tests.source_tree import ROOT

Config = dict[str, Any]  # JSON has no narrower type

COMMAND = [sys.executable, "-SE", "-c",
           f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
           "from orchestrator.runtime.oci.main import command_line; command_line()"]  # fmt: skip


class Bundles:
    """A state directory, a root file system of links into the host's /usr, and containers made of
    them; `close` sees that nothing is left."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rootfs = make_rootfs(root / "rootfs")
        self.state_root = root / "state"
        self.used: set[str] = set()

    def config(self, *argv: str, change: Callable[[Config], None] | None = None) -> Config:
        """The template, without terminal, with /usr of the host, and what the test changes."""
        config = copy.deepcopy(template())
        config["process"] |= {"terminal": False, "args": list(argv)}
        config["root"] = {"path": str(self.rootfs)}
        config["mounts"].insert(0, {"destination": "/usr", "source": "/usr", "type": "bind",
                                    "options": ["rbind", "ro"]})
        if change is not None:
            change(config)
        return config

    def write(self, name: str, config: Config | str) -> Path:
        bundle = self.root / "bundles" / name
        bundle.mkdir(parents=True, exist_ok=True)
        text = config if isinstance(config, str) else json.dumps(config)
        (bundle / "config.json").write_text(text)
        return bundle

    def call(
        self, *words: str, pass_fds: tuple[int, ...] = (), log: str = "", **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """One call of the command line."""
        given = ["--log", log, "--log-format", "json"] if log else []
        return subprocess.run(
            [*COMMAND, "--root", str(self.state_root), *given, *words], text=True, check=False,
            capture_output=True, timeout=60, stdin=subprocess.DEVNULL, pass_fds=pass_fds, **options)

    def run(self, name: str, config: Config, *words: str) -> subprocess.CompletedProcess[str]:
        """`run` in the foreground."""
        self.used.add(name)
        return self.call("run", "--bundle", str(self.write(name, config)), *words, name)

    def sh(self, name: str, script: str, change: Callable[[Config], None] | None = None) -> str:
        """What a shell script in a container prints; it must succeed."""
        done = self.run(name, self.config("/bin/sh", "-c", script, change=change))
        assert done.returncode == 0, done.stderr
        return done.stdout.rstrip("\n")

    def create(
        self, name: str, config: Config | str, *words: str, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """`create`, its output in files as nobody may wait for the container's end."""
        self.used.add(name)
        bundle = self.write(name, config)
        with open(bundle / "out", "w") as out, open(bundle / "err", "w") as err:
            done = subprocess.run(
                [*COMMAND, "--root", str(self.state_root), "create", "--bundle", str(bundle),
                 *words, name],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, check=False, timeout=60,
                **options)  # fmt: skip
        return subprocess.CompletedProcess(
            done.args, done.returncode, (bundle / "out").read_text(), (bundle / "err").read_text())

    def output(self, name: str) -> str:
        """What a created container has printed."""
        return (self.root / "bundles" / name / "out").read_text()

    def start(self, name: str, config: Config, *words: str) -> None:
        """`create` and `start`, both without a fault."""
        done = self.create(name, config, *words)
        assert done.returncode == 0, done.stderr
        done = self.call("start", name)
        assert done.returncode == 0, done.stderr

    def state(self, name: str) -> Config:
        done = self.call("state", name)
        assert done.returncode == 0, done.stderr
        state: Config = json.loads(done.stdout)
        return state

    def status(self, name: str) -> str:
        return str(self.state(name)["status"])

    def wait(self, name: str) -> None:
        """Until it has stopped."""
        eventually(lambda: self.status(name) == "stopped")

    def groups(self, name: str) -> list[str]:
        """The directories of its cgroups that are there."""
        paths = Hierarchy.detect().group_paths(f"pcompose-oci/{name}", ["memory", "cpu", "pids"])
        return [path for path in paths.values() if os.path.exists(path)]

    def leftovers(self) -> list[str]:
        """State, cgroups and mounts of this test."""
        states = [str(path) for path in self.state_root.glob("*")]
        mounts = [line for line in Path("/proc/mounts").read_text().splitlines()
                  if str(self.root) in line]
        return states + mounts + [path for name in self.used for path in self.groups(name)]

    def close(self) -> None:
        for name in self.used:
            self.call("delete", "--force", name)
        assert self.leftovers() == []
