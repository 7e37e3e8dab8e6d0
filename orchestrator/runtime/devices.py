"""The steps that give a container devices of the host besides the usual ones.

A node is bound, not made: owner and mode are the host's, and it stays usable where everything else
of the container is `nodev`.  Imported by the keeper.
"""

from __future__ import annotations

import errno
import os
import stat

from orchestrator.runtime.filesystem import attach, clone_tree
from orchestrator.runtime.steps import Child, Step

_OWN = ("console", "core", "fd", "mqueue", "ptmx", "pts", "shm", "stderr", "stdin", "stdout")
"""What each container's /dev has of its own."""


class DeviceNodes(Step):
    """[source, target]: a node, or all nodes below a directory at the same place below `target`."""

    __slots__ = ("nodes",)
    nodes: list[list[str]]

    def execute(self, child: Child) -> None:
        for source, target in self.nodes:
            found = device_nodes(source)
            if not found:
                raise OSError(errno.ENODEV, "no device", source)
            for path in found:
                self._bind(child, path, target + path[len(source):])

    def _bind(self, child: Child, source: str, target: str) -> None:
        fd = child.open_target(target, directory=False)
        if os.fstat(fd).st_dev == child.proc_device:
            raise OSError(errno.ELOOP, "a symbolic link of the image leads into /proc", target)
        attach(clone_tree(source, recursive=False), fd)
        os.close(fd)

    def describe(self) -> str:
        return "devices " + " ".join(source for source, _ in self.nodes)


def device_nodes(source: str) -> list[str]:
    """The paths of the character and block devices at or below `source`; its last part may be a
    link, as in /dev/serial/by-id.  OSError where it is not there."""
    if _is_device(os.stat(source).st_mode):
        return [source]
    found = []
    for directory, _, names in os.walk(source):
        paths = [f"{directory.rstrip('/')}/{name}" for name in names]
        found += [path for path in paths if _is_device(os.lstat(path).st_mode)]
    return sorted(found)


def _is_device(mode: int) -> bool:
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


class AllDevices(Step):
    """Every device of the host's /dev, as nodes of the container's own /dev."""

    __slots__ = ()

    def execute(self, child: Child) -> None:
        for name in sorted(os.listdir("/dev")):
            if name in _OWN or os.path.islink(f"/dev/{name}"):
                continue
            for path in device_nodes(f"/dev/{name}"):
                self._make(child, path)

    def _make(self, child: Child, path: str) -> None:
        directory, name = os.path.split(path)
        status = os.lstat(path)
        parent = child.open_target(directory, directory=True)
        here = os.open(f"/proc/self/fd/{parent}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.close(parent)
        try:
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=here)
            os.chown(name, status.st_uid, status.st_gid, dir_fd=here)
            os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=here)
        except FileExistsError:  # one of the usual ones
            pass
        finally:
            os.close(here)

    def describe(self) -> str:
        return "all devices of the host"
