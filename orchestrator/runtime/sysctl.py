"""The step that sets kernel parameters of the container's own namespaces.

Written through the container's own /proc while that is still writable; which parameters belong to
which namespace was decided outside.  Imported by the keeper.
"""

from __future__ import annotations

import errno
import os

from orchestrator.linux import chase
from orchestrator.runtime.steps import Child, Step


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
