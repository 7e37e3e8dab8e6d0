"""The content of secrets and configs: the store of this user, and what containers were made with.

    DATA/secrets/NAME, DATA/configs/NAME     for `external: true`; made by `pcompose secrets create`
    DATA/projects/P/material/DIGEST          what the containers of P got, by the SHA-256 of it

Every file is readable by its owner only.  A container is started again, also after a reboot, with
what it was made with, wherever that came from.
"""

from __future__ import annotations

import os
import re
from hashlib import sha256

from orchestrator.dataclass import dataclass
from orchestrator.errors import StateError
from orchestrator.state import store
from orchestrator.state.layout import Layout

LARGEST = 16 << 20
"""Bytes; secrets and configs lie in memory."""
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
_TEMPORARY = ".new."


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One entry of the store of this user."""

    name: str
    size: int
    created: float
    """Seconds since the epoch."""


def create(directory: str, name: str, data: bytes) -> None:
    """Put a new entry into `layout.secrets()` or `layout.configs()`.  StateError where the name is
    taken or cannot be one, or the content is too large."""
    if not _NAME.fullmatch(name):
        raise StateError(f"{name!r} cannot be the name of a secret or config",
                         hint="letters, digits, `_`, `.` and `-`, and a letter or digit first")
    check_size(len(data), name)
    store.make_directory(directory)
    temporary = _write(directory, data)
    try:
        os.link(temporary, f"{directory}/{name}")
    except FileExistsError as exc:
        raise StateError(f"{name} is there already", hint="remove it first, with `rm`") from exc
    except OSError as exc:
        raise StateError(f"cannot write {directory}/{name}: {exc.strerror}") from exc
    finally:
        os.unlink(temporary)


def check_size(size: int, subject: str) -> None:
    """StateError where a content is too large for memory."""
    if size > LARGEST:
        raise StateError(f"{subject} is too large for a secret or config: {size} bytes, and "
                         f"{LARGEST} is the most", hint="mount it with `volumes`")


def _write(directory: str, data: bytes) -> str:
    """The path of a new temporary file with `data`."""
    path = f"{directory}/{_TEMPORARY}{os.getpid()}.{os.urandom(4).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with open(os.open(path, flags, 0o600), "wb") as file:
            file.write(data)
    except OSError as exc:
        store.unlink(path)
        raise StateError(f"cannot write {path}: {exc.strerror}") from exc
    return path


def read(directory: str, name: str) -> bytes | None:
    """The content of an entry; None where there is none."""
    if not _NAME.fullmatch(name):
        return None
    try:
        with open(f"{directory}/{name}", "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise StateError(f"cannot read {directory}/{name}: {exc.strerror}") from exc


def remove(directory: str, name: str) -> bool:
    """Remove an entry; False where there was none."""
    try:
        os.unlink(f"{directory}/{name}" if _NAME.fullmatch(name) else "")
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise StateError(f"cannot remove {directory}/{name}: {exc.strerror}") from exc
    return True


def entries(directory: str) -> list[Stored]:
    """All entries by name."""
    found = []
    for entry in store.scan(directory):
        if _NAME.fullmatch(entry.name):
            status = entry.stat()
            found.append(Stored(name=entry.name, size=status.st_size, created=status.st_mtime))
    return found


# What containers were made with


def digest(data: bytes) -> str:
    """What stands for a content in hashes and names of files."""
    return sha256(data).hexdigest()


def path_of(layout: Layout, project: str, digest: str) -> str:
    """Where `keep` puts a content."""
    return f"{layout.material(project)}/{digest}"


def keep(layout: Layout, project: str, data: bytes) -> str:
    """Put a content where the project's containers get it from; its path.  Call it under the
    project's lock."""
    directory = layout.material(project)
    store.make_directory(directory)
    path = path_of(layout, project, digest(data))
    if not os.path.exists(path):
        temporary = _write(directory, data)
        try:
            os.rename(temporary, path)
        except OSError as exc:
            raise StateError(f"cannot write {path}: {exc.strerror}") from exc
    return path


def sweep(layout: Layout, project: str, *, used: set[str]) -> None:
    """Remove every content whose path is not in `used`; under the project's lock."""
    try:
        names = os.listdir(layout.material(project))
    except FileNotFoundError:
        return
    for name in names:
        path = f"{layout.material(project)}/{name}"
        if path not in used:
            store.unlink(path)
