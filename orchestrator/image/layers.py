"""A layer's tar -> a directory that overlayfs takes as a lower layer.

Owns the meaning of whiteouts (image-spec layer.md -> overlayfs.rst: a deleted name is a character
device 0:0, an opaque directory carries a mark) and path safety: every name is resolved by the
kernel inside the layer's directory (linux.chase), so that neither `..`, absolute names, symbolic
links nor hard links lead out of it.  Needs root for owners, of a user namespace at least.
"""

from __future__ import annotations

import errno
import os
import stat

from orchestrator.errors import ImageError
from orchestrator.image import removal, tar
from orchestrator.image.digest import CHUNK, Hashing, Readable
from orchestrator.image.recipe import Recorder
from orchestrator.image.store import RECIPE
from orchestrator.linux import chase, procfs, xattr

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
RESERVED = ".wh..wh."
"""Other names of aufs, which mean nothing to us."""
_MOST_HELD = 64
_DIRECTORY = os.O_PATH | os.O_DIRECTORY


def unpack(
    stream: Readable, directory: str, *, algorithm: str = "sha256"
) -> tuple[str, int]:
    """Fill the empty `directory` from the uncompressed tar; returns the tar's digest (the layer's
    diff id) and the bytes of file content.  ImageError names the entry that failed.

    Beside it, at `directory` + RECIPE, lies afterwards how to make the tar again; not for
    the rare tar that overwrites its own files, of which nobody knows the first content."""
    hashing = Hashing(stream, algorithm=algorithm)
    with open(directory + RECIPE, "wb") as file:
        recorder = Recorder(hashing, file)
        tree = _Tree(directory, recorder)
        try:
            _add_all(tree, recorder)
        finally:
            tree.close()
        recorder.finish()
    if tree.overwrote:
        os.unlink(directory + RECIPE)
    if not hashing.count:
        raise ImageError("there is not a single byte")
    return hashing.digest(), tree.size


def _add_all(tree: _Tree, recorder: Recorder) -> None:
    for entry, content in tar.read(recorder):
        try:
            tree.add(entry, content)
        except OSError as exc:
            raise _failed(entry, exc) from exc
    tree.finish()
    recorder.drain()


def _failed(entry: tar.Entry, exc: OSError) -> ImageError:
    hint = None
    if exc.errno == errno.EINVAL and procfs.is_in_user_namespace():
        hint = f"user {entry.uid} or group {entry.gid} is more than /etc/subuid gives to this user"
    elif exc.errno == errno.EPERM and os.geteuid() != 0:
        hint = "unpacking sets owners and makes devices, which needs root"
    elif exc.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "free some space, or put the data on another disk with PCOMPOSE_DATA"
    return ImageError(f"cannot unpack {entry.name!r}: {exc.strerror}", hint=hint)


def _parts(name: str) -> list[str]:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ImageError(f"the layer leaves its directory: {name!r}")
    return parts


