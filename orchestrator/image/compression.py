"""Streams of compressed or plain bytes, told apart by how they begin.

gzip, bzip2 and xz by the standard library, zstd by what Python 3.14 has, as backports.zstd brings
it.  Knows nothing of what is inside.  The libraries are imported when their format is met.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import IO, Literal, Protocol, cast

from orchestrator.errors import ImageError
from orchestrator.image.digest import CHUNK, Readable

Format = Literal["plain", "gzip", "bzip2", "xz", "zstd"]
_MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)
_LONGEST_MAGIC = 6
_PIECE = 1 << 16
"""Bytes that are read at a time: what is left of them is copied for each stream that follows."""
_MOST_MEMORY = 256 << 20
"""Bytes a stream may ask for; `xz -9` asks for 65 MiB, `zstd --ultra -22` for 128."""


class Peeked:
    """A stream whose first bytes can be looked at; reads return no fewer bytes than asked for
    until the end, so that pipes look like files."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._ahead = b""

    def peek(self, size: int) -> bytes:
        """The next bytes without taking them."""
        while len(self._ahead) < size:
            data = self._source.read(size - len(self._ahead))
            if not data:
                break
            self._ahead += data
        return self._ahead[:size]

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes."""
        if not self._ahead:
            return self._source.read(size)
        taken = self._ahead if size < 0 else self._ahead[:size]
        self._ahead = self._ahead[len(taken):]
        return taken + self._source.read(size) if size < 0 else taken


def detect(start: bytes) -> Format:
    """The format of a stream that begins with `start`."""
    return next((name for magic, name in _MAGIC if start.startswith(magic)), "plain")


def opened(source: Readable, *, what: str) -> Readable:
    """The uncompressed bytes of `source`; faults name `what`."""
    peeked = Peeked(source)
    found = detect(peeked.peek(_LONGEST_MAGIC))
    return peeked if found == "plain" else _library(found, peeked, what=what)


def _library(found: Format, source: Peeked, *, what: str) -> Readable:
    stream = cast(IO[bytes], source)  # the libraries only read
    if found == "gzip":
        import gzip
        import zlib

        return _Guarded(gzip.GzipFile(fileobj=stream, mode="rb"), zlib.error, what=what)
    if found == "bzip2":
        import bz2

        return _Guarded(bz2.BZ2File(stream), ValueError, what=what)
    if found == "xz":
        import lzma

        new = partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, memlimit=_MOST_MEMORY)
        return _Guarded(_Streams(source, new, padding=b"\0"), lzma.LZMAError, what=what)
    return _zstd(source, what=what)


def _zstd(source: Peeked, *, what: str) -> Readable:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd  # type: ignore[import,unused-ignore]
    except ImportError:
        raise ImageError(f"{what} is compressed with zstd, and there is no library for it",
                         hint="pip install backports.zstd") from None  # fmt: skip
    window = {int(zstd.DecompressionParameter.window_log_max): _MOST_MEMORY.bit_length() - 1}
    new = partial(zstd.ZstdDecompressor, options=window)
    return _Guarded(_Streams(source, new), zstd.ZstdError, what=what)


class _Decompressor(Protocol):
    """One stream, as lzma and zstd have it."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Streams:
    """Compressed streams that follow each other, with `padding` between them; each has a limit to
    the memory that a hostile header can ask for, which the files of the libraries have not."""

    def __init__(
        self, source: Readable, new: Callable[[], _Decompressor], *, padding: bytes = b""
    ) -> None:
        self._source, self._new, self._padding = source, new, padding
        self._inner = new()
        self._ahead = b""
        """What has been read beyond the stream before, and belongs to this one."""

    def read(self, size: int = -1, /) -> bytes:
        while True:
            if self._inner.eof and not self._next_stream():
                return b""
            more = self._more() if self._inner.needs_input else b""
            if self._inner.needs_input and not more:
                raise EOFError("compressed data ends too early")
            data = self._inner.decompress(more, max_length=CHUNK if size < 0 else size)
            if data:
                return data

    def _more(self) -> bytes:
        ahead, self._ahead = self._ahead, b""
        return ahead or self._source.read(_PIECE)

    def _next_stream(self) -> bool:
        rest = self._inner.unused_data.lstrip(self._padding)
        while not rest:
            data = self._source.read(_PIECE)
            if not data:
                return False
            rest = data.lstrip(self._padding)
        self._inner, self._ahead = self._new(), rest
        return True


class _Guarded:
    """Turns what the libraries raise about damaged data into ImageError."""

    def __init__(self, source: Readable, fault: type[Exception], *, what: str) -> None:
        self._source, self._what = source, what
        self._faults = (EOFError, fault)

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._source.read(size)
        except self._faults as exc:
            raise ImageError(f"{self._what} is damaged: {exc}") from exc
        except OSError as exc:
            if exc.errno is not None:
                raise  # the disk's fault
            raise ImageError(f"{self._what} is damaged: {exc}") from exc
