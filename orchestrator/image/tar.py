"""Reading tar archives from a stream: ustar, pax, GNU long names and sparse files, old v7.

Owns the format and distrusts every number in it: what would need much memory (long headers,
sparse maps) has a limit, what contradicts itself is refused.  Knows nothing of layers: it yields
entries and their content and touches no file.  Formats: POSIX.1-2001 pax(1), tar(5) of GNU tar.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from orchestrator.dataclass import dataclass, field
from orchestrator.errors import ImageError
from orchestrator.image.digest import CHUNK, Readable

BLOCK = 512
LONGEST_HEADER = 1 << 20
MOST_SEGMENTS = 1 << 17

Type = Literal["file", "hardlink", "symlink", "char", "block", "directory", "fifo"]
_TYPES: dict[bytes, Type] = {
    b"0": "file", b"\0": "file", b"7": "file", b"S": "file", b"1": "hardlink", b"2": "symlink",
    b"3": "char", b"4": "block", b"5": "directory", b"6": "fifo",
}  # fmt: skip
_XATTR = "SCHILY.xattr."
_LATEST = 1 << 33
"""Seconds; beyond it file systems disagree about what they store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One member; names are decoded with surrogateescape and may be hostile."""

    name: str
    type: Type
    mode: int
    """Permission bits with set-id and sticky."""
    uid: int
    gid: int
    mtime: int
    """Nanoseconds since the epoch."""
    size: int
    """Bytes of the file with its holes."""
    link: str = ""
    major: int = 0
    minor: int = 0
    xattrs: dict[str, bytes] = field(default_factory=dict)
    segments: tuple[tuple[int, int], ...] | None = None
    """Sparse: (offset, length) of what is stored, in order; None: all of it."""


class Content:
    """The stored bytes of the current entry."""

    def __init__(self, stream: Readable, size: int) -> None:
        self._stream = stream
        self._left = size
        self._padding = -size % BLOCK

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, at least one unless all is read."""
        if not self._left:
            return b""
        data = self._stream.read(min(size, self._left, CHUNK))
        if not data:
            raise _broken("ends in the middle of a file")
        self._left -= len(data)
        return data

    def jump(self) -> int:
        """Declare the content read by who can move the stream on; how far that is."""
        left, self._left = self._left, 0
        return left

    def skip(self) -> None:
        """To the next header."""
        while self.read(CHUNK):
            pass
        _exactly(self._stream, self._padding)
        self._padding = 0


def read(stream: Readable) -> Iterator[tuple[Entry, Content]]:
    """Every member with its content, which must be read before the next is asked for.  ImageError
    where the archive is damaged; it ends at the first block of zeros, or where the data ends."""
    defaults: dict[str, bytes] = {}
    first = True
    while True:
        header, records = _header(stream, defaults, first=first)
        if header is None:
            return
        first = False
        if header[156:157] in (b"V", b"D"):  # volume label; list of an incremental directory
            Content(stream, _number(header, 124, 12)).skip()
            continue
        entry, stored = _entry(header, records, stream)
        content = Content(stream, stored)
        yield entry, content
        content.skip()


class _Records(dict[str, bytes]):
    """pax records; the pairs of sparse format 0.0 repeat their keys and are kept apart."""

    def __init__(self, start: dict[str, bytes]) -> None:
        super().__init__(start)
        self.offsets: list[bytes] = []
        self.lengths: list[bytes] = []

    def add(self, key: str, value: bytes) -> None:
        if key == "GNU.sparse.offset":
            self.offsets.append(value)
        elif key == "GNU.sparse.numbytes":
            self.lengths.append(value)
        elif value:
            self[key] = value
        else:
            self.pop(key, None)  # an empty value takes a record back


def _header(
    stream: Readable, defaults: dict[str, bytes], *, first: bool
) -> tuple[bytes | None, _Records]:
    """The next real header and the extended headers before it."""
    records = _Records(defaults)
    while True:
        block = _exactly(stream, BLOCK, or_end=True)
        if not block or not any(block):
            return None, records
        _check_sum(block, first=first)
        first = False
        kind = block[156:157]
        if kind in (b"x", b"X"):
            _parse_records(_long(stream, block), records)
        elif kind == b"g":
            shared = _Records(defaults)
            _parse_records(_long(stream, block), shared)
            defaults.clear()
            defaults.update(shared)
            records.update(shared)
        elif kind in (b"L", b"K"):
            key = "path" if kind == b"L" else "linkpath"
            records[key] = _long(stream, block).rstrip(b"\0")
        else:
            return block, records


