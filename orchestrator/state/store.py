"""Reading and writing of records: whole files, locks that end with their holders.

A write is a temporary file in the same directory and a rename, so a reader sees the old record
or the new one and never half of one.  There is no fsync: what it would protect against is a power
cut, and after a power cut the processes that the records speak of are gone anyway.  A record that
cannot be read is `StateError` here, a broken leftover to `observe`, and removed by the next up or
down.

Knows the paths of `layout` and the shapes of `records`; knows nothing of plans or processes other
than who holds a lock.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from orchestrator.dataclass import dataclass, replace
from orchestrator.errors import LockHeldError, StateError
from orchestrator.linux import fds, procfs
from orchestrator.state.layout import Layout
from orchestrator.state.records import (
    ContainerRecord,
    ContainerStatus,
    LeaseRecord,
    NetworkRecord,
    ProjectRecord,
    SnapshotRecord,
    VolumeRecord,
)

Record = TypeVar(
    "Record", ContainerRecord, ContainerStatus, LeaseRecord, NetworkRecord, ProjectRecord,
    SnapshotRecord, VolumeRecord,
)  # fmt: skip

_LARGEST = 16 << 20
"""Bytes; a record is a few thousand."""


def make_directory(path: str) -> None:
    """Make `path` and what is missing above it, for this user only; StateError."""
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as exc:
        raise StateError(f"cannot make the directory {path}: {exc.strerror}") from exc


def write_json(path: str, data: dict[str, Any], *, make_parents: bool = True) -> None:
    """Put `data` at `path` whole.  Readable by this user only: environments hold secrets.

    With `make_parents=False` a directory that is gone stays gone (StateError): a late status of a
    container must not bring the directory of a removed one back."""
    parent = os.path.dirname(path)
    temporary = f"{parent}/.{os.path.basename(path)}.{os.getpid()}.{os.urandom(4).hex()}"
    text = json.dumps(data, separators=(",", ":")).encode("ascii")
    try:
        _write_new(temporary, text)
    except FileNotFoundError as exc:
        if not make_parents:
            raise StateError(f"cannot write {path}: its directory is gone") from exc
        make_directory(parent)
        return write_json(path, data, make_parents=False)
    except OSError as exc:
        raise StateError(f"cannot write {path}: {exc.strerror}", hint=_hint(exc)) from exc
    _rename(temporary, path)
    return None


def _write_new(path: str, text: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        while text:
            text = text[os.write(fd, text) :]
    except OSError:
        os.unlink(path)
        raise
    finally:
        os.close(fd)


def _rename(temporary: str, path: str) -> None:
    try:
        os.rename(temporary, path)
    except OSError as exc:
        unlink(temporary)
        raise StateError(f"cannot write {path}: {exc.strerror}", hint=_hint(exc)) from exc


def _hint(exc: OSError) -> str | None:
    return {
        errno.ENOSPC: "the file system is full",
        errno.EDQUOT: "your quota is used up",
        errno.EROFS: "the file system is read-only; set PCOMPOSE_DATA to a writable directory",
        errno.EACCES: "set PCOMPOSE_DATA to a directory of your own, or run as root",
    }.get(exc.errno or 0)


def read_json(path: str) -> dict[str, Any] | None:
    """The object in the file; None where there is no file; StateError where it cannot be one of
    ours (not JSON, not an object, not a plain file, too large)."""
    try:
        text = _read(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise StateError(f"cannot read {path}: {exc.strerror}", hint=_hint(exc)) from exc
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise StateError(f"cannot read {path}: it is not JSON", hint=_BROKEN) from exc
    if not isinstance(data, dict):
        raise StateError(f"cannot read {path}: it holds no object", hint=_BROKEN)
    return data


_BROKEN = "the file was damaged; the next up or down removes what belongs to it"


def _read(path: str) -> bytes:
    # O_NONBLOCK: a FIFO laid here by somebody must not hold us up
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        size = os.fstat(fd).st_size
        return os.read(fd, min(size, _LARGEST) + 1)
    finally:
        os.close(fd)


def read_record(path: str, cls: type[Record]) -> Record | None:
    """The record in the file; None where there is no file; StateError where it is not one."""
    data = read_json(path)
    if data is None:
        return None
    try:
        return cls.from_json(data)
    except (KeyError, TypeError, ValueError) as exc:
        raise StateError(f"cannot read {path}: {exc}", hint=_BROKEN) from exc


def scan(directory: str) -> Iterator[os.DirEntry[str]]:
    """The entries of a directory that are not hidden, by name; nothing where it is absent."""
    try:
        with os.scandir(directory) as entries:
            found = [e for e in entries if not e.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as exc:
        raise StateError(f"cannot list {directory}: {exc.strerror}", hint=_hint(exc)) from exc
    yield from sorted(found, key=lambda e: e.name)


def unlink(path: str) -> None:
    """Remove a file; nothing where it is absent."""
    try:
        os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as exc:
        raise StateError(f"cannot remove {path}: {exc.strerror}") from exc


def remove_tree(path: str, *, tries: int = 20) -> None:
    """Remove a directory with all that is in it.  Entries that vanish meanwhile are fine, and so is
    a last line that a supervisor on its way out writes: then once more.  Not for the directory of
    a project, where the next one's lock may come to be: that is `forget_project`."""
    import shutil  # 8 ms: only where something is removed

    try:
        shutil.rmtree(path)
    except OSError as exc:
        if exc.errno not in _CHANGED or tries <= 1:
            raise StateError(f"cannot remove {exc.filename or path}: {exc.strerror}") from exc
        if os.path.lexists(path):
            remove_tree(path, tries=tries - 1)


