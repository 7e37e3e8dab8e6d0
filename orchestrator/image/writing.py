"""A directory -> a tar stream, the same bytes for the same content.

Owns the writing of pax archives: names in byte order, no names of users, access times left out.
The counterpart of image.tar; what is peculiar to layers is in image.packing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from orchestrator.image.digest import CHUNK
from orchestrator.image.tar import BLOCK
from orchestrator.linux import xattr

TYPES = {
    stat.S_IFREG: b"0", stat.S_IFLNK: b"2", stat.S_IFCHR: b"3", stat.S_IFBLK: b"4",
    stat.S_IFDIR: b"5", stat.S_IFIFO: b"6",
}  # fmt: skip
LONGEST_NAME, MOST_BYTES = 100, 8**11
"""What fits into the fields of a header; more needs an extended one."""


class Packed:
    """The archive of what is below a directory, as a stream to read; sockets are left out."""

    def __init__(self, directory: str) -> None:
        self._parts = _archive(directory)
        self._rest = b""

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes."""
        if not self._rest:
            self._rest = next(self._parts, b"")
        cut = len(self._rest) if size < 0 else size
        data, self._rest = self._rest[:cut], self._rest[cut:]
        return data


def _archive(directory: str) -> Iterator[bytes]:
    links: dict[tuple[int, int], str] = {}
    yield from _member(directory, "./", links)
    for name in walk(directory):
        yield from _member(f"{directory}/{name}", name, links)
    yield bytes(2 * BLOCK)


def walk(directory: str) -> Iterator[str]:
    """Names below the directory, parents first, without recursion."""
    pending = [""]
    while pending:
        prefix = pending.pop()
        entries = sorted(os.scandir(f"{directory}/{prefix}"), key=lambda e: os.fsencode(e.name))
        for entry in entries:
            yield prefix + entry.name
        pending += [f"{prefix}{e.name}/" for e in reversed(entries)
                    if e.is_dir(follow_symlinks=False)]  # fmt: skip


def _member(path: str, name: str, links: dict[tuple[int, int], str]) -> Iterator[bytes]:
    info = os.lstat(path)
    kind = TYPES.get(stat.S_IFMT(info.st_mode))
    if kind is None:
        return
    key = (info.st_dev, info.st_ino)
    if info.st_nlink > 1 and kind != b"5":
        first = links.setdefault(key, name)
        if first != name:
            yield header(info, name, b"1", link=first, xattrs={})
            return
    link = os.readlink(path) if kind == b"2" else ""
    shown = name if kind != b"5" or name.endswith("/") else name + "/"
    yield header(info, shown, kind, link=link, xattrs=xattrs_of(path))
    if kind == b"0":
        yield from content(path, info.st_size)


def xattrs_of(path: str) -> dict[str, bytes]:
    """The extended attributes that an archive keeps."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return {}  # the file system has none
    wanted = sorted(filter(xattr.is_kept, names))
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in wanted}


def content(path: str, size: int, *, padded: bool = True) -> Iterator[bytes]:
    """`size` bytes of the file, with the padding of a member."""
    left = size
    with open(path, "rb", buffering=0) as file:
        while left:
            data = file.read(min(left, CHUNK))
            if not data:  # it became shorter meanwhile: what the header promised must follow
                data = bytes(min(left, CHUNK))
            left -= len(data)
            yield data
    if padded and size % BLOCK:
        yield bytes(-size % BLOCK)


def header(
    info: os.stat_result, name: str, kind: bytes, *, link: str, xattrs: dict[str, bytes]
) -> bytes:
    """The header of a member, with its extended header where it needs one."""
    raw, target = os.fsencode(name), os.fsencode(link)
    size = info.st_size if kind == b"0" else 0
    records: list[tuple[bytes, bytes]] = []
    if len(raw) > LONGEST_NAME:
        records.append((b"path", raw))
    if len(target) > LONGEST_NAME:
        records.append((b"linkpath", target))
    for key, value, limit in (
        (b"size", size, MOST_BYTES), (b"uid", info.st_uid, 8**7), (b"gid", info.st_gid, 8**7)
    ):  # fmt: skip
        if value >= limit:
            records.append((key, str(value).encode()))
    if info.st_mtime_ns % 10**9 or not 0 <= info.st_mtime_ns < 8**11 * 10**9:
        records.append((b"mtime", _time(info.st_mtime_ns)))
    records += [(b"SCHILY.xattr." + os.fsencode(k), v) for k, v in xattrs.items()]
    before = extended(records) if records else b""
    return before + _block(info, raw, kind, size=size, link=target)


def _time(nanoseconds: int) -> bytes:
    whole, fraction = divmod(abs(nanoseconds), 10**9)
    sign = "-" if nanoseconds < 0 else ""
    return f"{sign}{whole}.{fraction:09}".encode()


def extended(records: list[tuple[bytes, bytes]]) -> bytes:
    """A pax header with these records for the member that follows."""
    data = b"".join(_record(key, value) for key, value in records)
    head = fields(b"pax", b"x", mode=0o644, uid=0, gid=0, size=len(data), mtime=0)
    return head + data + bytes(-len(data) % BLOCK)


def _record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    length = len(body)
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


def _block(
    info: os.stat_result, name: bytes, kind: bytes, *, size: int, link: bytes
) -> bytes:
    device = info.st_rdev if kind in (b"3", b"4") else 0
    return fields(
        name[:LONGEST_NAME], kind, mode=stat.S_IMODE(info.st_mode),
        uid=info.st_uid if info.st_uid < 8**7 else 0, gid=info.st_gid if info.st_gid < 8**7 else 0,
        size=size if size < MOST_BYTES else 0,
        mtime=min(max(info.st_mtime_ns // 10**9, 0), 8**11 - 1),
        link=link[:LONGEST_NAME], major=os.major(device), minor=os.minor(device),
    )  # fmt: skip


def fields(
    name: bytes, kind: bytes, *, mode: int, uid: int, gid: int, size: int, mtime: int,
    link: bytes = b"", major: int = 0, minor: int = 0,
) -> bytes:  # fmt: skip
    """One header block."""
    parts = (
        name.ljust(100, b"\0"), b"%07o\0" % mode, b"%07o\0" % uid, b"%07o\0" % gid,
        b"%011o\0" % size, b"%011o\0" % mtime, b" " * 8, kind, link.ljust(100, b"\0"),
        b"ustar\00000", bytes(64), b"%07o\0" % major, b"%07o\0" % minor, bytes(167),
    )  # fmt: skip
    block = b"".join(parts)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
