"""Copying out of a tree into the file system of a stage, as COPY and ADD do.

Owns the rules of what becomes of a target: a directory's content is copied and not itself,
directories below are merged and look like what is copied, files are replaced, a link of the image
is followed to the target but never written through.  All paths are resolved inside the
stage's root.  Knows no cache and no Dockerfile.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Iterable

from orchestrator.build.modes import ModeChange
from orchestrator.build.tree import Entry, Tree
from orchestrator.dataclass import dataclass
from orchestrator.linux import chase

_CHUNK = 8 << 20
_SMALL = 1 << 16
_DIRECTORY = os.O_PATH | os.O_DIRECTORY


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is different about the copies."""

    owner: tuple[int, int] | None = None
    """None: as in a tree that keeps owners, else root."""
    mode: ModeChange | None = None


class Copier:
    """Copies into one root."""

    def __init__(self, root: int, change: Change) -> None:
        self._root = root
        self._change = change
        self._times: list[tuple[str, os.stat_result]] = []
        self._links: dict[tuple[int, int], str] = {}
        self._held: list[int] = []
        self.size = 0

    def close(self) -> None:
        """Give directories their times, now that nothing more is put into them."""
        for path, info in reversed(self._times):
            os.utime(path, ns=(info.st_mtime_ns, info.st_mtime_ns))
        for fd in self._held:
            os.close(fd)

    def is_directory(self, path: str) -> bool:
        """Whether the target is one, links followed."""
        try:
            os.close(chase.open_inside(self._root, path, _DIRECTORY))
        except OSError:
            return False
        return True

    def directory(self, path: str) -> str:
        """The target directory, made with its parents where it is missing; how to reach it."""
        made = self._made_directory(path)
        self._held.append(made)
        return f"/proc/self/fd/{made}"

    def _made_directory(self, path: str) -> int:
        try:
            return chase.open_inside(self._root, path, _DIRECTORY)
        except FileNotFoundError:
            pass
        parts = [part for part in path.split("/") if part]
        for count in range(1, len(parts)):
            os.close(self._step("/".join(parts[:count])))
        return self._step("/".join(parts))

    def _step(self, path: str) -> int:
        try:
            return chase.open_inside(self._root, path, _DIRECTORY)
        except FileNotFoundError:
            fd = chase.make_directories(self._root, path)
            os.chmod(f"/proc/self/fd/{fd}", 0o755)  # whatever the umask is
            if self._change.owner:
                os.chown(f"/proc/self/fd/{fd}", *self._change.owner)
            return fd

    # ---- copying ----

    def tree(self, tree: Tree, entries: Iterable[Entry], target: str) -> None:
        """Copy the entries of one walk: a directory's content into the target directory, a file to
        the target itself."""
        base = ""
        for entry in entries:
            if not entry.name:
                if stat.S_ISDIR(entry.info.st_mode):
                    base = self.directory(target)  # what is copied is in it, not itself
                else:
                    self._single(tree, entry, target)
                continue
            if not base:
                base = self.directory(target)
            self._one(tree, entry, f"{base}/{entry.name}", f"{target}/{entry.name}")

    def unpacked(self, tree: Tree, entries: Iterable[Entry], target: str) -> None:
        """Copy what was in an archive: it keeps its owners and modes, and only a target that is
        made for it is as the change says."""
        self._held.append(self._made_directory(target))
        change, self._change = self._change, Change()
        try:
            self.tree(tree, (entry for entry in entries if entry.name), target)
        finally:
            self._change = change

    def _single(self, tree: Tree, entry: Entry, target: str) -> None:
        above, name = posixpath.split(target.rstrip("/"))
        self._one(tree, entry, f"{self.directory(above)}/{name}", target)

    def content(self, data: bytes, target: str, *, mode: int = 0o644) -> None:
        """A file of these bytes at the target."""
        above, name = posixpath.split(target)
        path = f"{self.directory(above)}/{name}"
        self._make_room(path, target)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
                     0o600)
        with open(fd, "wb") as file:
            file.write(data)
            os.fchown(fd, *(self._change.owner or (0, 0)))
            change = self._change.mode
            os.fchmod(fd, change.apply(mode, is_directory=False) if change else mode)
        self.size += len(data)

    def _one(self, tree: Tree, entry: Entry, path: str, shown: str) -> None:
        kind = stat.S_IFMT(entry.info.st_mode)
        if kind == stat.S_IFDIR:
            self._make_directory(tree, entry, path, shown)
            return
        if kind == stat.S_IFSOCK:
            return  # a socket without its server is nothing
        self._make_room(path, shown)
        key = (entry.info.st_dev, entry.info.st_ino)
        if entry.info.st_nlink > 1 and key in self._links:
            os.link(self._links[key], path, follow_symlinks=False)
            return
        if kind == stat.S_IFREG:
            self._make_file(tree, entry, path)
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(entry.path), path)
            self._describe(tree, entry, path)
        else:
            os.mknod(path, kind | 0o600, entry.info.st_rdev)
            self._describe(tree, entry, path)
        if entry.info.st_nlink > 1:
            self._links[key] = path

    def _make_directory(self, tree: Tree, entry: Entry, path: str, shown: str) -> None:
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise NotADirectoryError(
                    errno.ENOTDIR, "is no directory, and a directory should go there", shown
                ) from None
        self._describe(tree, entry, path)  # also one that was there

    def _make_room(self, path: str, shown: str) -> None:
        try:
            info = os.lstat(path)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(info.st_mode):
            raise IsADirectoryError(errno.EISDIR, "is a directory, and a file should go there",
                                    shown)
        os.unlink(path)

    def _make_file(self, tree: Tree, entry: Entry, path: str) -> None:
        reading = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC | entry.open_flags)
        try:
            writing = os.open(
                path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                self.size += copy_content(reading, writing, size=entry.info.st_size)
                self._describe_fd(tree, entry, writing)
            finally:
                os.close(writing)
        finally:
            os.close(reading)

    # ---- what a copy looks like ----

    def _owner(self, tree: Tree, info: os.stat_result) -> tuple[int, int]:
        if self._change.owner:
            return self._change.owner
        return (info.st_uid, info.st_gid) if tree.keeps_owners else (0, 0)

    def _mode(self, info: os.stat_result) -> int:
        mode = stat.S_IMODE(info.st_mode)
        if self._change.mode is None:
            return mode
        return self._change.mode.apply(mode, is_directory=stat.S_ISDIR(info.st_mode))

    def _describe_fd(self, tree: Tree, entry: Entry, fd: int) -> None:
        """Owner first: chown(2) clears set-user-ID bits."""
        info = entry.info
        os.fchown(fd, *self._owner(tree, info))
        os.fchmod(fd, self._mode(info))
        if tree.keeps_owners:
            for name, value in entry.attributes().items():
                os.setxattr(fd, name, value)
        os.utime(fd, ns=(info.st_mtime_ns, info.st_mtime_ns))

    def _describe(self, tree: Tree, entry: Entry, path: str) -> None:
        info = entry.info
        is_link = stat.S_ISLNK(info.st_mode)
        os.chown(path, *self._owner(tree, info), follow_symlinks=False)
        if not is_link:
            os.chmod(path, self._mode(info))
        if tree.keeps_owners and not is_link:
            for name, value in entry.attributes().items():
                os.setxattr(path, name, value, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            self._times.append((path, info))
        else:
            os.utime(path, ns=(info.st_mtime_ns, info.st_mtime_ns), follow_symlinks=False)


def copy_content(reading: int, writing: int, *, size: int) -> int:
    """Copy to the end; bytes.  Large files go through the kernel, which may share their blocks."""
    total = 0
    if size <= _SMALL:
        while data := os.read(reading, _SMALL):
            total += os.write(writing, data)
        return total
    try:
        while count := os.copy_file_range(reading, writing, _CHUNK):
            total += count
    except OSError as exc:
        if exc.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
    while count := os.sendfile(writing, reading, None, _CHUNK):
        total += count
    return total
