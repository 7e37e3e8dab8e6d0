"""The steps that bring a process into a running container: `exec`.

The child was cloned with the container's pid namespace already; here it joins the groups and the
other namespaces through the pidfd the keeper holds, so no pid can be mistaken.  It is not dumpable
from the first step on: a process of the container sees neither its descriptors nor its executable
(which the running keeper keeps from being written anyhow).  Imported by the keeper.
"""

from __future__ import annotations

import errno
import os

from orchestrator.linux import syscalls
from orchestrator.runtime.groups import write
from orchestrator.runtime.steps import Child, Step

NAMESPACES = (
    syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWNET
    | syscalls.CLONE_NEWCGROUP
)  # fmt: skip


class Hide(Step):
    """Not dumpable until exec."""

    __slots__ = ()

    def execute(self, child: Child) -> None:
        syscalls.set_dumpable(0)

    def describe(self) -> str:
        return "hide from the container"


class JoinGroups(Step):
    """Enter the container's groups: directories of the host."""

    __slots__ = ("paths",)
    paths: list[str]

    def execute(self, child: Child) -> None:
        for path in self.paths:
            write(f"{path}/cgroup.procs", "0")

    def describe(self) -> str:
        return "join the container's cgroups"


class EnterNamespaces(Step):
    """All namespaces of the container but the pid namespace, in which we are already."""

    __slots__ = ()

    def execute(self, child: Child) -> None:
        if child.container < 0:
            raise OSError(errno.ESRCH, "the container is not running")
        try:
            syscalls.setns(child.container, NAMESPACES)
        except PermissionError:  # an ordinary user's container may have the host's cgroup namespace
            syscalls.setns(child.container, NAMESPACES & ~syscalls.CLONE_NEWCGROUP)
        os.chdir("/")

    def describe(self) -> str:
        return "enter the container"