_CHANGED = (errno.ENOENT, errno.ENOTEMPTY)


def save_project(layout: Layout, record: ProjectRecord) -> None:
    """Write `project.json`."""
    write_json(layout.project_record(record.name), record.to_json())


def save_container(layout: Layout, record: ContainerRecord) -> None:
    """Write `record.json` of a new container; makes its directory."""
    write_json(layout.container_record(record.project, record.id), record.to_json())


def save_status(layout: Layout, project: str, id_: str, status: ContainerStatus) -> None:
    """Write `status.json`; StateError where the container has been removed meanwhile."""
    write_json(layout.container_status(project, id_), status.to_json(), make_parents=False)


def save_network(layout: Layout, record: NetworkRecord) -> None:
    """Write the record of a network; hold `networks_lock` around reading and writing leases."""
    write_json(layout.network_record(record.name), record.to_json())


def settle_network(layout: Layout, record: NetworkRecord) -> None:
    """Write the record of a network whose bridge is there now, with its hash; leases that were
    given since it was decided on are kept."""
    with networks_lock(layout, command="pcompose supervisor"):
        try:
            there = read_record(layout.network_record(record.name), NetworkRecord)
        except StateError:
            there = None  # damaged: ours replaces it
        if there is not None and there.all_pools() == record.all_pools():
            record = replace(record, leases={**record.leases, **there.leases},
                             leases6={**record.leases6, **there.leases6})
        save_network(layout, record)


def forget_container(layout: Layout, project: str, id_: str) -> None:
    """Remove everything of a container.  The record goes first: what a crash leaves behind is a
    directory without a record, which `observe` reports as broken."""
    unlink(layout.container_record(project, id_))
    remove_tree(layout.container(project, id_))


def forget_network(layout: Layout, name: str) -> None:
    """Remove the record of a network."""
    unlink(layout.network_record(name))


