"""Output on its way into log files: moved by splice(2), stamped, rotated, never held.

A log is a sequence of segments `STREAM.BASE`, BASE being the offset of its first byte in all the
stream has ever brought, each with an index `STREAM.BASE.idx` of 16-byte records (offset in the
segment, nanoseconds since the epoch; native byte order).  The bit BREAK of an offset says that what
comes there does not continue the line before it: the container was started again, or bytes were
lost.  Nothing is renamed, so there is no moment at which a crash could mix two segments up; the
index record is written before its bytes, so that no byte is without a time.  Imported by the
keeper; `runtime.logs` reads what is written here.
"""

from __future__ import annotations

import errno
import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

BREAK = 1 << 63
RECORD = 16
_CHUNK = 256 << 10
_RETRY = 1.0
"""Seconds between two attempts to write to a disk that was full."""


def segments(directory: str, stream: str) -> list[int]:
    """The bases of the segments of a stream, oldest first; empty if there is no log."""
    prefix = f"{stream}."
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    found = [n[len(prefix):] for n in names if n.startswith(prefix)]
    return sorted(int(base) for base in found if base.isascii() and base.isdigit())


def _state(pipe: int) -> int:
    """POLLIN if there are bytes, POLLHUP if there is no writer."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    return next((found for _, found in poll.poll(0)), 0)


class Log:
    """The end of one stream's log, to which bytes are moved.

    `complain` is told once when the disk takes no more; from then on bytes are dropped (a container
    is never blocked by our disk) until it takes some again.  Files are made with the first byte:
    making them takes longer than anything else the keeper does for a start."""

    __slots__ = ("_complain", "_directory", "_index", "_is_fresh", "_max_files", "_max_size",
                 "_retry", "_segment", "_size", "_stream", "base", "lost")  # fmt: skip

    def __init__(
        self, directory: str, stream: str, *, max_size: int, max_files: int, fresh: bool,
        complain: Callable[[str], None],
    ) -> None:
        self._directory, self._stream = directory, stream
        self._max_size, self._max_files = max_size, max(1, max_files)
        self._complain = complain
        self._is_fresh = fresh
        self._segment = self._index = -1
        self._retry = 0.0
        self.lost = 0
        """Bytes that were dropped."""
        self.base = self._size = 0

    def _open(self, base: int) -> None:
        path = f"{self._directory}/{self._stream}.{base}"
        flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        self._close_segment()
        self._segment = os.open(path, flags, 0o640)  # splice(2) refuses O_APPEND
        self._index = os.open(f"{path}.idx", flags | os.O_APPEND, 0o640)
        self.base = base
        self._size = os.lseek(self._segment, 0, os.SEEK_END)
        whole = os.fstat(self._index).st_size
        if whole % RECORD:  # the machine, not the keeper, went down in the middle of a record
            os.ftruncate(self._index, whole - whole % RECORD)

    def _stamp(self, flag: int = 0) -> None:
        record = (self._size | flag).to_bytes(8, "little") + time.time_ns().to_bytes(8, "little")
        os.write(self._index, record)

    def splice(self, source: int) -> int | None:
        """Move what is in the pipe `source` now: the number of bytes, 0 at its end, None if it is
        empty."""
        if self._segment < 0 and not (found := _state(source)) & select.POLLIN:
            return 0 if found else None
        if self._segment >= 0 or self._open_last():
            try:
                if self._size >= self._max_size:
                    self._rotate()
                self._stamp()
                return self._advance(os.splice(source, self._segment, _CHUNK))
            except BlockingIOError:
                return None
            except OSError as exc:
                self._fail(exc)
        null = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
        try:
            return self._count_lost(os.splice(source, null, _CHUNK))
        except BlockingIOError:
            return None
        finally:
            os.close(null)

    def write(self, data: bytes) -> None:
        """Append bytes that do not come from a pipe (a terminal's)."""
        while data:
            if self._segment < 0 and not self._open_last():
                self._count_lost(len(data))
                return
            try:
                if self._size >= self._max_size:
                    self._rotate()
                self._stamp()
                data = data[self._advance(os.write(self._segment, data)):]
            except OSError as exc:
                self._fail(exc)

    def _advance(self, count: int) -> int:
        self._size += count
        return count

    def _count_lost(self, count: int) -> int:
        self.lost += count
        return count

    def _rotate(self) -> None:
        self._open(self.base + self._size)
        for base in segments(self._directory, self._stream)[:-self._max_files]:
            for suffix in ("", ".idx"):
                try:
                    os.unlink(f"{self._directory}/{self._stream}.{base}{suffix}")
                except FileNotFoundError:
                    pass

    def _fail(self, exc: OSError) -> None:
        if self._retry == 0.0:
            self._complain(f"{self._directory}/{self._stream}: {exc.strerror}: output is lost")
        self._close_segment()
        self._retry = time.monotonic() + _RETRY

    def _open_last(self) -> bool:
        """Open the newest segment, for the first time or, now and then, after a failure."""
        if time.monotonic() < self._retry:
            return False
        try:
            os.makedirs(self._directory, exist_ok=True)
            self._open((segments(self._directory, self._stream) or [self.base])[-1])
            if self.lost or (self._is_fresh and not self._ends_with_newline()):
                self._stamp(BREAK)
            self._is_fresh = False
        except OSError as exc:
            self._fail(exc)
            return False
        return True

    def _ends_with_newline(self) -> bool:
        return not self._size or os.pread(self._segment, 1, self._size - 1) == b"\n"

    def _close_segment(self) -> None:
        for fd in (self._segment, self._index):
            if fd >= 0:
                os.close(fd)
        self._segment = self._index = -1

    def close(self) -> None:
        """Close all; what was written stays."""
        self._close_segment()


class Pump:
    """A pipe's or a terminal's descriptor, which it owns, and the log its bytes go to."""

    __slots__ = ("fd", "is_terminal", "log")

    def __init__(self, fd: int, log: Log, *, is_terminal: bool) -> None:
        self.fd = fd
        self.log = log
        self.is_terminal = is_terminal

    def move(self) -> bool:
        """Move what is there, once; False when nothing is there (any more)."""
        return bool(self._read() if self.is_terminal else self.log.splice(self.fd))

    def _read(self) -> int:
        try:
            data = os.read(self.fd, _CHUNK)
        except BlockingIOError:
            return 0
        except OSError as exc:
            if exc.errno == errno.EIO:  # no slave is open
                return 0
            raise
        self.log.write(data)
        return len(data)

    def close(self) -> None:
        """Close the source and the log."""
        os.close(self.fd)
        self.log.close()
