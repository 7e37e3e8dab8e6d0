"""A throw-away network and mount namespace in which the real `pcompose` command runs.

Nothing a stack does can reach the machine's own interfaces: the namespace has only a loopback
device, and everything pcompose keeps lies below a temporary directory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests import leftovers

if TYPE_CHECKING:
    from collections.abc import Callable

FOREIGN = ("COMPOSE_", "PCOMPOSE_", "PYTHONDONTWRITEBYTECODE")
"""Variables of the caller that would change what is tested; bytecode is part of the speed."""

HOLD = """
import fcntl, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 1 | 64))
print("ready", flush=True)
sys.stdin.read()
"""
INTERFACES = "import socket, json; print(json.dumps([n for _, n in socket.if_nameindex()]))"
FETCH = (
    "import sys, urllib.request as u;"
    "sys.stdout.write(u.urlopen(sys.argv[1], timeout=5).read().decode())"
)


def eventually(check: Callable[[], Any], *, timeout: float = 15, what: str = "") -> Any:
    """The first true value of `check`; asserts that it comes within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout} s: {what or check}"
        time.sleep(0.02)


@dataclass
class Sandbox:
    """Namespaces held open by a process that ends with its standard input."""

    directory: Path
    holder: subprocess.Popen[str] | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PCOMPOSE_DATA": str(self.directory / "data"),
            "PCOMPOSE_RUN": str(self.directory / "run"),
        }
        self.holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation", "private", "--",
             sys.executable, "-c", HOLD],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *details: object) -> None:
        assert self.holder is not None
        self.holder.communicate()

    def inside(self, argv: list[str]) -> list[str]:
        """The command line that runs `argv` in the namespaces, keeping the directory."""
        assert self.holder is not None
        return ["nsenter", "--target", str(self.holder.pid), "--net", "--mount",
                "--wd=.", "--", *argv]  # fmt: skip

    def run(self, argv: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run to the end, output captured as text."""
        options = {"capture_output": True, "text": True, "check": False, "timeout": 120,
                   "env": self.environment, **options}  # fmt: skip
        return subprocess.run(self.inside(argv), **options)


@dataclass
class Stack:
    """A project directory with a Compose file, driven through the installed command."""

    sandbox: Sandbox
    directory: Path
    name: str

    def write(self, text: str, file: str = "compose.yaml") -> Path:
        path = self.directory / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def __call__(
        self, *arguments: str, ok: bool = True, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """`pcompose ARGUMENTS` in the project directory; asserts exit code 0 if `ok`."""
        options.setdefault("cwd", self.directory)
        done = self.sandbox.run(["pcompose", *arguments], **options)
        if ok:
            assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}{self.log()}"
        return done

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """`pcompose ARGUMENTS`, running beside the test."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True,
                   "stdin": subprocess.DEVNULL, "cwd": self.directory,
                   "env": self.sandbox.environment, **options}  # fmt: skip
        return subprocess.Popen(self.sandbox.inside(["pcompose", *arguments]), **options)

    def ps(self, *arguments: str) -> dict[str, dict[str, Any]]:
        """`ps -a --format json` by container name."""
        text = self("-p", self.name, "ps", "-a", "--format", "json", *arguments).stdout
        return {row["Name"]: row for row in map(json.loads, text.splitlines())}

    def ls(self) -> dict[str, Any]:
        """The project's row of `ls --format json`."""
        rows = json.loads(self("ls", "-a", "--format", "json").stdout)
        return next((row for row in rows if row["Name"] == self.name), {})

    def pid(self, service: str, index: int = 1) -> int:
        return int(self.ps()[f"{self.name}-{service}-{index}"]["Pid"])

    def execute(self, service: str, *argv: str, **options: Any) -> str:
        """Output of a command in a running container."""
        return str(self("exec", "-T", service, *argv, **options).stdout)

    def fetch(self, url: str) -> str:
        """A page, asked for in the outer network namespace; empty if nobody answers."""
        return str(self.sandbox.run([sys.executable, "-c", FETCH, url]).stdout)

    def logs(self, *arguments: str) -> list[str]:
        return str(self("logs", "--no-color", *arguments).stdout).splitlines()

    def log(self) -> str:
        """The supervisor's own log, for failed assertions."""
        path = self.directory.parent / "run" / "projects" / self.name / "supervisor.log"
        return f"\n--- supervisor.log\n{path.read_text()}" if path.exists() else ""

    def interfaces(self) -> set[str]:
        done = self.sandbox.run([sys.executable, "-c", INTERFACES])
        return set(json.loads(done.stdout))

    def remains(self) -> dict[str, object]:
        """What of this stack is still there; empty after `down -v`."""
        assert self.sandbox.holder is not None
        base = str(self.directory.parent)
        found: dict[str, object] = {
            "cgroups": [c for c in leftovers.cgroups() if f"/pcompose-{self.name}-" in c],
            "interfaces": sorted(self.interfaces() - {"lo"}),
            "mounts": [m for m in leftovers.mounts(str(self.sandbox.holder.pid)) if base in m],
            "processes": [p for p in leftovers.processes() if base in p],
            "run": [str(p) for p in Path(base, "run", "projects").glob("*")],
            "data": [str(p) for p in Path(base, "data", "projects").glob("*")],
            "volumes": [str(p) for p in Path(base, "data", "volumes").glob("*")],
            "networks": [str(p) for p in Path(base, "data", "networks").glob("*.json")],
        }
        return {kind: what for kind, what in found.items() if what}
