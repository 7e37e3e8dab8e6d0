"""Layers as one tree, mounted for one thread of ours only.

Each stage of a build runs in a thread with a mount namespace of its own: nothing is mounted for
anybody else to see, and nothing stays when we are killed.  Knows layers and nothing of steps.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.dataclass import dataclass, field

_own = threading.local()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """The directories of a file system."""

    lowers: tuple[str, ...] = ()
    """Top first."""
    host_usr: bool = False
    """The machine's own /usr lies below theirs."""


@dataclass(slots=True, kw_only=True)
class Scratch:
    """Directories for one mount."""

    path: str
    """An empty directory on the store's file system."""
    upper: str = ""
    """What is written goes there; empty: into `path`, and away with it."""
    mounted: list[str] = field(default_factory=list)

    def directory(self, name: str) -> str:
        """A directory of that name below `path`, made if it is not there."""
        made = f"{self.path}/{name}"
        os.makedirs(made, exist_ok=True)
        return made


@contextmanager
def mounted(layers: Layers, scratch: Scratch) -> Iterator[int]:
    """The root of the layers as an O_PATH descriptor; writable."""
    from orchestrator.linux import overlay, syscalls  # 10 ms: only where layers are made

    root = scratch.directory("root")
    upper = scratch.upper or scratch.directory("upper")
    lowers = list(layers.lowers) or [scratch.directory("empty")]
    like_below(upper, lowers[0])
    _own_namespace()
    overlay.mount(root, lowers, upper=upper, work=scratch.directory("work"),
                             volatile=True)
    points = [root]
    try:
        if layers.host_usr:
            usr = [d for lower in lowers if os.path.isdir(d := f"{lower}/usr")]
            overlay.mount(
                f"{root}/usr", [*usr, "/usr"], upper=scratch.directory("usr"),
                work=scratch.directory("usr-work"), volatile=True)
            points.append(f"{root}/usr")
        fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)
    finally:
        for point in reversed(points):
            syscalls.umount2(point, syscalls.MNT_DETACH)
    if layers.host_usr:
        merge_usr(scratch.directory("usr"), upper)


def like_below(upper: str, lower: str) -> None:
    """The root of a new layer looks like the root below, which it hides."""
    info = os.stat(lower)
    os.chown(upper, info.st_uid, info.st_gid)
    os.chmod(upper, info.st_mode & 0o7777)


def merge_usr(usr: str, upper: str) -> None:
    """What was written over the machine's /usr becomes the layer's own /usr."""
    if not os.listdir(usr):
        return
    target = f"{upper}/usr"
    if os.path.isdir(target):
        os.rmdir(target)  # only its attributes were copied up
    os.rename(usr, target)


def _own_namespace() -> None:
    if getattr(_own, "is_private", False):
        return
    if threading.current_thread() is threading.main_thread():
        raise RuntimeError("the main thread keeps its mount namespace")
    from orchestrator.linux import syscalls

    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_SLAVE)
    _own.is_private = True
