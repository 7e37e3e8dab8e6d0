"""Who may touch the store when: flock on files, shared or exclusive, gone with their holder.

    locks/use       shared by everybody who adds; exclusive for who removes or sweeps leftovers
    locks/index     exclusive around a change of references.json, never held for long
    locks/XX        exclusive while a layer whose name begins with XX is unpacked

Taken in this order only, so nobody waits in a circle.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager


def try_lock(path: str, *, shared: bool = False, wait: bool = True) -> int | None:
    """A descriptor that holds the lock until it is closed; None if it is held and not `wait`."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    mode = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    try:
        fcntl.flock(fd, mode)
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return fd


@contextmanager
def locked(path: str, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock inside the block."""
    fd = try_lock(path, shared=shared)
    assert fd is not None, "a waiting lock is always taken"
    try:
        yield
    finally:
        os.close(fd)
