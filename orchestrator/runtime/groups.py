"""The steps that put a process into its cgroups and set their limits.

Files and values were chosen in `runtime.limits`; all are paths of the host, so these steps come
before pivot_root.  Imported by the keeper.
"""

from __future__ import annotations

import os

from orchestrator.linux import syscalls
from orchestrator.runtime.steps import Child, Step


class Group(Step):
    """Make the group, write its limits as (file, value, whether it must be there), and with `join`
    enter it; `enable` are controllers its parent must hand down first (version 2)."""

    __slots__ = ("enable", "join", "path", "writes")
    path: str
    writes: list[tuple[str, str, bool]]
    enable: list[str]
    join: bool

    def execute(self, child: Child) -> None:
        if self.enable:
            self._enable()
        if not os.path.isdir(self.path):
            os.mkdir(self.path)
        for name, value, required in self.writes:
            try:
                write(f"{self.path}/{name}", value)
            except FileNotFoundError:
                if required:
                    raise
        if self.join:
            write(f"{self.path}/cgroup.procs", "0")

    def _enable(self) -> None:
        file = f"{os.path.dirname(self.path)}/cgroup.subtree_control"
        with open(file, encoding="ascii") as stream:
            missing = set(self.enable) - set(stream.read().split())
        if missing:
            write(file, " ".join(f"+{name}" for name in sorted(missing)))

    def describe(self) -> str:
        limits = ", ".join(f"{name}={value}" for name, value, _ in self.writes)
        return f"cgroup {self.path}" + (f" [{limits}]" if limits else "")


def write(path: str, value: str) -> None:
    """One write(2), as cgroup files want it; OSError with the path."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, path) from None
    finally:
        os.close(fd)


class CgroupNamespace(Step):
    """The groups the process is in become the roots it sees."""

    __slots__ = ()

    def execute(self, child: Child) -> None:
        syscalls.unshare(syscalls.CLONE_NEWCGROUP)

    def describe(self) -> str:
        return "new cgroup namespace"
