"""How to make a layer's tar again, byte for byte, from its directory.

A layer is kept unpacked only; whoever saves or pushes an image needs the very tar whose digest its
config names.  The recipe is all of the tar but the content of files: headers and padding as they
were, and in place of content the file and the pieces of it that stood there.  Compressed it is a
few dozen bytes a file, where keeping the tar would double the store.

    R length bytes            as they were
    F length path count (offset length)…     content

Knows nothing of the store; names are resolved inside the layer's directory only.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import IO

from orchestrator.errors import ImageError
from orchestrator.image.digest import CHUNK, Readable
from orchestrator.linux import chase

_LENGTH = struct.Struct("<I")
_PIECE = struct.Struct("<QQ")
_BUFFER = 1 << 16
_LEVEL = 1  # headers are mostly zeros: more effort saves little


class Recorder:
    """A stream that writes the recipe of what is read through it; without a source, of what it is
    told by `keep`."""

    def __init__(self, source: Readable | None, target: IO[bytes]) -> None:
        self._source = source
        self._target = target
        self._deflate = zlib.compressobj(_LEVEL)
        self._raw: list[bytes] = []
        self._held = 0
        self._in_content = False

    def read(self, size: int = -1, /) -> bytes:
        """As the source reads."""
        data = self._source.read(size) if self._source else b""
        if not self._in_content and data:
            self.keep(data)
        return data

    def keep(self, data: bytes) -> None:
        """These bytes come next, as they are."""
        self._raw.append(data)
        self._held += len(data)
        if self._held >= _BUFFER:
            self._flush()

    def drain(self) -> None:
        """Read to the end."""
        while self.read(CHUNK):
            pass

    def begin_content(self, path: str, pieces: Sequence[tuple[int, int]]) -> None:
        """What is read from here on is the content of `path`, exactly the `pieces` of it."""
        self._flush()
        name = os.fsencode(path)
        packed = b"".join(_PIECE.pack(*piece) for piece in pieces)
        self._write(b"F" + _LENGTH.pack(len(name)) + name + _LENGTH.pack(len(pieces)) + packed)
        self._in_content = True

    def end_content(self) -> None:
        """What is read from here on is kept as it is."""
        self._in_content = False

    def finish(self) -> None:
        """Write the rest."""
        self._flush()
        self._target.write(self._deflate.flush())

    def _flush(self) -> None:
        if self._raw:
            self._write(b"R" + _LENGTH.pack(self._held) + b"".join(self._raw))
            self._raw.clear()
            self._held = 0

    def _write(self, data: bytes) -> None:
        self._target.write(self._deflate.compress(data))


def replay(recipe: str, directory: str) -> Iterator[bytes]:
    """The tar, from the recipe's file and the layer's directory.  ImageError where they do not fit;
    that the content is still what it was is for the caller to see, by the digest."""
    root = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with open(recipe, "rb") as file:
            reader = _Inflated(file)
            while kind := reader.read(1):
                if kind == b"R":
                    yield reader.exactly(reader.length())
                else:
                    yield from _content(root, reader)
    finally:
        os.close(root)


def size(recipe: str) -> int:
    """Bytes of the tar that `replay` gives."""
    total = 0
    with open(recipe, "rb") as file:
        reader = _Inflated(file)
        while kind := reader.read(1):
            length = reader.length()
            reader.exactly(length)
            if kind == b"R":
                total += length
            else:
                total += sum(_PIECE.unpack(reader.exactly(_PIECE.size))[1]
                             for _ in range(reader.length()))
    return total


def _content(root: int, reader: _Inflated) -> Iterator[bytes]:
    path = os.fsdecode(reader.exactly(reader.length()))
    pieces = [_PIECE.unpack(reader.exactly(_PIECE.size)) for _ in range(reader.length())]
    fd = chase.open_inside(root, path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        for offset, length in pieces:
            end = offset + length
            while offset < end:
                data = os.pread(fd, min(CHUNK, end - offset), offset)
                if not data:
                    raise ImageError(f"the layer's file {path!r} is shorter than it was")
                offset += len(data)
                yield data
    finally:
        os.close(fd)


class _Inflated:
    """The recipe's records, uncompressed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._inflate = zlib.decompressobj()
        self._ahead = b""

    def read(self, size: int) -> bytes:
        while not self._ahead:
            data = self._inflate.unconsumed_tail or self._file.read(CHUNK)
            if not data:
                return b""
            self._ahead = self._inflate.decompress(data, CHUNK)
        taken, self._ahead = self._ahead[:size], self._ahead[size:]
        return taken

    def exactly(self, size: int) -> bytes:
        parts = []
        while size:
            data = self.read(size)
            if not data:
                raise ImageError("the recipe of the layer is cut off")
            parts.append(data)
            size -= len(data)
        return b"".join(parts)

    def length(self) -> int:
        return int(_LENGTH.unpack(self.exactly(_LENGTH.size))[0])
