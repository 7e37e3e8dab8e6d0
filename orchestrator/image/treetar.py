"""A tree that somebody else may change meanwhile -> tar, and tar -> such a tree: by descriptors.

Every directory is opened from the one above it, and no symbolic link is followed, so that whoever
moves things about in a container while we copy leads us nowhere.  Names in an archive that would
leave the directory are refused.  The counterpart for trees of our own is image.writing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator

from orchestrator.dataclass import dataclass
from orchestrator.errors import ImageError
from orchestrator.image import tar, writing
from orchestrator.image.digest import CHUNK, Readable
from orchestrator.linux import xattr

_KINDS = {
    stat.S_IFREG: b"0", stat.S_IFLNK: b"2", stat.S_IFCHR: b"3", stat.S_IFBLK: b"4",
    stat.S_IFDIR: b"5", stat.S_IFIFO: b"6",
}  # fmt: skip
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LEVELS = 1000
Rename = Callable[[str], str]
"""Name of an entry -> its path below the directory."""
Skip = Callable[[str], bool]
"""Path below the top -> whether what is in it is left out (a mount of the container)."""


class Stream:
    """Parts of bytes as a stream to read."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._rest = b""

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes, at least one unless all is read."""
        while not self._rest:
            self._rest = next(self._parts, b"")
            if not self._rest:
                return b""
        cut = len(self._rest) if size < 0 else size
        data, self._rest = self._rest[:cut], self._rest[cut:]
        return data


# ---- packing


def pack(parent: int, name: str, *, top: str, skip: Skip = lambda path: False) -> Iterator[bytes]:
    """The archive of the entry `name` of the directory `parent`, called `top` in it; OSError where
    something cannot be read.  Sockets are left out."""
    packer = _Packer(skip)
    yield from packer.entry(parent, name, top)
    yield bytes(2 * tar.BLOCK)


def pack_inside(directory: int, *, skip: Skip) -> Iterator[bytes]:
    """The archive of everything in the open directory, which has no entry itself."""
    packer = _Packer(skip)
    for name in sorted(os.listdir(directory), key=os.fsencode):
        yield from packer.entry(directory, name, name)
    yield bytes(2 * tar.BLOCK)


class _Packer:
    def __init__(self, skip: Skip) -> None:
        self._skip = skip
        self._links: dict[tuple[int, int], str] = {}

    def entry(self, parent: int, name: str, shown: str, level: int = 0) -> Iterator[bytes]:
        info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        kind = _KINDS.get(stat.S_IFMT(info.st_mode))
        if kind is None:
            return
        if kind == b"0" and self._skip(shown):
            return
        if kind == b"5":
            yield from self._directory(parent, name, shown, level)
            return
        key = (info.st_dev, info.st_ino)
        first = self._links.setdefault(key, shown) if info.st_nlink > 1 else shown
        if first != shown:
            yield writing.header(info, shown, b"1", link=first, xattrs={})
        elif kind == b"0":
            yield from self._file(parent, name, shown)
        else:
            link = os.readlink(name, dir_fd=parent) if kind == b"2" else ""
            yield writing.header(info, shown, kind, link=link, xattrs={})

    def _directory(self, parent: int, name: str, shown: str, level: int) -> Iterator[bytes]:
        if level > _MOST_LEVELS:
            raise ImageError(f"{shown}: directories are nested too deeply")
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
        try:
            yield writing.header(os.fstat(fd), f"{shown.rstrip('/')}/", b"5", link="",
                                 xattrs=_xattrs(fd))  # fmt: skip
            if self._skip(shown):
                return
            for each in sorted(os.listdir(fd), key=os.fsencode):
                try:
                    yield from self.entry(fd, each, f"{shown.rstrip('/')}/{each}", level + 1)
                except FileNotFoundError:
                    continue  # it is gone meanwhile
        finally:
            os.close(fd)

    def _file(self, parent: int, name: str, shown: str) -> Iterator[bytes]:
        # non-blocking: it may have become a FIFO since it was looked at
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=parent)
        try:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode):
                return
            yield writing.header(info, shown, b"0", link="", xattrs=_xattrs(fd))
            yield from _content(fd, info.st_size)
        finally:
            os.close(fd)


def _content(fd: int, size: int) -> Iterator[bytes]:
    left = size
    while left:
        data = os.read(fd, min(left, CHUNK)) or bytes(min(left, CHUNK))  # it became shorter
        left -= len(data)
        yield data
    if size % tar.BLOCK:
        yield bytes(-size % tar.BLOCK)


def _xattrs(fd: int) -> dict[str, bytes]:
    try:
        return {n: os.getxattr(fd, n) for n in sorted(filter(xattr.is_kept, os.listxattr(fd)))}
    except OSError:
        return {}  # the file system has none


# ---- unpacking


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who gets what is unpacked; None: as the archive says."""

    uid: int
    gid: int