def _check_sum(block: bytes, *, first: bool) -> None:
    stated = block[148:156].partition(b"\0")[0].strip()
    expected = int(stated, 8) if stated and not stated.strip(b"01234567") else -1
    plain = sum(block) - sum(block[148:156]) + 8 * 32
    if plain != expected:
        # some old writers added up signed bytes
        signed = plain - 256 * sum(b > 127 for b in block[:148] + block[156:])
        if signed != expected:
            if first:
                raise ImageError("it is no tar archive")
            raise _broken("has a header with a wrong checksum")


def _long(stream: Readable, block: bytes) -> bytes:
    size = _number(block, 124, 12)
    if size > LONGEST_HEADER:
        raise _broken(f"has an extended header of {size} bytes")
    data = _exactly(stream, size)
    _exactly(stream, -size % BLOCK)
    return data


def _parse_records(data: bytes, records: _Records) -> None:
    """`length key=value\\n`, where length counts the whole record."""
    position = 0
    while position < len(data) and data[position] != 0:
        space = data.find(b" ", position, position + 20)
        digits = data[position:space] if space > 0 else b""
        end = position + (int(digits) if digits.isdigit() else 0)
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end > len(data) or end <= space + 1 or not equals or data[end - 1 : end] != b"\n":
            raise _broken("has a malformed extended header")
        records.add(_decode(key), value)
        position = end


def _entry(header: bytes, records: _Records, stream: Readable) -> tuple[Entry, int]:
    """The entry and how many bytes are stored for it."""
    kind = _TYPES.get(header[156:157])
    name = _name(header, records)
    if kind is None:
        raise _broken(f"has an entry of unknown type {header[156:157]!r}: {name!r}")
    if kind == "file" and name.endswith("/"):
        kind = "directory"  # as v7 archives write directories
    stored = _whole(records["size"]) if "size" in records else _number(header, 124, 12)
    if kind != "file":
        stored = 0  # some writers give links the size of what they lead to
    size, segments, used = _sparse(header, records, stream, stored)
    device = kind in ("char", "block")
    entry = Entry(
        name=name,
        type=kind,
        mode=_number(header, 100, 8) & 0o7777,
        uid=_id(records.get("uid"), header, 108),
        gid=_id(records.get("gid"), header, 116),
        mtime=_mtime(records, header),
        size=size,
        link=_link(header, records),
        major=_number(header, 329, 8) if device else 0,
        minor=_number(header, 337, 8) if device else 0,
        xattrs={k[len(_XATTR):]: v for k, v in records.items() if k.startswith(_XATTR)},
        segments=segments,
    )
    return entry, stored - used


def _name(header: bytes, records: _Records) -> str:
    found = records.get("GNU.sparse.name") or records.get("path")
    if found is None:
        found = _field(header, 0, 100)
        if header[257:263] == b"ustar\0" and header[345]:
            found = _field(header, 345, 155) + b"/" + found
    return _decode(found)


def _link(header: bytes, records: _Records) -> str:
    found = records.get("linkpath")
    return _decode(_field(header, 157, 100) if found is None else found)


def _decode(data: bytes) -> str:
    if b"\0" in data:
        raise _broken("has a name with a NUL byte")
    return data.decode("utf-8", "surrogateescape")


def _field(header: bytes, start: int, length: int) -> bytes:
    return header[start : start + length].partition(b"\0")[0]


def _number(header: bytes, start: int, length: int) -> int:
    """Octal text, or GNU's binary form where the first bit is set; never negative."""
    raw = header[start : start + length]
    if raw[0] & 0x80:
        value = int.from_bytes(bytes([raw[0] & 0x7F]) + raw[1:], "big")
        if raw[0] & 0x40 or value >= 1 << 63:
            raise _broken("has a number out of range in a header")
        return value
    text = raw.partition(b"\0")[0].strip()
    if not text:
        return 0
    if text.strip(b"01234567"):
        raise _broken("has a header field that is no number")
    return int(text, 8)


def _whole(text: bytes) -> int:
    if not text.isdigit() or len(text) > 18:
        raise _broken("has an extended header whose number is none")
    return int(text)


def _id(record: bytes | None, header: bytes, start: int) -> int:
    value = _number(header, start, 8) if record is None else _whole(record)
    if value >= (1 << 32) - 1:
        raise _broken(f"has an owner out of range: {value}")
    return value


