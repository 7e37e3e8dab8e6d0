"""The steps that give a container its secrets and configs: files on a tmpfs of its own.

The tmpfs is mounted over a directory of the run directory, in the container's mount namespace
only, and goes out of sight with pivot_root; what stays are read-only binds of the files in it.  So
a file can be anywhere, also in a read-only root, without hiding what the image has beside it, and
its content is in no layer.  Imported by the keeper.
"""

from __future__ import annotations

import os

from orchestrator.linux import syscalls
from orchestrator.runtime.steps import Child, Step

_CHUNK = 1 << 20


class Material(Step):
    """Copies of the files at `sources`, called 0, 1, … on a tmpfs over `directory`; `owners` are
    the [mode, uid, gid] of each: None is the user of the container, found later."""

    __slots__ = ("directory", "owners", "sources")
    directory: str
    sources: list[str]
    owners: list[list[int | None]]

    def execute(self, child: Child) -> None:
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        # Not noexec: a config may be the script that the container runs.
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV
        syscalls.mount("tmpfs", self.directory, "tmpfs", flags, "mode=0700")
        for number, source in enumerate(self.sources):
            mode, uid, gid = self.owners[number]
            assert mode is not None
            target = _copy(source, f"{self.directory}/{number}")
            if uid is None or gid is None:
                child.unowned.append((target, mode, uid, gid))
            else:
                _give(target, mode, uid, gid)

    def describe(self) -> str:
        return f"write {len(self.sources)} secrets and configs to a tmpfs"


def _copy(source: str, target: str) -> int:
    """The open copy."""
    reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    writing = os.open(target, flags, 0o600)
    while os.sendfile(writing, reading, None, _CHUNK):
        pass
    os.close(reading)
    return writing


def _give(fd: int, mode: int, uid: int, gid: int) -> None:
    """Owner first: chown(2) clears set-user-ID bits."""
    os.fchown(fd, uid, gid)
    os.fchmod(fd, mode)
    os.close(fd)


class OwnMaterial(Step):
    """The files without an owner become those of the container's user; after `LookUpUser`."""

    __slots__ = ()

    def execute(self, child: Child) -> None:
        for fd, mode, uid, gid in child.unowned:
            _give(fd, mode, child.uid if uid is None else uid, child.gid if gid is None else gid)
        child.unowned.clear()

    def describe(self) -> str:
        return "give the secrets and configs to the user of the container"
