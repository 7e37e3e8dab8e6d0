"""Digests of file content, remembered by what stat(2) says of the file.

A file whose device, inode, size and times are those of last time was not written since; one that
was changed within the last moments is read again, because the kernel's clock may not have moved
between two writes.  Where the memory is kept is the caller's affair.
"""

from __future__ import annotations

import os
import time
from hashlib import sha256

_CHUNK = 1 << 20
_MOMENT = 2 * 10**9
"""Nanoseconds."""

Facts = list[int | str]


class Contents:
    """What was read so far."""

    def __init__(self, known: dict[str, Facts] | None = None) -> None:
        self._known = known or {}
        self._now = time.time_ns()
        self.fresh: dict[str, Facts] = {}
        """What was asked for, for the next time."""
        self.changed = False

    def digest(self, path: str, info: os.stat_result, *, flags: int = os.O_NOFOLLOW) -> str:
        """SHA-256 of the regular file, in hexadecimal; `flags` are those of open(2)."""
        key = f"{info.st_dev}:{info.st_ino}"
        facts: Facts = [info.st_size, info.st_mtime_ns, info.st_ctime_ns]
        known = self._known.get(key)
        if known is not None and known[:3] == facts:
            self.fresh[key] = known
            return str(known[3])
        found = hash_file(path, flags=flags)
        self.changed = True
        if info.st_ctime_ns < self._now - _MOMENT:
            self.fresh[key] = [*facts, found]
        return found


def hash_file(path: str, *, flags: int = 0) -> str:
    """SHA-256 of what is in the file."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | flags)
    try:
        hashed = sha256()
        while data := os.read(fd, _CHUNK):
            hashed.update(data)
    finally:
        os.close(fd)
    return hashed.hexdigest()