def _mtime(records: _Records, header: bytes) -> int:
    text = records.get("mtime")
    if text is None:
        binary = header[136] & 0x80 and header[136] & 0x40  # before 1970 in GNU's binary form
        return 0 if binary else min(_number(header, 136, 12), _LATEST) * 1_000_000_000
    whole, _, fraction = text.partition(b".")
    digits = whole.removeprefix(b"-")
    if not digits.isdigit() or (fraction and not fraction.isdigit()) or len(digits) > 18:
        raise _broken("has an extended header whose time is none")
    nanoseconds = int(fraction[:9].ljust(9, b"0")) if fraction else 0
    value = min(int(digits), _LATEST) * 1_000_000_000 + nanoseconds
    return -value if whole.startswith(b"-") else value


# ---- sparse files ----

Segments = tuple[tuple[int, int], ...]


def _sparse(
    header: bytes, records: _Records, stream: Readable, stored: int
) -> tuple[int, Segments | None, int]:
    """(whole size, segments, bytes of content that were the map); segments None: not sparse."""
    used = 0
    if header[156:157] == b"S":
        size, segments = _number(header, 483, 12), _old_map(header, stream)
    elif records.get("GNU.sparse.major") == b"1":
        size = _whole(records.get("GNU.sparse.realsize", b""))
        segments, used = _stored_map(stream, stored)
    elif "GNU.sparse.map" in records or records.offsets:
        size = _whole(records.get("GNU.sparse.size", b""))
        segments = _record_map(records)
    else:
        return stored, None, 0
    _check_map(segments, size=size, stored=stored - used)
    return size, segments, used


def _old_map(header: bytes, stream: Readable) -> Segments:
    found = _pairs(header, 386, 4)
    more = header[482]
    while more:
        block = _exactly(stream, BLOCK)
        found += _pairs(block, 0, 21)
        more = block[504]
        if len(found) > MOST_SEGMENTS:
            raise _broken("has a sparse file of too many pieces")
    return tuple(found)


def _pairs(block: bytes, start: int, count: int) -> list[tuple[int, int]]:
    places = range(start, start + 24 * count, 24)
    return [(_number(block, p, 12), _number(block, p + 12, 12)) for p in places if any(
        block[p : p + 24])]  # fmt: skip


def _record_map(records: _Records) -> Segments:
    """Formats 0.0 (pairs of records) and 0.1 (one record with commas)."""
    if "GNU.sparse.map" in records:
        parts = records["GNU.sparse.map"].split(b",")
        offsets, lengths = parts[::2], parts[1::2]
    else:
        offsets, lengths = records.offsets, records.lengths
    if len(offsets) != len(lengths):
        raise _broken("has a sparse file with a broken map")
    return tuple((_whole(o), _whole(n)) for o, n in zip(offsets, lengths, strict=True))


def _stored_map(stream: Readable, stored: int) -> tuple[Segments, int]:
    """Format 1.0: decimal numbers, one a line, in blocks before the content."""
    lines: list[bytes] = []
    used, rest, wanted = 0, b"", 1
    while len(lines) < wanted:
        if used + BLOCK > stored:
            raise _broken("has a sparse file with a broken map")
        *new, rest = (rest + _exactly(stream, BLOCK)).split(b"\n")
        lines += new
        used += BLOCK
        if lines and wanted == 1:
            wanted = 1 + 2 * _whole(lines[0])
        if wanted > 2 * MOST_SEGMENTS or len(rest) > BLOCK:
            raise _broken("has a sparse file of too many pieces")
    numbers = [_whole(line) for line in lines[1:wanted]]
    return tuple(zip(numbers[::2], numbers[1::2], strict=True)), used


def _check_map(segments: Segments, *, size: int, stored: int) -> None:
    end = 0
    for offset, length in segments:
        if offset < end:
            raise _broken("has a sparse file with a broken map")
        end = offset + length
    if end > size or sum(length for _, length in segments) != stored:
        raise _broken("has a sparse file with a broken map")


def _exactly(stream: Readable, size: int, *, or_end: bool = False) -> bytes:
    parts: list[bytes] = []
    left = size
    while left:
        data = stream.read(left)
        if not data:
            if or_end and left == size:
                return b""
            raise _broken("ends too early")
        parts.append(data)
        left -= len(data)
    return b"".join(parts)


def _broken(text: str) -> ImageError:
    return ImageError(f"the tar archive {text}")