def unpack(
    stream: Readable, directory: int, *, owner: Owner | None,
    rename: Rename = lambda name: name,
) -> None:  # fmt: skip
    """Put the archive's entries into the open `directory`.  `rename` gives the path of an entry
    below it, empty for the directory itself.  Existing files are replaced, existing directories
    filled.  ImageError names the entry that is hostile or cannot be made."""
    times: list[tuple[str, int]] = []
    for entry, content in tar.read(stream):
        parts = [part for part in rename(entry.name).split("/") if part not in ("", ".")]
        if ".." in parts:
            raise ImageError(f"the archive leaves its directory: {entry.name!r}")
        try:
            _make(directory, parts, entry, content, owner=owner, rename=rename)
        except OSError as exc:
            raise ImageError(f"cannot write {'/'.join(parts) or '.'}: {exc.strerror}") from exc
        if entry.type == "directory" and parts:
            times.append(("/".join(parts), entry.mtime))
    for path, mtime in reversed(times):  # what was put into a directory has changed its time
        parent, name = _parent(directory, path.split("/"))
        try:
            os.utime(name, ns=(mtime, mtime), dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(parent)


def _parent(directory: int, parts: list[str]) -> tuple[int, str]:
    """The open directory that holds the last part; missing ones are made, links not followed."""
    here = os.dup(directory)
    for part in parts[:-1]:
        above = here
        try:
            try:
                here = os.open(part, _DIRECTORY, dir_fd=above)
            except FileNotFoundError:
                os.mkdir(part, 0o755, dir_fd=above)
                here = os.open(part, _DIRECTORY, dir_fd=above)
        finally:
            os.close(above)
    return here, parts[-1]


def _make(
    directory: int, parts: list[str], entry: tar.Entry, content: tar.Content, *,
    owner: Owner | None, rename: Rename,
) -> None:  # fmt: skip
    if not parts:
        return  # the directory itself is there
    parent, name = _parent(directory, parts)
    try:
        if entry.type == "directory":
            _make_directory(parent, name)
        else:
            _clear(parent, name)
            if entry.type == "hardlink":
                _link(directory, rename(entry.link), parent, name)
                return
            _make_other(parent, name, entry, content)
        _describe(parent, name, entry, owner)
    finally:
        os.close(parent)


def _make_directory(parent: int, name: str) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=parent)
            os.mkdir(name, 0o700, dir_fd=parent)


def _clear(parent: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return


def _link(directory: int, target: str, parent: int, name: str) -> None:
    parts = [part for part in target.split("/") if part not in ("", ".")]
    if ".." in parts or not parts:
        raise ImageError(f"the archive leaves its directory: {target!r}")
    holder, last = _parent(directory, parts)
    try:
        os.link(last, name, src_dir_fd=holder, dst_dir_fd=parent, follow_symlinks=False)
    finally:
        os.close(holder)


def _make_other(parent: int, name: str, entry: tar.Entry, content: tar.Content) -> None:
    if entry.type == "symlink":
        os.symlink(entry.link, name, dir_fd=parent)
    elif entry.type == "file":
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=parent)
        try:
            _fill(fd, entry, content)
        finally:
            os.close(fd)
    else:
        kind = {"char": stat.S_IFCHR, "block": stat.S_IFBLK, "fifo": stat.S_IFIFO}[entry.type]
        os.mknod(name, 0o600 | kind, os.makedev(entry.major, entry.minor), dir_fd=parent)


def _fill(fd: int, entry: tar.Entry, content: tar.Content) -> None:
    pieces = entry.segments or ((0, entry.size),)
    for offset, length in pieces:
        os.lseek(fd, offset, os.SEEK_SET)
        left = length
        while left:
            data = content.read(min(left, CHUNK))
            left -= len(data)
            while data:
                data = data[os.write(fd, data) :]
    if entry.segments is not None:
        os.ftruncate(fd, entry.size)


def _describe(parent: int, name: str, entry: tar.Entry, owner: Owner | None) -> None:
    uid, gid = (entry.uid, entry.gid) if owner is None else (owner.uid, owner.gid)
    if os.geteuid() == 0 or (uid, gid) != (os.geteuid(), os.getegid()):
        os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)
    if entry.type != "symlink":
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            os.chmod(f"/proc/self/fd/{fd}", entry.mode)
            for key, value in entry.xattrs.items():  # after the owner: chown(2) takes some away
                if xattr.is_kept(key):
                    os.setxattr(f"/proc/self/fd/{fd}", key, value)
        finally:
            os.close(fd)
    os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)
