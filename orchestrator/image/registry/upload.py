"""A blob on its way into a registry; where the connection is cut, the registry says from where on
to go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO

from orchestrator.errors import ImageError, RegistryError
from orchestrator.image.manifest import Descriptor
from orchestrator.image.registry import crew
from orchestrator.image.registry.auth import Form
from orchestrator.image.registry.client import Repository
from orchestrator.image.registry.transport import Body, UnansweredError

ATTEMPTS = 5
"""Times in a row that nothing of a blob gets through."""


def send(
    repository: Repository, blob: Descriptor, rest: Callable[[int], Body], *, stop: crew.Stop,
    place: str = "",
) -> None:
    """Send a blob, of which `rest` gives what follows a byte; to `place` where an upload has begun
    already.  RegistryError."""
    at, failures = 0, 0
    place = place or repository.begin_upload()
    while at < blob.size:
        before = at
        try:
            answer = repository.send_piece(place, rest(at), start=at)
        except UnansweredError as exc:
            answer, why = None, exc.message
        else:
            why = "it does not take all of it"
        if answer is None:
            answer = _look(repository, place)
        place, at = answer
        failures = 0 if at > before else failures + 1
        if failures >= ATTEMPTS:
            raise RegistryError(
                f"{repository.registry.host} does not take {blob.digest}: {why}",
                hint="what it has of other layers stays there; try again")
        if failures and stop.wait(0.2 * 2**failures):
            raise crew.StoppedError
    _end(repository, place, blob)


def _end(repository: Repository, place: str, blob: Descriptor) -> None:
    try:
        repository.end_upload(place, blob.digest)
    except ImageError:
        if not repository.has_blob(blob.digest):  # it may have been stored, and its answer lost
            raise


def _look(repository: Repository, place: str) -> tuple[str, int]:
    """Where an upload that broke off goes on; a new one where it was forgotten."""
    return repository.uploaded(place) or (repository.begin_upload(), 0)


def send_data(repository: Repository, blob: Descriptor, data: bytes, *, stop: crew.Stop) -> None:
    """Send what is small, unless the registry has it."""
    if not repository.has_blob(blob.digest):
        send(repository, blob, lambda start: Form(data[start:]), stop=stop)


def send_file(
    repository: Repository, blob: Descriptor, path: str, *, advance: Callable[[int], None],
    stop: crew.Stop, place: str = "",
) -> None:  # fmt: skip
    """Send a file; `advance` hears of the bytes that are read."""
    def rest(start: int) -> Body:
        return Rest(path, start=start, size=blob.size, advance=advance)

    send(repository, blob, rest, stop=stop, place=place)


class Rest:
    """A file from `start` to its end as a body."""

    def __init__(
        self, path: str, *, start: int, size: int, advance: Callable[[int], None]
    ) -> None:
        self._path, self._start, self._advance = path, start, advance
        self.size = size - start

    def open(self) -> IO[bytes]:
        """The file at `start`."""
        file = open(self._path, "rb", buffering=0)  # noqa: SIM115  # the caller closes it
        file.seek(self._start)
        return _Counted(file, self._advance)  # type: ignore[return-value]  # all that is used


class _Counted:
    """A file that tells how much was read of it."""

    def __init__(self, file: IO[bytes], advance: Callable[[int], None]) -> None:
        self._file, self._advance = file, advance

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self._advance(len(data))
        return data

    def __enter__(self) -> _Counted:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()