def forget_project(layout: Layout, project: str) -> bool:
    """Remove what is left of a project without containers; call it under its lock.  False where
    containers are left, and then nothing is removed."""
    if any(True for _ in scan(layout.containers(project))):
        return False
    directory = layout.project(project)
    last = (layout.project_lease(project), layout.project_lock(project))
    _remove_entries(directory, but=last)
    for path in last:  # without its lock it is the next one's: nothing more of it is touched
        unlink(path)
    try:
        os.rmdir(directory)
    except OSError as exc:
        if exc.errno not in (errno.ENOTEMPTY, errno.ENOENT):
            raise StateError(f"cannot remove {directory}: {exc.strerror}") from exc
    return True


def _remove_entries(directory: str, *, but: Sequence[str]) -> None:
    try:
        with os.scandir(directory) as entries:
            found = [e for e in entries if e.path not in but]
    except FileNotFoundError:
        return
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            remove_tree(entry.path)
        else:
            unlink(entry.path)


@dataclass(frozen=True, slots=True)
class Lock:
    """A held lock.  `fd` of a project's may be passed to another process; that lock ends with the
    last copy."""

    fd: int
    path: str
    is_ours: bool
    """Nobody else is to have it: a copy that a fork of this process has by chance holds nothing."""

    def close(self) -> None:
        """Let go."""
        if self.is_ours:
            fcntl.flock(self.fd, fcntl.LOCK_UN)
        os.close(self.fd)

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


Waiting = Callable[[str], None]


def project_lock(
    layout: Layout, project: str, *, command: str, wait: bool, waiting: Waiting | None = None
) -> Lock:
    """The right to change a project.  `command` (`pcompose up`) is what others are told.

    Held by somebody: LockHeldError, or with `wait` a call of `waiting` with the same words and
    then a wait without end."""
    subject = f"project {project}"
    fd = _lock(layout.project_lock(project), subject, command, wait=wait, waiting=waiting)
    return Lock(fd, layout.project_lock(project), is_ours=False)


def networks_lock(layout: Layout, *, command: str, wait: bool = True) -> Lock:
    """The right to choose subnets and addresses on this machine; held for moments only."""
    path = layout.networks_lock()
    fd = _lock(path, "the list of networks", command, wait=wait, waiting=None)
    return Lock(fd, path, is_ours=True)


def volumes_lock(layout: Layout, *, command: str) -> Lock:
    """The right to give volumes to a container, or to take one away; held for moments only."""
    path = layout.volumes_lock()
    fd = _lock(path, "the list of volumes", command, wait=True, waiting=None)
    return Lock(fd, path, is_ours=True)


def _lock(path: str, subject: str, command: str, *, wait: bool, waiting: Waiting | None) -> int:
    try:
        fd = _acquire(path, subject, wait=wait, waiting=waiting)
        _sign(fd, command)
    except OSError as exc:
        raise StateError(f"cannot lock {path}: {exc.strerror}", hint=_hint(exc)) from exc
    return fd


def _acquire(path: str, subject: str, *, wait: bool, waiting: Waiting | None) -> int:
    fd = fds.lock(path, wait=False)
    if fd is not None:
        return fd
    message = _held(path, subject)
    if not wait:
        raise LockHeldError(message, hint="wait until it is done, or end it")
    if waiting is not None:
        waiting(message)
    fd = fds.lock(path, wait=True)
    assert fd is not None
    return fd


def _sign(fd: int, command: str) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()} {command}\n".encode("utf-8", "replace"), 0)


def _held(path: str, subject: str) -> str:
    pid, command = holder(path)
    if not pid:
        return f"{subject} is being changed by another command"
    if procfs.start_time(pid) is None:
        return f"{subject} is still being changed for `{command}` (pid {pid}, which has ended)"
    return f"{subject} is being changed by `{command}` (pid {pid})"


def holder(path: str) -> tuple[int, str]:
    """Pid and command that a lock file names; (0, "") where it names none."""
    try:
        text = _read(path).decode("utf-8", "replace").strip()
    except OSError:
        return 0, ""
    pid, _, command = text.partition(" ")
    if not pid.isascii() or not pid.isdigit() or len(pid) > 9:
        return 0, ""
    return int(pid), "".join(c for c in command if c.isprintable()) or "another command"
