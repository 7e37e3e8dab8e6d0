"""`linux.namespaces`, `uidMappings` and `timeOffsets`: which namespaces are new, which are joined.

Joined ones are opened here, in the runtime's own namespaces, and their kind is checked before
anything is made.
"""

from __future__ import annotations

import errno
import fcntl
import os

from orchestrator.linux import syscalls
from orchestrator.runtime import sysctl
from orchestrator.runtime.groups import write
from orchestrator.runtime.oci.faults import OciError, words_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.runtime.oci.config import Config

FLAGS = {
    "pid": syscalls.CLONE_NEWPID, "network": syscalls.CLONE_NEWNET, "mount": syscalls.CLONE_NEWNS,
    "ipc": syscalls.CLONE_NEWIPC, "uts": syscalls.CLONE_NEWUTS, "user": syscalls.CLONE_NEWUSER,
    "cgroup": syscalls.CLONE_NEWCGROUP, "time": syscalls.CLONE_NEWTIME,
}  # fmt: skip
FILES = {
    "pid": "pid", "network": "net", "mount": "mnt", "ipc": "ipc", "uts": "uts", "user": "user",
    "cgroup": "cgroup", "time": "time",
}  # fmt: skip
"""Kind -> its name in /proc/PID/ns."""
_NS_GET_NSTYPE = 0xB703
_CLOCKS = ("monotonic", "boottime")


class Namespaces:
    """What `linux.namespaces` asks for; owns the descriptors of those to join."""

    __slots__ = ("gid_map", "joined", "new", "offsets", "uid_map")

    def __init__(self, linux: dict[str, Any]) -> None:
        self.new: set[str] = set()
        self.joined: dict[str, int] = {}
        self.uid_map: list[dict[str, int]] = linux.get("uidMappings", [])
        self.gid_map: list[dict[str, int]] = linux.get("gidMappings", [])
        self.offsets = _time_offsets(linux.get("timeOffsets", {}))

    def __contains__(self, kind: str) -> bool:
        return kind in self.new or kind in self.joined

    @property
    def needs_stage(self) -> bool:
        """Whether a process in between has to enter something before the first one is cloned."""
        return bool(self.joined) or "time" in self.new

    def clone_flags(self) -> int:
        """For clone(2); the cgroup namespace is unshared once the process is in its groups, and
        the time namespace by the stage."""
        kinds = self.new - {"cgroup", "time"}
        return sum(FLAGS[kind] for kind in kinds)

    def close(self) -> None:
        for fd in self.joined.values():
            os.close(fd)
        self.joined = {}


def open_namespaces(config: Config) -> Namespaces:
    """Check what is asked for, and open what is to be joined; OciError."""
    linux = config["linux"]
    found = Namespaces(linux)
    try:
        for entry in linux.get("namespaces", ()):
            kind, path = entry["type"], entry.get("path", "")
            if kind in found:
                raise OciError(f"config: linux.namespaces has {kind} twice")
            if path:
                found.joined[kind] = _open(kind, path)
            else:
                found.new.add(kind)
        _check(config, found)
    except BaseException:
        found.close()
        raise
    return found


def _open(kind: str, path: str) -> int:
    if not path.startswith("/"):
        raise OciError(f"config: the path of the {kind} namespace, {path!r}, is not absolute")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as exc:
        raise OciError(f"cannot join the {kind} namespace {words_of(exc)}") from exc
    try:
        actual = fcntl.ioctl(fd, _NS_GET_NSTYPE)
    except OSError:
        actual = 0
    if actual != FLAGS[kind]:
        os.close(fd)
        raise OciError(f"cannot join the {kind} namespace: {path} is not of that kind")
    return fd