class _Tree:
    """The directory being filled."""

    def __init__(self, directory: str, recorder: Recorder) -> None:
        self.size = 0
        self.overwrote = False
        """A file that was there is no more."""
        self._recorder = recorder
        self._directory = directory
        self._root = os.open(directory, _DIRECTORY | os.O_CLOEXEC)
        self._held: dict[str, int] = {}
        self._times: dict[tuple[str, str], int] = {}
        self._whiteouts: set[tuple[str, str]] = set()
        self._displaced = 0
        self._has_devices = not procfs.is_in_user_namespace()

    def close(self) -> None:
        self._let_go()
        os.close(self._root)

    def _let_go(self) -> None:
        for fd in self._held.values():
            os.close(fd)
        self._held.clear()

    def _parent(self, path: str, *, make: bool = True) -> int:
        """The directory at `path`, made with its parents where an archive left it out.  Held until
        something is displaced: from then on a name may lead elsewhere."""
        if not path:
            return self._root
        fd = self._held.get(path)
        if fd is None:
            if len(self._held) >= _MOST_HELD:
                self._let_go()
            fd = self._open_or_make(path, make=make)
            self._held[path] = fd
        return fd

    def _open_or_make(self, path: str, *, make: bool) -> int:
        try:
            return chase.open_inside(self._root, path, _DIRECTORY)
        except FileNotFoundError:
            if not make:
                raise
        names = path.split("/")
        directory = os.dup(self._root)
        for count, name in enumerate(names, start=1):
            above = directory
            try:
                directory = self._step(above, name, "/".join(names[:count]))
            finally:
                os.close(above)
        return directory

    def _step(self, above: int, name: str, path: str) -> int:
        try:
            return chase.open_inside(self._root, path, _DIRECTORY)
        except FileNotFoundError:
            os.mkdir(name, dir_fd=above)
            os.chmod(name, 0o755, dir_fd=above)  # whatever the umask of who loads
            return chase.open_inside(self._root, path, _DIRECTORY)

    def add(self, entry: tar.Entry, content: tar.Content) -> None:
        """Make what the entry describes."""
        parts = _parts(entry.name)
        if any(part.startswith(RESERVED) and part != OPAQUE for part in parts):
            return
        if any(part.startswith(WHITEOUT) for part in parts[:-1]):
            raise ImageError(f"the layer has a whiteout that is a directory: {entry.name!r}")
        if not parts:
            self._root_entry(entry)
            return
        parent, name = "/".join(parts[:-1]), parts[-1]
        if name.startswith(WHITEOUT):
            self._whiteout(parent, name, entry)
        elif entry.type == "directory":
            self._make_directory(parent, name, entry)
        elif self._has_devices or entry.type not in ("char", "block"):
            self._make_other(parent, name, entry, content)

    def _root_entry(self, entry: tar.Entry) -> None:
        if entry.type != "directory":
            raise ImageError(f"the layer has a {entry.type} in place of its root directory")
        self._describe(self._root, ".", entry)
        self._times["", "."] = entry.mtime

    # ---- whiteouts ----

    def _whiteout(self, parent: str, name: str, entry: tar.Entry) -> None:
        hidden = name[len(WHITEOUT):]
        if name != OPAQUE and hidden in ("", ".", ".."):
            raise ImageError(f"the layer has a malformed whiteout: {entry.name!r}")
        directory = self._parent(parent)
        if name == OPAQUE:
            self._make_opaque(directory, ".")
            return
        try:
            os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=directory)
        except FileExistsError:
            # whiteouts concern lower layers: what this layer put there stays, but a directory must
            # not merge with the one below
            if stat.S_ISDIR(os.lstat(hidden, dir_fd=directory).st_mode):
                self._make_opaque(directory, hidden)
            return
        self._whiteouts.add((parent, hidden))

    def _make_opaque(self, parent: int, name: str) -> None:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC,
                     dir_fd=parent)
        try:
            xattr.make_opaque(fd)
        finally:
            os.close(fd)

    # ---- entries ----

    def _make_directory(self, parent: str, name: str, entry: tar.Entry) -> None:
        directory = self._parent(parent)
        hides = (parent, name) in self._whiteouts
        try:
            os.mkdir(name, 0o700, dir_fd=directory)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(name, dir_fd=directory).st_mode):
                directory = self._displace(parent, name)
                os.mkdir(name, 0o700, dir_fd=directory)
        self._describe(directory, name, entry)
        if hides:
            self._make_opaque(directory, name)
        self._times[parent, name] = entry.mtime

    def _make_other(
        self, parent: str, name: str, entry: tar.Entry, content: tar.Content
    ) -> None:
        if entry.type == "hardlink" and _parts(entry.link) == _parts(entry.name):
            return  # a link to itself says nothing
        directory = self._parent(parent)
        try:
            self._make(directory, name, entry, content)
        except FileExistsError:
            self._make(self._displace(parent, name), name, entry, content)

    def _displace(self, parent: str, name: str) -> int:
        """Move away what an earlier entry put there; the parent again."""
        directory = self._parent(parent)
        self.overwrote = self.overwrote or (parent, name) not in self._whiteouts
        if stat.S_ISDIR(os.lstat(name, dir_fd=directory).st_mode):
            self._displaced += 1
            gone = f"{self._directory}.gone{self._displaced}"
            os.rename(name, gone, src_dir_fd=directory)
            removal.remove_tree(gone)
        else:
            os.unlink(name, dir_fd=directory)
        self._whiteouts.discard((parent, name))
        self._let_go()
        return self._parent(parent)

    def _make(self, directory: int, name: str, entry: tar.Entry, content: tar.Content) -> None:
        """Make one that is no directory; FileExistsError before anything is read or written."""
        if entry.type == "file":
            self._make_file(directory, name, entry, content)
            self.size += entry.size
            return
        if entry.type == "hardlink":
            self._make_link(directory, name, entry)
            return
        if entry.type == "symlink":
            os.symlink(entry.link, name, dir_fd=directory)
        else:
            kind = {"char": stat.S_IFCHR, "block": stat.S_IFBLK, "fifo": stat.S_IFIFO}[entry.type]
            os.mknod(name, kind | 0o600, os.makedev(entry.major, entry.minor), dir_fd=directory)
        self._describe(directory, name, entry)
        times = (entry.mtime, entry.mtime)
        os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)

    def _make_file(
        self, directory: int, name: str, entry: tar.Entry, content: tar.Content
    ) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=directory)
        try:
            self._record(entry)
            _fill(fd, entry, content)
            self._recorder.end_content()
            os.fchown(fd, entry.uid, entry.gid)
            os.fchmod(fd, entry.mode)
            _set_xattrs(fd, entry)
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(fd)

    def _record(self, entry: tar.Entry) -> None:
        pieces = ((0, entry.size),) if entry.segments is None else entry.segments
        self._recorder.begin_content("/".join(_parts(entry.name)), pieces)

    def _make_link(self, directory: int, name: str, entry: tar.Entry) -> None:
        target = _parts(entry.link)
        if not target:
            raise ImageError(f"the layer has a hard link to nothing: {entry.name!r}")
        source = chase.open_inside(self._root, "/".join(target[:-1]), _DIRECTORY)
        try:
            os.link(target[-1], name, src_dir_fd=source, dst_dir_fd=directory,
                    follow_symlinks=False)
        finally:
            os.close(source)

    def _describe(self, directory: int, name: str, entry: tar.Entry) -> None:
        """Owner, mode and attributes of one that is no regular file."""
        os.chown(name, entry.uid, entry.gid, dir_fd=directory, follow_symlinks=False)
        if entry.type != "symlink":
            os.chmod(name, entry.mode, dir_fd=directory)
        if entry.xattrs:
            _set_xattrs(f"/proc/self/fd/{directory}/{name}", entry)

    def finish(self) -> None:
        """Times of directories, which every entry made inside has changed."""
        for (parent, name), time in self._times.items():
            try:
                directory = self._parent(parent, make=False)
                os.utime(name, ns=(time, time), dir_fd=directory, follow_symlinks=False)
            except OSError as exc:
                # a later entry took the place of the directory, or of one on the way to it
                if exc.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    raise


def _fill(fd: int, entry: tar.Entry, content: tar.Content) -> None:
    if entry.segments is None:
        while data := content.read(CHUNK):
            _write(fd, data)
        return
    for offset, length in entry.segments:
        os.lseek(fd, offset, os.SEEK_SET)
        while length:
            data = content.read(length)
            length -= len(data)
            _write(fd, data)
    os.ftruncate(fd, entry.size)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]


def _set_xattrs(target: int | str, entry: tar.Entry) -> None:
    for name, value in entry.xattrs.items():
        if xattr.is_kept(name):
            if isinstance(target, int):
                os.setxattr(target, name, value)
            else:
                os.setxattr(target, name, value, follow_symlinks=False)
