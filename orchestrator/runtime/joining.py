"""The steps that put a new container into namespaces that are there already: the host's, where it
simply stays, or another container's.

A namespace is entered through /proc of its owner, whose start time is compared afterwards: as long
as the process lives, its pid is its own, so what was opened was its.  The pid namespace is not
entered here: the keeper clones us in it.  Imported by the keeper.
"""

from __future__ import annotations

import errno
import os

from orchestrator.linux import procfs, syscalls
from orchestrator.runtime.steps import Child, Step

KINDS = {
    "ipc": syscalls.CLONE_NEWIPC, "net": syscalls.CLONE_NEWNET, "uts": syscalls.CLONE_NEWUTS,
    "cgroup": syscalls.CLONE_NEWCGROUP, "mnt": syscalls.CLONE_NEWNS,
}  # fmt: skip


def open_namespace(kind: str, pid: int, start_time: int) -> int:
    """A descriptor of the process's namespace; ProcessLookupError if it is not that process any
    more.  CLOEXEC."""
    try:
        fd = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        fd = -1
    if fd < 0 or procfs.start_time(pid) != start_time:
        if fd >= 0:
            os.close(fd)
        raise ProcessLookupError(errno.ESRCH, "that container is not running any more")
    return fd


class JoinNamespace(Step):
    """Enter one namespace of another container."""

    __slots__ = ("kind", "pid", "start_time", "whose")
    kind: str
    pid: int
    start_time: int
    whose: str

    def execute(self, child: Child) -> None:
        fd = open_namespace(self.kind, self.pid, self.start_time)
        try:
            syscalls.setns(fd, KINDS[self.kind])
        finally:
            os.close(fd)

    def describe(self) -> str:
        return f"join the {self.kind} namespace of {self.whose}"


class TakeShm(Step):
    """Bring /dev/shm of another container here as a detached mount, for `AttachShm`: the other's
    mount namespace is entered for it, and left."""

    __slots__ = ("pid", "start_time", "whose")
    pid: int
    start_time: int
    whose: str

    def execute(self, child: Child) -> None:
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        theirs = open_namespace("mnt", self.pid, self.start_time)
        try:
            syscalls.setns(theirs, syscalls.CLONE_NEWNS)
            try:
                child.shm = syscalls.open_tree(
                    syscalls.AT_FDCWD, "/dev/shm",
                    syscalls.OPEN_TREE_CLONE | syscalls.AT_SYMLINK_NOFOLLOW)  # fmt: skip
            finally:
                syscalls.setns(own, syscalls.CLONE_NEWNS)
                os.fchdir(root)
                os.chroot(".")
        finally:
            for fd in (root, own, theirs):
                os.close(fd)

    def describe(self) -> str:
        return f"share /dev/shm of {self.whose}"


class AttachShm(Step):
    """What `TakeShm` brought, at /dev/shm inside the root."""

    __slots__ = ()

    def execute(self, child: Child) -> None:
        target = child.open_target("/dev/shm", directory=True)
        flags = syscalls.MOVE_MOUNT_F_EMPTY_PATH | syscalls.MOVE_MOUNT_T_EMPTY_PATH
        syscalls.move_mount(child.shm, "", target, "", flags)
        os.close(target)
        os.close(child.shm)
        child.shm = -1

    def describe(self) -> str:
        return "mount the shared /dev/shm"
