"""What a build step wrote -> a layer: the digest of its tar, and the recipe to make that again.

The counterpart of image.layers.  The upper directory of an overlay is a lower directory as it
stands (overlayfs.rst), so nothing is copied: the tar, whiteouts in the image specification's words,
is only ever hashed.  Knows nothing of builds.
"""

from __future__ import annotations

import os
import stat
from hashlib import sha256

from orchestrator.dataclass import dataclass
from orchestrator.errors import ImageError
from orchestrator.image import writing
from orchestrator.image.layers import OPAQUE, WHITEOUT
from orchestrator.image.recipe import Recorder
from orchestrator.image.tar import BLOCK
from orchestrator.linux import xattr


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A directory as a layer."""

    diff_id: str
    size: int
    """Bytes of file content."""
    is_empty: bool
    """There is no entry at all."""


def pack(
    directory: str, recipe: str, *, latest: int | None = None, is_ours: bool = True
) -> Packed:
    """Hash the layer's tar and write its recipe to the file `recipe`.

    `latest`: seconds since the epoch; a file that was changed later gets this time.  Sockets, which
    are nothing without a server, go away, or are left out of what is not ours.  ImageError for what
    no other machine could read."""
    with open(recipe, "wb") as file:
        writer = _Writer(directory, Recorder(None, file), latest, is_ours=is_ours)
        writer.write()
    return Packed(diff_id=f"sha256:{writer.hash.hexdigest()}", size=writer.size,
                  is_empty=not writer.count)


class _Writer:
    """One pass over the directory."""

    def __init__(
        self, directory: str, recorder: Recorder, latest: int | None, *, is_ours: bool
    ) -> None:
        self._directory, self._is_ours = directory, is_ours
        self._recorder = recorder
        self._latest = None if latest is None else latest * 10**9
        self._links: dict[tuple[int, int], str] = {}
        self.hash = sha256()
        self.size = 0
        self.count = 0

    def write(self) -> None:
        self._root()
        for name in writing.walk(self._directory):
            self._member(name)
        self._add(bytes(2 * BLOCK))
        self._recorder.finish()

    def _add(self, data: bytes) -> None:
        self.hash.update(data)
        self._recorder.keep(data)

    def _root(self) -> None:
        """The root directory goes along only where a step has changed it."""
        info = os.lstat(self._directory)
        xattrs = writing.xattrs_of(self._directory)
        if stat.S_IMODE(info.st_mode) != 0o755 or info.st_uid or info.st_gid or xattrs:
            self._add(writing.header(info, "./", b"5", link="", xattrs=xattrs))
            self.count += 1

    def _member(self, name: str) -> None:
        path = f"{self._directory}/{name}"
        info = self._clamped(path)
        kind = writing.TYPES.get(stat.S_IFMT(info.st_mode))
        if kind is None:
            if self._is_ours:
                os.unlink(path)
            return
        self.count += 1
        if kind == b"3" and info.st_rdev == 0:
            self._whiteout(name)
        elif not self._linked(name, info, kind):
            self._entry(name, path, info, kind)

    def _clamped(self, path: str) -> os.stat_result:
        info = os.lstat(path)
        if self._latest is None or info.st_mtime_ns <= self._latest:
            return info
        os.utime(path, ns=(info.st_atime_ns, self._latest), follow_symlinks=False)
        return os.lstat(path)

    def _whiteout(self, name: str) -> None:
        above, _, last = name.rpartition("/")
        shown = f"{above}/{WHITEOUT}{last}" if above else WHITEOUT + last
        self._add(_mark(shown))

    def _linked(self, name: str, info: os.stat_result, kind: bytes) -> bool:
        if info.st_nlink < 2 or kind == b"5":
            return False
        first = self._links.setdefault((info.st_dev, info.st_ino), name)
        if first == name:
            return False
        self._add(writing.header(info, name, b"1", link=first, xattrs={}))
        return True

    def _entry(self, name: str, path: str, info: os.stat_result, kind: bytes) -> None:
        if os.path.basename(name).startswith(WHITEOUT):
            raise ImageError(f"/{name}: no layer can have a file whose name begins with {WHITEOUT}")
        xattrs = writing.xattrs_of(path)
        link = os.readlink(path) if kind == b"2" else ""
        shown = f"{name}/" if kind == b"5" else name
        self._add(writing.header(info, shown, kind, link=link, xattrs=xattrs))
        if kind == b"5":
            self._directory_marks(name, path)
        elif kind == b"0":
            self._content(name, path, info)

    def _directory_marks(self, name: str, path: str) -> None:
        if xattr.is_moved(path):
            raise ImageError(f"/{name}: this machine's overlayfs has moved it only by name",
                             hint="switch redirect_dir and metacopy of overlayfs off")
        if xattr.is_opaque(path):
            self._add(_mark(f"{name}/{OPAQUE}"))

    def _content(self, name: str, path: str, info: os.stat_result) -> None:
        size = info.st_size
        self.size += size
        if size:
            self._recorder.begin_content(name, ((0, size),))
            for data in writing.content(path, size, padded=False):
                self.hash.update(data)
            self._recorder.end_content()
            if size % BLOCK:
                self._add(bytes(-size % BLOCK))


def _mark(name: str) -> bytes:
    """An empty file without owner or time, as whiteouts are."""
    raw = os.fsencode(name)
    extended = writing.extended([(b"path", raw)]) if len(raw) > 100 else b""
    return extended + writing.fields(raw[:100], b"0", mode=0, uid=0, gid=0, size=0, mtime=0)
