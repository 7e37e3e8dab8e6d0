"""The state directory: what is known of each container between two commands.

`ROOT/ID/` holds `state.json` (pid, start time, bundle, groups), `config.json` as it was at create,
`lock` (flock, held while a command changes the container) and `start.sock`, on which the first
process waits.  Truth is the kernel: whether a container is created, running, paused or stopped is
asked of its process, never remembered.
"""

from __future__ import annotations

import os
import time

from orchestrator.linux import cgroupfs, fds, jsontext, procfs
from orchestrator.runtime.oci import config
from orchestrator.runtime.oci.faults import OciError, words_of
from orchestrator.runtime.oci.shapes import Number, Table, check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.runtime.oci.config import Config

RECORD = {
    "pid!": Number(0, 1 << 30), "start_time!": Number(0, 1 << 62), "is_complete!": bool,
    "creator!": [Number(0, 1 << 62)], "bundle!": str, "annotations!": Table(str),
    "groups!": Table(str), "made_groups!": [str], "rootfs!": str, "owner!": Number(0, 1 << 32),
    "created!": str, "own_mount_namespace!": bool,
}  # fmt: skip
"""What state.json holds."""
_LONGEST_ID = 255
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")


def default_root() -> str:
    """Where state lies unless --root says otherwise."""
    private = os.environ.get("XDG_RUNTIME_DIR")
    return f"{private}/pcompose-oci" if os.geteuid() and private else "/run/pcompose-oci"


def check_id(container_id: str) -> str:
    """The id if it is one; it becomes the name of a directory and part of a cgroup's."""
    if not container_id:
        raise OciError("the container id is missing")
    hostile = set(container_id) - _LETTERS or container_id in (".", "..")
    if hostile or len(container_id) > _LONGEST_ID:
        raise OciError(f"invalid container id {container_id[:80]!r}: letters, digits, _ + - . only")
    return container_id


class Container:
    """One container's directory and what `state.json` says."""

    __slots__ = ("_lock", "directory", "id", "record")

    def __init__(self, directory: str, container_id: str, record: dict[str, Any]) -> None:
        self.directory = directory
        self.id = container_id
        self.record = record
        self._lock = -1

    @property
    def pid(self) -> int:
        return int(self.record["pid"])

    @property
    def groups(self) -> dict[str, str]:
        """controller -> directory, as in `linux.cgroupfs`."""
        return dict(self.record["groups"])

    @property
    def start_socket(self) -> str:
        return f"{self.directory}/start.sock"

    def config(self) -> Config:
        """config.json as it was at create."""
        return config.checked(config.read_json(f"{self.directory}/config.json"))

    def is_alive(self) -> bool:
        """Whether the first process lives; a zombie does not."""
        return self.pid > 0 and procfs.start_time(self.pid) == self.record["start_time"]

    def status(self) -> str:
        """creating, created, running, paused or stopped."""
        if not self.record["is_complete"]:
            pid, began = self.record["creator"]
            return "creating" if procfs.start_time(pid) == began else "stopped"
        if not self.is_alive():
            return "stopped"
        if self.groups and cgroupfs.is_frozen(self.groups):
            return "paused"
        return "running" if procfs.has_executed(self.pid) else "created"

    def state(self, *, status: str = "") -> dict[str, Any]:
        """The state of runtime.md, as hooks and `state` get it."""
        status = status or self.status()
        state: dict[str, Any] = {
            "ociVersion": config.SPECIFICATION, "id": self.id, "status": status}
        if status != "stopped":
            state |= {"pid": self.pid}
        return state | {"bundle": self.record["bundle"], "annotations": self.record["annotations"]}

    def save(self) -> None:
        """Write state.json, whole."""
        write_whole(f"{self.directory}/state.json", jsontext.encode(self.record))

    def lock(self) -> None:
        """Hold the container's lock until this process ends or `unlock`."""
        if self._lock < 0:
            self._lock = fds.lock(f"{self.directory}/lock", wait=True) or -1

    def unlock(self) -> None:
        """Let others at it, for as long as the first process takes to end."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def forget(self) -> None:
        """Remove the directory; what is gone already is no error."""
        for name in _listed(self.directory):
            try:
                os.unlink(f"{self.directory}/{name}")
            except FileNotFoundError:
                pass
        try:
            os.rmdir(self.directory)
        except FileNotFoundError:
            pass
        self.unlock()


class Containers:
    """All containers below one root."""

    __slots__ = ("root",)

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)

    def make(self, container_id: str, *, bundle: str, document: Config) -> Container:
        """A new container, locked; OciError if the id is taken."""
        directory = os.path.join(self.root, check_id(container_id))
        try:
            os.makedirs(self.root, mode=0o711, exist_ok=True)
            os.mkdir(directory, 0o711)
        except FileExistsError:
            raise OciError(f"container with id {container_id} exists already") from None
        except OSError as exc:
            raise OciError(f"cannot make the state directory: {words_of(exc)}") from exc
        creator = [os.getpid(), procfs.start_time(os.getpid())]
        container = Container(directory, container_id, {
            "pid": 0, "start_time": 0, "is_complete": False, "creator": creator, "bundle": bundle,
            "annotations": document["annotations"], "groups": {}, "made_groups": [],
            "rootfs": os.path.join(bundle, document["root"]["path"]), "owner": os.geteuid(),
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "own_mount_namespace": True,
        })  # fmt: skip
        container.lock()
        write_whole(f"{directory}/config.json", jsontext.encode(document))
        container.save()
        return container

    def open(self, container_id: str) -> Container:
        """A container that exists; OciError if there is none of that id."""
        directory = os.path.join(self.root, check_id(container_id))
        return Container(directory, container_id, _read_record(directory, container_id))

    def exists(self, container_id: str) -> bool:
        """Whether anything is left of a container of that id; OciError if it is none."""
        return os.path.lexists(os.path.join(self.root, check_id(container_id)))

    def open_locked(self, container_id: str) -> Container:
        """The same, locked, as it is once nobody else changes it."""
        container = self.open(container_id)
        container.lock()
        try:
            container.record = _read_record(container.directory, container_id)
        except OciError:
            if not os.path.lexists(f"{container.directory}/state.json"):
                container.forget()  # removed while we waited: the lock made the directory again
            raise
        return container

    def all(self) -> list[Container]:
        """Every container, by id; one that vanishes meanwhile is left out."""
        found = []
        for name in sorted(_listed(self.root)):
            try:
                found.append(self.open(name))
            except OciError:
                continue
        return found


def _read_record(directory: str, container_id: str) -> dict[str, Any]:
    path = f"{directory}/state.json"
    try:
        record: dict[str, Any] = check(config.read_json(path), RECORD, f"{path}: ")
    except OciError:
        if os.path.lexists(path):
            raise
        raise OciError(f"container {container_id!r} does not exist") from None
    return record


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []


def write_whole(path: str, text: str, *, mode: int = 0o600) -> None:
    """A file that others see with all its text or not at all."""
    temporary = f"{path}.{os.getpid()}"
    flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(temporary, flags, mode)
    try:
        data = memoryview(text.encode())
        while data:
            data = data[os.write(fd, data):]
    finally:
        os.close(fd)
    os.rename(temporary, path)
