"""Digests: their form, and streams that are hashed while somebody else reads them.

Knows nothing of images.  hashlib is imported inside functions: it costs 5 ms and who only looks
an image up computes none.
"""

from __future__ import annotations

import re
from typing import Protocol

from orchestrator.errors import ImageError

CHUNK = 1 << 20

_FORM = re.compile(r"(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})")


class Readable(Protocol):
    """What unpacking needs of a stream."""

    def read(self, size: int = -1, /) -> bytes: ...


def is_digest(text: str) -> bool:
    """Whether `text` is a digest of an algorithm we compute; safe as part of a path then."""
    return _FORM.fullmatch(text) is not None


def algorithm(text: str) -> str:
    """`sha256` of `sha256:…`."""
    return text.partition(":")[0]


def of_bytes(data: bytes, *, algorithm: str = "sha256") -> str:
    """`sha256:…` of the data."""
    import hashlib

    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def of_file(path: str, *, algorithm: str = "sha256") -> str:
    """`sha256:…` of what is in the file."""
    import hashlib

    with open(path, "rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


class Hashing:
    """A stream that passes reads through and hashes what went by."""

    def __init__(self, source: Readable, *, algorithm: str = "sha256") -> None:
        import hashlib

        self._source = source
        self._hash = hashlib.new(algorithm)
        self.algorithm = algorithm
        self.count = 0
        """Bytes read so far."""

    def read(self, size: int = -1, /) -> bytes:
        """As the source reads."""
        data = self._source.read(size)
        self._hash.update(data)
        self.count += len(data)
        return data

    def drain(self) -> None:
        """Read to the end: the digest covers what the reader had no use for, too."""
        while self.read(CHUNK):
            pass

    def digest(self) -> str:
        """`sha256:…` of the bytes read so far."""
        return f"{self.algorithm}:{self._hash.hexdigest()}"

    def verify(self, expected: str, *, what: str) -> None:
        """Drain, then compare; ImageError naming `what` where it differs."""
        self.drain()
        if self.digest() != expected:
            raise ImageError(
                f"{what} is corrupt: expected {expected}, found {self.digest()}",
                hint="the archive is damaged or was changed; make or fetch it again",
            )


class Limited:
    """The next `size` bytes of a stream; a stream that ends before is an error."""

    def __init__(self, source: Readable, size: int, *, what: str) -> None:
        self._source = source
        self._left = size
        self._what = what

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes, empty at the end of the part."""
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._source.read(wanted) if wanted else b""
        if wanted and not data:
            raise ImageError(f"{self._what} ends {self._left} bytes early")
        self._left -= len(data)
        return data
