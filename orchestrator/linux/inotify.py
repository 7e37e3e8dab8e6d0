"""Watch files and directories: inotify(7) without its surprises of packing.

Knows nothing of why somebody watches.  Events are lost when too many wait: then read() gives
(-1, IN_Q_OVERFLOW, ""), and the reader must look for itself.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

IN_ACCESS = 0x1
IN_ATTRIB = 0x4
IN_CLOSE = 0x18
IN_CLOSE_NOWRITE = 0x10
IN_CLOSE_WRITE = 0x8
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_DELETE_SELF = 0x400
IN_DONT_FOLLOW = 0x0200_0000
IN_EXCL_UNLINK = 0x0400_0000
IN_IGNORED = 0x8000
IN_ISDIR = 0x4000_0000
IN_MASK_ADD = 0x2000_0000
IN_MASK_CREATE = 0x1000_0000
IN_MODIFY = 0x2
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_MOVE_SELF = 0x800
IN_ONESHOT = 0x8000_0000
IN_ONLYDIR = 0x0100_0000
IN_OPEN = 0x20
IN_Q_OVERFLOW = 0x4000

_HEADER = struct.Struct("iIII")  # struct inotify_event: wd, mask, cookie, len

_libc = ctypes.CDLL(None, use_errno=True)
_add = _libc.inotify_add_watch
_add.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
_remove = _libc.inotify_rm_watch
_remove.argtypes = (ctypes.c_int, ctypes.c_int)


class Inotify:
    """One inotify instance; CLOEXEC, never blocks."""

    __slots__ = ("_fd",)

    def __init__(self) -> None:
        self._fd = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0:
            raise _failure()

    def fileno(self) -> int:
        return int(self._fd)

    def add(self, path: str, mask: int) -> int:
        """Watch `path`; the watch descriptor (the same one for the same inode).  ENOSPC when the
        user has as many watches as fs.inotify.max_user_watches allows."""
        wd = int(_add(self._fd, os.fsencode(path), mask))
        if wd < 0:
            raise _failure(path)
        return wd

    def remove(self, wd: int) -> None:
        """End a watch; one that has ended by itself (IN_IGNORED) is no error."""
        if _remove(self._fd, wd) < 0 and ctypes.get_errno() != errno.EINVAL:
            raise _failure()

    def read(self) -> list[tuple[int, int, str]]:
        """All events that wait, as (watch descriptor, mask, name); empty if there are none.  The
        name is that of the entry in a watched directory, else empty."""
        events: list[tuple[int, int, str]] = []
        while True:
            try:
                data = os.read(self._fd, 1 << 16)
            except BlockingIOError:
                return events
            events += _parse(data)

    def close(self) -> None:
        """Ends all watches."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _parse(data: bytes) -> list[tuple[int, int, str]]:
    events = []
    offset = 0
    while offset < len(data):
        wd, mask, _, length = _HEADER.unpack_from(data, offset)
        offset += _HEADER.size + length
        events.append((wd, mask, os.fsdecode(data[offset - length:offset].rstrip(b"\0"))))
    return events


def _failure(path: str = "") -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), path or None)