def _check(config: Config, found: Namespaces) -> None:
    linux = config["linux"]
    for name in ("hostname", "domainname"):
        if config.get(name) and "uts" not in found:
            raise OciError(f"config: {name} needs a uts namespace, else it would be the host's")
    if "user" in found.new and not (found.uid_map and found.gid_map):
        raise OciError("config: a new user namespace needs linux.uidMappings and gidMappings")
    if (found.uid_map or found.gid_map) and "user" not in found:
        raise OciError("config: linux.uidMappings and gidMappings need a user namespace")
    if linux.get("timeOffsets") and "time" not in found.new:
        raise OciError("config: linux.timeOffsets needs a new time namespace")
    if linux.get("netDevices") and "network" not in found.new:
        raise OciError("config: linux.netDevices needs a new network namespace")
    for name in linux.get("sysctl", {}):
        _check_sysctl(name, found)


def _check_sysctl(name: str, found: Namespaces) -> None:
    """Only what belongs to a namespace of the container, else the host would be changed."""
    try:
        kind = sysctl.namespace_of(sysctl.path_of(name))
    except ValueError as exc:
        raise OciError(f"config: linux.sysctl: {exc}") from exc
    if kind is None:
        raise OciError(f"config: linux.sysctl {name} belongs to no namespace, only to the host")
    if kind not in found:
        raise OciError(f"config: linux.sysctl {name} needs a {kind} namespace of the container")


def _time_offsets(offsets: dict[str, dict[str, int]]) -> str:
    """The text for /proc/PID/timens_offsets (time_namespaces(7))."""
    for clock in offsets:
        if clock not in _CLOCKS:
            raise OciError(f"config: linux.timeOffsets has no clock {clock!r}")
    return "".join(f"{clock} {each.get('secs', 0)} {each.get('nanosecs', 0)}\n"
                   for clock, each in offsets.items())


def map_ids(pid: int, namespaces: Namespaces) -> None:
    """Write the maps of the process's new user namespace.  Without privileges newuidmap(1) and
    newgidmap(1) do it, unless the one id that is mapped is our own."""
    plain = not os.geteuid() or _is_own_only(namespaces)
    if plain and os.geteuid():
        write(f"/proc/{pid}/setgroups", "deny")
    for name, entries in (("uid", namespaces.uid_map), ("gid", namespaces.gid_map)):
        rows = [f"{e['containerID']} {e['hostID']} {e['size']}" for e in entries]
        if plain:
            write(f"/proc/{pid}/{name}_map", "\n".join(rows) + "\n")
        else:
            _run(f"new{name}map", [str(pid), *" ".join(rows).split()])


def _is_own_only(namespaces: Namespaces) -> bool:
    own = ((namespaces.uid_map, os.geteuid()), (namespaces.gid_map, os.getegid()))
    return all(len(rows) == 1 and rows[0]["size"] == 1 and rows[0]["hostID"] == here
               for rows, here in own)


def _run(program: str, arguments: list[str]) -> None:
    try:
        pid = os.posix_spawnp(program, [program, *arguments], os.environ)
    except OSError as exc:
        raise OciError(f"cannot map ids: {program}: {words_of(exc)}") from exc
    _, status = os.waitpid(pid, 0)
    if status:
        raise OciError(f"cannot map ids: {program} {' '.join(arguments)} failed")


def join_all(joined: dict[str, int]) -> None:
    """Enter all of them; OSError.  Those that belong to a user namespace we are to join too can
    only be entered after it, those of the host only before it."""
    waiting = {kind: fd for kind, fd in joined.items() if kind != "user"}
    later: dict[str, int] = {}
    for kind, fd in waiting.items():
        try:
            syscalls.setns(fd, FLAGS[kind])
        except PermissionError:
            if "user" not in joined:
                raise
            later[kind] = fd
    if "user" in joined:
        syscalls.setns(joined["user"], syscalls.CLONE_NEWUSER)
        become_root()
    for kind, fd in later.items():
        syscalls.setns(fd, FLAGS[kind])


def become_root() -> None:
    """Be user 0 of the user namespace we have just entered, if it has one."""
    try:
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        os.setgroups([])
    except OSError as exc:
        if exc.errno not in (errno.EINVAL, errno.EPERM):
            raise
