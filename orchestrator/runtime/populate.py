"""The step that fills an empty volume with what the image has at its target, once.

Whole or not at all: a file `populating` beside the volume's data says that a copy has begun, so
that after a crash it is begun again from nothing; a file `populated` says that it is done, so that
a volume somebody emptied stays empty.  Two containers that start at once wait for each other.
Ownership, modes, times, extended attributes, links, hard links and holes are kept.  Imported by
the keeper.
"""

from __future__ import annotations

import errno
import os
import stat

from orchestrator.linux import fds, xattr
from orchestrator.runtime.steps import Child, Step

_CHUNK = 1 << 20
_NOT_THERE = (errno.ENOTSUP, errno.ENODATA, errno.EPERM)


class Populate(Step):
    """Copy `target` inside the root to `source`, the volume's data directory, if that is empty."""

    __slots__ = ("source", "target")
    source: str
    target: str

    def execute(self, child: Child) -> None:
        origin = child.open_existing(self.target)
        if origin is None:
            return
        volume = os.path.dirname(self.source)
        lock = fds.lock(f"{volume}/populate.lock", wait=True)
        assert lock is not None
        try:
            if stat.S_ISDIR(os.fstat(origin).st_mode):
                self._copy_once(volume, origin)
        finally:
            os.close(lock)
            os.close(origin)

    def _copy_once(self, volume: str, origin: int) -> None:
        begun, done = f"{volume}/populating", f"{volume}/populated"
        if os.path.lexists(done):
            return
        data = _open_directory(self.source)
        if os.path.lexists(begun):
            _clear(data)
        elif os.listdir(data):
            os.close(data)
            return
        _touch(begun)
        readable = _open_directory(f"/proc/self/fd/{origin}")
        copy_whole(readable, data)
        os.close(readable)
        os.close(data)
        os.rename(begun, done)

    def describe(self) -> str:
        return f"copy the image's {self.target} into the volume at {self.source}"


def _open_directory(path: str, *, dir_fd: int | None = None) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    return os.open(path, flags if dir_fd is None else flags | os.O_NOFOLLOW, dir_fd=dir_fd)


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))


def _clear(directory: int) -> None:
    for name in os.listdir(directory):
        if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            inner = _open_directory(name, dir_fd=directory)
            _clear(inner)
            os.close(inner)
            os.rmdir(name, dir_fd=directory)
        else:
            os.unlink(name, dir_fd=directory)


def copy_whole(source: int, target: int) -> None:
    """Copy everything in one directory, and its own attributes, to another, which is empty."""
    seen: dict[tuple[int, int], tuple[int, str]] = {}
    copy_directory(source, target, seen)
    for directory, _ in seen.values():
        os.close(directory)
    _copy_attributes(source, target)


def copy_directory(source: int, target: int, seen: dict[tuple[int, int], tuple[int, str]]) -> None:
    """`seen` leads from an inode with several names to (descriptor of its directory, first name):
    the descriptors of all directories with such files stay open until the copy is done."""
    for name in os.listdir(source):
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFDIR:
            _copy_tree(name, source, target, seen)
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        elif kind == stat.S_IFREG:
            _copy_file(name, status, source, target, seen)
        elif kind != stat.S_IFSOCK:  # a socket without its server is nothing
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
            os.chown(name, status.st_uid, status.st_gid, dir_fd=target)
            os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target)


def _copy_tree(
    name: str, source: int, target: int, seen: dict[tuple[int, int], tuple[int, str]]
) -> None:
    os.mkdir(name, 0o700, dir_fd=target)
    inner_source = _open_directory(name, dir_fd=source)
    inner_target = _open_directory(name, dir_fd=target)
    copy_directory(inner_source, inner_target, seen)
    _copy_attributes(inner_source, inner_target)
    os.close(inner_source)
    os.close(inner_target)


def _copy_file(
    name: str, status: os.stat_result, source: int, target: int,
    seen: dict[tuple[int, int], tuple[int, str]],
) -> None:
    key = (status.st_dev, status.st_ino)
    if key in seen:
        directory, first = seen[key]
        os.link(first, name, src_dir_fd=directory, dst_dir_fd=target, follow_symlinks=False)
        return
    reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    writing = os.open(name, flags, 0o600, dir_fd=target)
    _copy_data(reading, writing, size=status.st_size)
    _copy_attributes(reading, writing)
    os.close(reading)
    os.close(writing)
    if status.st_nlink > 1:
        seen[key] = (os.dup(target), name)


def _copy_data(reading: int, writing: int, *, size: int) -> None:
    """Holes stay holes: a sparse file takes no more room than before (lseek(2))."""
    os.ftruncate(writing, size)
    begin = end = 0
    while end < size:
        try:
            begin = os.lseek(reading, end, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno != errno.ENXIO:
                raise
            return  # the rest is a hole
        end = os.lseek(reading, begin, os.SEEK_HOLE)
        os.lseek(writing, begin, os.SEEK_SET)
        while begin < end:
            count = os.sendfile(writing, reading, begin, min(end - begin, _CHUNK))
            if not count:
                return  # it was cut short meanwhile
            begin += count


def _copy_attributes(source: int, target: int) -> None:
    """Owner first: chown(2) clears set-user-ID bits and file capabilities."""
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        if name.startswith(xattr.OVERLAY) and name != xattr.mark("opaque"):
            continue  # that one alone means something in another layer
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError as exc:
            if exc.errno not in _NOT_THERE:
                raise
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
