"""Kernel parameters: their names, whose namespace each belongs to, and the step that sets them.

The step writes through the container's own /proc while that is still writable.  Imported by the
keeper.
"""

from __future__ import annotations

import errno
import os

from orchestrator.linux import chase
from orchestrator.runtime.steps import Child, Step

_OF_IPC = ("kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem", "kernel/shmall",
           "kernel/shmmax", "kernel/shmmni", "kernel/shm_rmid_forced")  # fmt: skip


def path_of(name: str) -> str:
    """`net.ipv4.conf.eth0/100.mtu` or `net/ipv4/…` -> path below /proc/sys, as sysctl(8) reads it:
    the first separator separates, the other stands for itself.  ValueError where it is none."""
    first = next((letter for letter in name if letter in "./"), ".")
    path = name if first == "/" else name.translate(str.maketrans("./", "/."))
    if not path or any(part in ("", ".", "..") for part in path.split("/")) or "\0" in path:
        raise ValueError(f"{name!r} is not the name of a kernel parameter")
    return path


def namespace_of(path: str) -> str | None:
    """`network`, `ipc` or `uts`: whose namespace a parameter belongs to; None: the machine's."""
    if path.startswith("net/"):
        return "network"
    if path in _OF_IPC or path.startswith("fs/mqueue/"):
        return "ipc"
    return "uts" if path == "kernel/domainname" else None


class Sysctls(Step):
    """[path below /proc/sys, value]; those of `optional` are left alone where this kernel does not
    have them or takes them from nobody."""

    __slots__ = ("optional", "values")
    values: list[list[str]]
    optional: list[list[str]]

    def execute(self, child: Child) -> None:
        for path, value in self.optional:
            try:
                _write(child, path, value)
            except OSError as exc:
                if exc.errno not in (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EINVAL):
                    raise
        for path, value in self.values:
            _write(child, path, value)

    def describe(self) -> str:
        return "sysctl " + " ".join(f"{p.replace('/', '.')}={v}" for p, v in self.values)


def _write(child: Child, path: str, value: str) -> None:
    where = f"/proc/sys/{path}"
    try:
        fd = chase.open_inside(child.root_fd, where, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, where) from None
    try:
        if os.fstat(fd).st_dev != child.proc_device:
            raise OSError(errno.ELOOP, "not in the container's /proc", where)
        os.write(fd, value.encode())
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, where) from None
    finally:
        os.close(fd)
