"""The steps that put a process into its cgroups and set their limits.

Files and values were chosen in `runtime.limits`; all are paths of the host, so these steps come
before pivot_root.  Imported by the keeper.
"""

from __future__ import annotations

import errno
import os

from orchestrator.linux import devicebpf, syscalls
from orchestrator.runtime.steps import Child, Step


class Group(Step):
    """Make the group, write its limits, and with `join` enter it; `enable` are controllers the
    groups above must hand down first (version 2).

    A write is (file, value, whether it must be there): `a|b` is the one of two files that is there,
    and without a value it is what the group above has."""

    __slots__ = ("enable", "join", "path", "writes")
    path: str
    writes: list[tuple[str, str | None, bool]]
    enable: list[str]
    join: bool

    def execute(self, child: Child) -> None:
        make(self.path)
        if self.enable:
            _enable(os.path.dirname(self.path), set(self.enable))
        for names, value, required in self.writes:
            self._write(names.split("|"), value, required=required)
        if self.join:
            write(f"{self.path}/cgroup.procs", "0")

    def _write(self, names: list[str], value: str | None, *, required: bool) -> None:
        there = [n for n in names if os.path.exists(f"{self.path}/{n}")]
        if not there:
            if required:
                raise OSError(errno.ENOENT, "this kernel has no such limit", names[0])
            return
        if value is None:
            _inherit(self.path, there[0])
        else:
            write(f"{self.path}/{there[0]}", value)

    def describe(self) -> str:
        limits = ", ".join(f"{name.partition('|')[0]}={value}" for name, value, _ in self.writes
                           if value is not None)  # fmt: skip
        return f"cgroup {self.path}" + (f" [{limits}]" if limits else "")


_MADE = "user.pcompose"
"""An attribute of the groups above a container's that we have made (version 2, and version 1 since
Linux 5.7): they go with their last container."""


def make(path: str) -> None:
    """Make the group, and those above it that are missing."""
    try:
        os.mkdir(path)
    except FileExistsError:
        return
    except FileNotFoundError:
        above = os.path.dirname(path)
        make(above)
        try:
            os.setxattr(above, _MADE, b"1")
        except OSError:  # then it stays
            pass
        make(path)


def remove_above(path: str) -> None:
    """Remove the groups above `path` that `make` has made, as far as nothing is in them."""
    try:
        while os.getxattr(path := os.path.dirname(path), _MADE):
            os.rmdir(path)
    except OSError:  # not ours, in use, or gone already
        pass


def _enable(path: str, wanted: set[str]) -> None:
    """Let the controllers through to the groups below `path`, from the top down."""
    file = f"{path}/cgroup.subtree_control"
    with open(file, encoding="ascii") as stream:
        missing = wanted - set(stream.read().split())
    if not missing:
        return
    with open(f"{path}/cgroup.controllers", encoding="ascii") as stream:
        unknown = missing - set(stream.read().split())
    above = os.path.dirname(path)
    if unknown and os.path.exists(f"{above}/cgroup.subtree_control"):
        _enable(above, unknown)
    write(file, " ".join(f"+{name}" for name in sorted(missing)))


def _inherit(path: str, name: str) -> None:
    """Write what the group above has, which may have to inherit it too (a new cpuset group has no
    processors and takes no processes)."""
    above = os.path.dirname(path)
    with open(f"{above}/{name}", encoding="ascii") as stream:
        text = stream.read().strip()
    if not text:
        _inherit(above, name)
        with open(f"{above}/{name}", encoding="ascii") as stream:
            text = stream.read().strip()
    write(f"{path}/{name}", text)


def write(path: str, value: str) -> None:
    """One write(2), as cgroup files want it; OSError with the path."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, path) from None
    finally:
        os.close(fd)


class DeviceFilter(Step):
    """The devices the group may use: `rules` are those of the version 1 controller, all allowances,
    and what they do not name is refused.  In version 2 as an eBPF program; where `is_legacy` is
    set the group is one of the version 1 devices controller."""

    __slots__ = ("is_legacy", "path", "rules")
    path: str
    rules: list[str]
    is_legacy: bool

    def execute(self, child: Child) -> None:
        if not self.is_legacy:
            rules = [(True, devicebpf.parse_rule(rule)) for rule in self.rules]
            devicebpf.attach(self.path, devicebpf.program(rules))
            return
        write(f"{self.path}/devices.deny", "a")
        for rule in self.rules:
            write(f"{self.path}/devices.allow", rule)

    def describe(self) -> str:
        return f"limit devices to {', '.join(self.rules)}"


class CgroupNamespace(Step):
    """The groups the process is in become the roots it sees."""

    __slots__ = ()

    def execute(self, child: Child) -> None:
        syscalls.unshare(syscalls.CLONE_NEWCGROUP)

    def describe(self) -> str:
        return "new cgroup namespace"
