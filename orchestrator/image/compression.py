"""Streams of compressed or plain bytes, told apart by how they begin.

gzip, bzip2 and xz by the standard library; zstd by the `zstd` program, which a machine that makes
such archives has.  Knows nothing of what is inside.  The libraries are imported when their format
is met.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Literal, cast

from orchestrator.errors import ImageError
from orchestrator.image.digest import CHUNK, Readable

if TYPE_CHECKING:
    from lzma import LZMADecompressor

Format = Literal["plain", "gzip", "bzip2", "xz", "zstd"]
_MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)
_LONGEST_MAGIC = 6
_MOST_MEMORY = 256 << 20
"""Bytes an xz stream may ask for; `xz -9` asks for 65 MiB."""


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


@contextmanager
def opened(source: Readable, *, what: str) -> Iterator[Readable]:
    """The uncompressed bytes of `source` inside the block; faults name `what`."""
    peeked = Peeked(source)
    found = detect(peeked.peek(_LONGEST_MAGIC))
    if found == "zstd":
        with _zstd(peeked, what=what) as stream:
            yield stream
    else:
        yield peeked if found == "plain" else _Guarded(_library(found, peeked), what=what)


def _library(found: Format, source: Peeked) -> Readable:
    if found == "xz":
        return _Xz(source)
    stream = cast(IO[bytes], source)  # both libraries only read
    if found == "gzip":
        import gzip

        return gzip.GzipFile(fileobj=stream, mode="rb")
    import bz2

    return bz2.BZ2File(stream)


class _Xz:
    """lzma.LZMAFile with a limit to the memory a hostile header can ask for."""

    def __init__(self, source: Peeked) -> None:
        self._source = source
        self._inner = self._new()

    def _new(self) -> LZMADecompressor:
        import lzma

        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_MEMORY)

    def read(self, size: int = -1, /) -> bytes:
        while True:
            if self._inner.eof and not self._next_stream():
                return b""
            more = self._source.read(CHUNK) if self._inner.needs_input else b""
            if self._inner.needs_input and not more:
                raise EOFError("compressed data ends too early")
            data = self._inner.decompress(more, max_length=CHUNK if size < 0 else size)
            if data:
                return data

    def _next_stream(self) -> bool:
        """Streams may follow each other, padded with zeros."""
        rest = self._inner.unused_data.lstrip(b"\0")
        while not rest:
            data = self._source.read(CHUNK)
            if not data:
                return False
            rest = data.lstrip(b"\0")
        self._inner = self._new()
        self._source = Peeked(_Chain(rest, self._source))
        return True


class _Chain:
    def __init__(self, first: bytes, rest: Readable) -> None:
        self._first = first
        self._rest = rest

    def read(self, size: int = -1, /) -> bytes:
        if self._first:
            cut = len(self._first) if size < 0 else size
            taken, self._first = self._first[:cut], self._first[cut:]
            return taken
        return self._rest.read(size)


class _Guarded:
    """Turns what the libraries raise about damaged data into ImageError."""

    def __init__(self, source: Readable, *, what: str) -> None:
        self._source = source
        self._what = what

    def read(self, size: int = -1, /) -> bytes:
        import zlib
        from lzma import LZMAError

        try:
            return self._source.read(size)
        except (EOFError, zlib.error, LZMAError, ValueError) as exc:
            raise ImageError(f"{self._what} is damaged: {exc}") from exc
        except OSError as exc:
            if exc.errno is not None:
                raise  # the disk's fault
            raise ImageError(f"{self._what} is damaged: {exc}") from exc


@contextmanager
def _zstd(source: Readable, *, what: str) -> Iterator[Readable]:
    import subprocess
    import threading

    program = shutil.which("zstd")
    if program is None:
        raise ImageError(
            f"{what} is compressed with zstd", hint="install the `zstd` program and try again"
        )
    process = subprocess.Popen(
        [program, "-dcq", "--memory=256MB"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    feeder = _Feeder(source, process.stdin)
    thread = threading.Thread(target=feeder.run, daemon=True)
    thread.start()
    try:
        yield _Program(process.stdout, process, feeder, what=what)
    finally:
        process.stdout.close()  # ends a program whose output nobody wants any more
        process.kill()
        process.wait()
        thread.join()
        process.stderr.close()


class _Feeder:
    """Moves the compressed bytes into the program, in a thread of its own."""

    def __init__(self, source: Readable, target: IO[bytes]) -> None:
        self._source = source
        self._target = target
        self.fault: Exception | None = None

    def run(self) -> None:
        try:
            while data := self._source.read(CHUNK):
                self._target.write(data)
        except BrokenPipeError:
            pass  # the reader has gone, or the program has found a fault and says so
        except Exception as exc:  # belongs to the thread that reads
            self.fault = exc
        try:
            self._target.close()
        except OSError:
            pass


class _Program:
    """The output of the program; at its end its verdict."""

    def __init__(self, output: IO[bytes], process: object, feeder: _Feeder, *, what: str) -> None:
        self._output = output
        self._process = process
        self._feeder = feeder
        self._what = what

    def read(self, size: int = -1, /) -> bytes:
        data = self._output.read(size)
        if not data and size:
            self._judge()
        return data

    def _judge(self) -> None:
        import subprocess

        assert isinstance(self._process, subprocess.Popen)
        code = self._process.wait()
        if self._feeder.fault is not None:
            raise self._feeder.fault
        if code:
            text = self._process.stderr.read(300) if self._process.stderr else b""
            says = text.decode("utf-8", "replace").strip()
            raise ImageError(f"{self._what} is damaged: {says or f'zstd ended with {code}'}")
