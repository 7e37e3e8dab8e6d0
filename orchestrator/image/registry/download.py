"""A blob as a stream that survives cut connections, and the death of who reads it.

What has come is kept beside the store until the blob is whole, in `downloads/`: the next one who
wants it goes on where the last one was.  Verifies the digest at the end; knows no format.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable

from orchestrator.errors import ImageError, RegistryError
from orchestrator.image import digest
from orchestrator.image.digest import CHUNK
from orchestrator.image.manifest import Descriptor
from orchestrator.image.registry.client import Repository
from orchestrator.image.registry.crew import StoppedError
from orchestrator.image.registry.transport import Response

DIRECTORY = "downloads"
KEPT = 7 * 24 * 3600.0
"""Seconds that a part of a blob is kept for who wants the rest of it."""
_ATTEMPTS = 5
"""Connections in a row that bring nothing."""


class Download:
    """The blob of a descriptor, from its first byte to its last; a context manager, which lets go
    of the part that is here, or deletes it when the blob is whole."""

    def __init__(
        self, repository: Repository, blob: Descriptor, *, directory: str,
        advance: Callable[[int], None], stop: threading.Event,
    ) -> None:
        import hashlib

        self._repository, self._blob = repository, blob
        self._advance, self._stop = advance, stop
        self._hash = hashlib.new(digest.algorithm(blob.digest))
        self._path = f"{directory}/{blob.digest.replace(':', '-')}"
        self._fd = -1
        self._there = 0
        self._at = 0
        """Bytes that have been read."""
        self._response: Response | None = None
        self._failures = 0
        self._is_verified = False
        self._was_begun = False
        self.is_spoiled = False
        """What was here of an earlier attempt, or came after it, was wrong, and is gone."""

    def __enter__(self) -> Download:
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._lock()
        self._there = os.fstat(self._fd).st_size
        if self._there > self._blob.size:
            os.ftruncate(self._fd, 0)
            self._there = 0
        self._was_begun = self._there > 0
        self._check_room()
        return self

    def _lock(self) -> None:
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if self._stop.wait(0.1):
                    os.close(self._fd)
                    raise StoppedError from None

    def _check_room(self) -> None:
        """A size that cannot be is refused before the disk is full."""
        found = os.fstatvfs(self._fd)
        room, needed = found.f_bavail * found.f_frsize, self._blob.size - self._there
        if needed > room:
            os.close(self._fd)
            raise ImageError(
                f"there is no room for {self._blob.digest}: it has {needed} bytes, the disk {room}",
                hint="free some space, or put the data on another disk with PCOMPOSE_DATA",
            )

    def __exit__(self, *exc: object) -> None:
        self._hang_up()
        if self._is_verified or os.fstat(self._fd).st_size == 0:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
        os.close(self._fd)

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes; empty once all are read and the digest is right."""
        if self._stop.is_set():
            raise StoppedError
        wanted = min(CHUNK if size < 0 else size, self._blob.size - self._at)
        if not wanted:
            self._verify()
            return b""
        data = self._from_part(wanted) if self._at < self._there else self._from_network(wanted)
        self._hash.update(data)
        self._at += len(data)
        self._advance(len(data))
        return data

    def forget(self) -> None:
        """Keep nothing of it."""
        os.ftruncate(self._fd, 0)
        self.is_spoiled = self._was_begun

    def _from_part(self, wanted: int) -> bytes:
        data = os.pread(self._fd, min(wanted, self._there - self._at), self._at)
        if not data:
            raise ImageError(f"{self._path} became shorter while it was read")
        return data

    def _from_network(self, wanted: int) -> bytes:
        while True:
            try:
                if self._response is None:
                    self._response = self._open()
                data = self._response.read(wanted)
            except OSError as exc:
                data, why = b"", exc.strerror or str(exc)
            else:
                why = "it ended the connection"
            if data:
                self._failures = 0
                self._keep(data)
                return data
            self._hang_up()
            self._failures += 1
            if self._stop.is_set():
                raise StoppedError
            if self._failures >= _ATTEMPTS:
                raise RegistryError(
                    f"{self._repository.registry.host} does not send {self._blob.digest}: {why}",
                    hint=f"{self._at} of {self._blob.size} bytes are here; the next pull goes on "
                         "from there")  # fmt: skip
            self._stop.wait(0.2 * self._failures)

    def _keep(self, data: bytes) -> None:
        view, offset = memoryview(data), self._at
        while view:
            count = os.pwrite(self._fd, view, offset)
            view, offset = view[count:], offset + count
        self._there = offset

    def _open(self) -> Response:
        response = self._repository.blob(self._blob.digest, offset=self._at)
        if response.status == 206:
            if not response.header("Content-Range").startswith(f"bytes {self._at}-"):
                response.close()
                raise RegistryError(f"{response.host} sent another part of {self._blob.digest} than"
                                    " was asked for")  # fmt: skip
            return response
        left = self._at
        while left:  # it cannot send parts
            data = response.read(min(left, CHUNK))
            if not data:
                break
            left -= len(data)
        return response

    def _hang_up(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    def _verify(self) -> None:
        if self._is_verified:
            return
        found = f"{self._hash.name}:{self._hash.hexdigest()}"
        if found != self._blob.digest:
            self.forget()
            raise RegistryError(
                f"{self._repository.registry.host} sent something else for {self._blob.digest}: "
                f"{found}", hint="nothing of it is kept; try again, or tell who runs the registry")
        self._is_verified = True


def save(
    repository: Repository, blob: Descriptor, path: str, *, root: str, stop: threading.Event
) -> None:
    """A blob as a file, by way of the downloads of the store at `root`."""
    with Download(repository, blob, directory=f"{root}/{DIRECTORY}", stop=stop,
                  advance=lambda count: None) as stream, open(path, "wb") as file:  # fmt: skip
        while data := stream.read(CHUNK):
            file.write(data)


def sweep(directory: str, *, now: float | None = None) -> None:
    """Delete parts that nobody has come back for; never one that somebody reads."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return
    for name in names:
        path = f"{directory}/{name}"
        with contextlib.suppress(OSError):
            if (now or time.time()) - os.stat(path).st_mtime < KEPT:
                continue
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
            finally:
                os.close(fd)
