"""The directories of `--mount=type=cache`: kept between builds, shared as each mount says.

    ROOT/caches/ID        a directory; ID-1, ID-2 … for those who want one of their own
    ROOT/caches/ID.lock   held, shared or alone, as long as somebody uses it
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestrator.build.cache import digest
from orchestrator.build.mountflag import Mount
from orchestrator.build.request import CancelledError
from orchestrator.image import locks, removal

_PATIENCE = 0.05


@contextmanager
def held(
    root: str, mount: Mount, fill: Callable[[str], None], cancel: threading.Event
) -> Iterator[str]:
    """The directory of a cache mount for as long as the block lasts; `fill` puts the first content
    into a new one."""
    os.makedirs(f"{root}/caches", mode=0o700, exist_ok=True)
    base = f"{root}/caches/{digest(['cache', mount.id])[:32]}"
    path, lock = _taken(base, mount.sharing, cancel)
    try:
        _make(path, mount, fill)
        yield path
    finally:
        os.close(lock)


def _taken(base: str, sharing: str, cancel: threading.Event) -> tuple[str, int]:
    """The first directory that is free for this kind of sharing."""
    number = 0
    while True:
        path = f"{base}-{number}" if number else base
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        kind = fcntl.LOCK_SH if sharing == "shared" else fcntl.LOCK_EX
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            if sharing == "private":
                number += 1
            elif cancel.wait(_PATIENCE):
                raise CancelledError("the build was given up") from None
            continue
        return path, lock


def _make(path: str, mount: Mount, fill: Callable[[str], None]) -> None:
    """A new directory becomes visible when it is whole."""
    if os.path.isdir(path):
        return
    new = f"{path}.new-{os.getpid()}-{threading.get_ident()}"
    os.mkdir(new, 0o700)
    try:
        fill(new)
        os.chmod(new, mount.mode)
        os.chown(new, mount.uid, mount.gid)
        os.rename(new, path)
    except OSError:
        removal.remove_tree(new)
        if not os.path.isdir(path):
            raise  # else another build, sharing it, was quicker


def forget(root: str) -> None:
    """Delete the directories that nobody uses just now."""
    for path in _directories(root):
        with _unheld(path) as is_free:
            if is_free:
                removal.remove_tree(path)


def sizes(root: str) -> list[tuple[int, bool]]:
    """(bytes of content, whether a build uses it just now) of each directory."""
    found = []
    for path in _directories(root):
        with _unheld(path) as is_free:
            found.append((removal.tree_size(path), not is_free))
    return found


def _directories(root: str) -> list[str]:
    try:
        names = os.listdir(f"{root}/caches")
    except FileNotFoundError:
        return []
    paths = [f"{root}/caches/{name}" for name in names if not name.endswith(".lock")]
    return [path for path in paths if os.path.isdir(path)]


@contextmanager
def _unheld(path: str) -> Iterator[bool]:
    """Whether nobody holds the directory; nobody then does inside the block."""
    base = path.partition(".new-")[0]  # a new one is filled under the lock of what it becomes
    lock = locks.try_lock(f"{base}.lock", wait=False)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            os.close(lock)
