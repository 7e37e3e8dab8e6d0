"""The journal of a project: what happened to its containers, one JSON object per line.

Written by the supervisor only, read by whoever asks for the past; following needs no supervisor.
At `LIMIT` bytes the file is moved aside and the one before forgotten, so a journal never has more
than twice that.  It is no record: losing it loses history, nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from orchestrator.linux import inotify, jsontext
from orchestrator.linux.waiting import ready

LIMIT = 1 << 20
_FORMER = ".1"
_LOOK = 1.0
"""Seconds after which a journal is looked for even if no change was reported."""
_NEWS = inotify.IN_MODIFY | inotify.IN_CREATE | inotify.IN_MOVED_TO | inotify.IN_DELETE_SELF


class Writer:
    """Appends; where the project's directory is gone, or the disk is full, nothing is written."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def append(self, entry: dict[str, Any]) -> None:
        """Write one entry; OSError where it cannot be written."""
        data = jsontext.encode(entry).encode() + b"\n"
        if not self._is_open():
            self.close()
            try:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                self._fd = os.open(self._path, flags, 0o600)
            except FileNotFoundError:
                return
        os.write(self._fd, data)

    def _is_open(self) -> bool:
        """Whether our file is the one at the path and has room."""
        if self._fd < 0:
            return False
        info = os.fstat(self._fd)
        if info.st_size < LIMIT:
            return info.st_nlink > 0
        if info.st_nlink:
            os.replace(self._path, self._path + _FORMER)
        return False

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Reader:
    """Entries in the order they were written, across files that are moved aside."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._rest = b""

    def past(self) -> Iterator[dict[str, Any]]:
        """Everything there is; `news` goes on after it."""
        former = _open(self._path + _FORMER)
        if former >= 0:
            try:
                yield from self._read(former)
            finally:
                os.close(former)
        yield from self.news()

    def skip(self) -> None:
        """What has been written so far is of no interest."""
        self._fd = _open(self._path)
        if self._fd >= 0:
            os.lseek(self._fd, 0, os.SEEK_END)

    def news(self) -> Iterator[dict[str, Any]]:
        """What has been written since."""
        while True:
            if self._fd < 0:
                self._fd = _open(self._path)
            if self._fd < 0:
                return
            yield from self._read(self._fd)
            if self._is_current():
                return
            yield from self._read(self._fd)  # written between the two looks
            self.close()

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._fd))
        except FileNotFoundError:
            return os.fstat(self._fd).st_nlink > 0  # moved aside, and no new one yet

    def _read(self, fd: int) -> Iterator[dict[str, Any]]:
        while data := os.read(fd, 1 << 16):
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                try:
                    entry = jsontext.decode(line)
                except ValueError:
                    continue  # cut off by a full disk
                if isinstance(entry, dict):
                    yield entry

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._rest = -1, b""


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return -1


class Watch:
    """Wakes when the journal at a path may have news, also if it, or its directory, comes later."""

    def __init__(self, path: str) -> None:
        self._directory = os.path.dirname(path)
        self._inotify: inotify.Inotify | None = None
        self._place = ""

    def prepare(self) -> None:
        """Watch from now on: read after this and nothing is missed."""
        place = self._directory
        while not os.path.isdir(place):
            place = os.path.dirname(place)
        if place != self._place:
            self.close()
            self._inotify = inotify.Inotify()
            try:
                self._inotify.add(place, _NEWS)
                self._place = place
            except FileNotFoundError:
                self.close()

    def wait(self, timeout: float, *, wake: Sequence[int] = ()) -> None:
        """Until there may be news or a descriptor of `wake` is readable, `timeout` seconds at
        most."""
        sources: list[int | inotify.Inotify] = [*wake]
        if self._inotify is not None:
            sources.append(self._inotify)
        ready(sources, timeout=max(0.0, min(timeout, _LOOK)))
        if self._inotify is not None:
            gone = inotify.IN_DELETE_SELF | inotify.IN_IGNORED
            if any(mask & gone for _, mask, _ in self._inotify.read()):
                self.close()

    def close(self) -> None:
        """Stop watching."""
        if self._inotify is not None:
            self._inotify.close()
        self._inotify, self._place = None, ""
