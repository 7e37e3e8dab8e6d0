"""Archives as a set of named files: a directory, or a tar with the members found by position.

A tar that cannot be sought in (a pipe) or is compressed is first written out plain.  What is a
link in it is followed inside the set only.  Knows no image format.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from orchestrator.errors import ImageError
from orchestrator.image import compression, tar
from orchestrator.image.digest import CHUNK, Limited, Readable
from orchestrator.linux import chase

_MOST_MEMBERS = 100_000
_MOST_LINKS = 8


class Source(Protocol):
    """Named files."""

    def size(self, name: str) -> int | None:
        """Bytes of the file; None: there is none."""

    def open(self, name: str) -> Readable:
        """The content; ImageError where there is none."""

    def close(self) -> None: ...


class Directory:
    """The files below a directory; nothing outside is ever opened."""

    def __init__(self, path: str) -> None:
        self._root = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._open: list[int] = []

    def _open_file(self, name: str) -> int | None:
        try:
            # O_NONBLOCK: a FIFO of that name must not stop us
            fd = chase.open_inside(self._root, name, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as exc:
            if exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
                return None
            raise
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            return None
        return fd

    def size(self, name: str) -> int | None:
        fd = self._open_file(name)
        if fd is None:
            return None
        try:
            return os.fstat(fd).st_size
        finally:
            os.close(fd)

    def open(self, name: str) -> Readable:
        fd = self._open_file(name)
        if fd is None:
            raise ImageError(f"it has no file {name!r}")
        self._open.append(fd)
        return _At(fd, 0, os.fstat(fd).st_size)

    def close(self) -> None:
        for fd in (*self._open, self._root):
            os.close(fd)


class Tar:
    """The members of a plain tar in a regular file."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._files: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        self._index()

    def _index(self) -> None:
        reader = _At(self._fd, 0, os.fstat(self._fd).st_size)
        for entry, content in tar.read(reader):
            name = posixpath.normpath(entry.name).lstrip("/")
            if entry.type == "file" and entry.segments is None:
                self._files[name] = (reader.position, entry.size)
                reader.position += content.jump()
            elif entry.type == "symlink":
                self._links[name] = posixpath.join(posixpath.dirname(name), entry.link)
            elif entry.type == "hardlink":
                self._links[name] = entry.link
            if len(self._files) + len(self._links) > _MOST_MEMBERS:
                raise ImageError(f"it has more than {_MOST_MEMBERS} members")

    def _find(self, name: str) -> tuple[int, int] | None:
        for _ in range(_MOST_LINKS):
            name = posixpath.normpath(name).lstrip("/")
            if name in self._files or name not in self._links:
                break
            name = self._links[name]
        return self._files.get(name)

    def size(self, name: str) -> int | None:
        found = self._find(name)
        return found[1] if found else None

    def open(self, name: str) -> Readable:
        found = self._find(name)
        if found is None:
            raise ImageError(f"it has no file {name!r}")
        return Limited(_At(self._fd, *found), found[1], what=repr(name))

    def close(self) -> None:
        """The descriptor belongs to who opened it."""


class _At:
    """Reads a part of a file by position, so that several readers share one descriptor."""

    def __init__(self, fd: int, start: int, size: int) -> None:
        self._fd = fd
        self._end = start + size
        self.position = start

    def read(self, size: int = -1, /) -> bytes:
        left = self._end - self.position
        data = os.pread(self._fd, min(left, CHUNK if size < 0 else size), self.position)
        self.position += len(data)
        return data


@contextmanager
def opened(path_or_stream: str | Readable, *, scratch: str) -> Iterator[Source]:
    """The archive at a path (directory or file) or read from a stream; `scratch` is an empty
    directory that has room for it."""
    if isinstance(path_or_stream, str) and os.path.isdir(path_or_stream):
        directory = _directory(path_or_stream)
        try:
            yield directory
        finally:
            directory.close()
        return
    with file_or_stream(path_or_stream) as stream:
        fd = _plain_file(stream, scratch=scratch)
        try:
            yield Tar(fd)
        finally:
            os.close(fd)


def _directory(path: str) -> Directory:
    try:
        return Directory(path)
    except OSError as exc:
        raise ImageError(exc.strerror or "it cannot be read") from exc


@contextmanager
def file_or_stream(path_or_stream: str | Readable) -> Iterator[Readable]:
    """The stream, or the opened file; ImageError where it cannot be opened."""
    if not isinstance(path_or_stream, str):
        yield path_or_stream
        return
    try:
        file = open(path_or_stream, "rb", buffering=0)  # noqa: SIM115 (closed below)
    except OSError as exc:
        raise ImageError(exc.strerror or "it cannot be read") from exc
    with file:
        yield file


def _plain_file(stream: Readable, *, scratch: str) -> int:
    """A descriptor of a regular file with the uncompressed archive."""
    fd = _seekable(stream)
    if fd is not None and compression.detect(os.pread(fd, 8, 0)) == "plain":
        return os.dup(fd)
    target = os.open(f"{scratch}/archive", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        plain = compression.opened(stream, what="it")
        with open(target, "wb", closefd=False) as f:
            while data := plain.read(CHUNK):
                f.write(data)
    except BaseException:
        os.close(target)
        raise
    return target


def _seekable(stream: Readable) -> int | None:
    """The descriptor of a regular file that is read from its start, if the stream is one."""
    try:
        fd = int(stream.fileno())  # type: ignore[attr-defined]
        regular = stat.S_ISREG(os.fstat(fd).st_mode)
        return fd if regular and os.lseek(fd, 0, os.SEEK_CUR) == 0 else None
    except (AttributeError, OSError, ValueError):
        return None
