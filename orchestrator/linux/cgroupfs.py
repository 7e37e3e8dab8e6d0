"""Control groups of version 1, version 2 and both at once: find, make, limit, kill, freeze, remove.

A group is a dict from controller to directory, as `Hierarchy.group_paths` gives it; the key `""` is
its directory in the version 2 tree.  In the pure version 2 world all values are the same directory.
Plain data, so that it travels as JSON.  Which limits somebody wants is not known here.

Measured (Linux 6.18): moving a process into a group waits for RCU, 7-40 ms for the first within
some time; a process born in its group (`syscalls.clone(cgroup_fd=…)`, version 2 only) waits for
nothing.  So a version 1 controller is joined only if it is to limit something.
"""

from __future__ import annotations

import errno
import os
import select
import time

from orchestrator.linux import procfs, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Group = dict[str, str]

CPU_PERIOD = 100_000  # microseconds
_MIN_QUOTA = 1_000  # microseconds; the kernel takes no less
_SIGKILL = 9
_TICK = 5  # milliseconds between looks where the kernel has nothing to wait for (version 1)


class Hierarchy:
    """Where groups can be made on this machine, for us.

    In each tree our place is its root if we may write there; else the highest directory above our
    own group that we may write to, such as the delegated subtree of a user's systemd
    (`user@1000.service`), or the root a container sees: nothing above it is ours to change.
    """

    __slots__ = ("kind", "legacy", "unified", "unified_controllers")

    def __init__(
        self, *, kind: str, unified: str | None, unified_controllers: list[str],
        legacy: dict[str, str],
    ) -> None:
        self.kind = kind
        """unified: version 2 alone; hybrid: version 2 without controllers beside version 1;
        legacy: version 1 alone."""
        self.unified = unified
        """Our place in the version 2 tree; None: there is none, or no right to write to it."""
        self.unified_controllers = unified_controllers
        """What groups below `unified` can have."""
        self.legacy = legacy
        """Controller -> our place in its version 1 tree."""

    @staticmethod
    def detect() -> Hierarchy:
        """Look at the mounts and our own groups."""
        return hierarchy_of(procfs.mountinfo(), procfs.cgroups())

    def controllers(self) -> list[str]:
        """All controllers a group of ours can have, by whatever version."""
        return sorted({*self.unified_controllers, *self.legacy})

    def group_paths(self, relative: str, controllers: Iterable[str]) -> Group:
        """The directories of the group `relative` (`pcompose/project/id`); a controller that is not
        to be had here is missing."""
        group = {}
        if self.unified is not None:
            group[""] = os.path.join(self.unified, relative)
        for name in controllers:
            if self.unified is not None and name in self.unified_controllers:
                group[name] = group[""]
            elif name in self.legacy:
                group[name] = os.path.join(self.legacy[name], relative)
        return group


def hierarchy_of(mounts: list[procfs.Mount], own: dict[str, str]) -> Hierarchy:
    """`Hierarchy.detect` from given mounts and own groups (as `procfs.cgroups` has them)."""
    legacy: dict[str, str] = {}
    unified = None
    has_legacy = False
    for mount in mounts:
        if mount.fstype == "cgroup2" and unified is None:
            unified = _place(mount, own.get("", "/"))
        elif mount.fstype == "cgroup":
            for name in mount.super_options:
                if name not in own or name in legacy or name.startswith("name="):
                    continue  # rw, xattr, …; or mounted a second time
                has_legacy = True
                place = _place(mount, own[name])
                if place is not None:
                    legacy[name] = place
    kind = "unified" if not has_legacy else "legacy" if unified is None else "hybrid"
    controllers = _usable_controllers(unified) if unified else []
    return Hierarchy(kind=kind, unified=unified, unified_controllers=controllers, legacy=legacy)


def create(group: Group) -> None:
    """Make the directories of the group, and on version 2 let its controllers through to it.
    A group that is there is no error."""
    for controller, path in group.items():
        os.makedirs(path, exist_ok=True)
        if controller == "cpuset" and not _is_unified(path):
            _inherit_cpuset(path)
    wanted = [name for name, path in group.items() if name and path == group.get("")]
    if wanted:
        _enable(os.path.dirname(group[""]), wanted)


def open_unified(group: Group) -> int | None:
    """A descriptor for `syscalls.clone(cgroup_fd=…)`; None: no version 2 tree.  CLOEXEC."""
    path = group.get("")
    return None if path is None else os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def attach(group: Group, pid: int, *, born: bool) -> None:
    """Move the process into all directories of the group; `born`: it is in the version 2 one."""
    skipped = group.get("") if born else None
    for path in sorted(set(group.values())):
        if path != skipped:
            write(path, "cgroup.procs", str(pid))


def limit(
    group: Group, *, memory: int | None = None, cpus: float | None = None, pids: int | None = None
) -> list[str]:
    """Set the limits that are not None: bytes, processors, processes.  Gives back the controllers
    that were needed and are not there.  As much swap as `memory` is allowed besides, where the
    kernel counts swap."""
    asked = {"memory": memory, "cpu": cpus, "pids": pids}
    missing = [name for name, value in asked.items() if value is not None and name not in group]
    if memory is not None and "memory" in group:
        _limit_memory(group["memory"], memory)
    if cpus is not None and "cpu" in group:
        _limit_cpu(group["cpu"], cpus)
    if pids is not None and "pids" in group:
        write(group["pids"], "pids.max", str(pids))
    return missing


def weight_of_shares(shares: int) -> int:
    """cpu.shares (2 to 262144) as cpu.weight (1 to 10000), as runc and crun convert it."""
    return 1 + (min(max(shares, 2), 262_144) - 2) * 9_999 // 262_142


def allow_devices(group: Group, rules: Iterable[str]) -> bool:
    """Deny all devices and then allow the rules (`c 1:3 rwm`); False where there is no version 1
    controller for it."""
    path = group.get("devices")
    if path is None:
        return False
    write(path, "devices.deny", "a")
    for rule in rules:
        write(path, "devices.allow", rule)
    return True


def processes(group: Group) -> list[int]:
    """The pids in the group and in groups below it."""
    found: set[int] = set()
    for path in _known_by(group):
        for directory, _, _ in os.walk(path):
            found.update(_procs(directory))
    return sorted(found)


def is_populated(group: Group) -> bool:
    """Whether a process lives in the group or below it; False if the group is not there."""
    path = group.get("")
    if path is not None:
        return _event(path, "populated")
    return bool(processes(group))


def kill(group: Group) -> None:
    """SIGKILL all processes of the group and below, also those that are being forked now.  Does not
    wait for their end.  A group that is not there is no error."""
    if "" in group:
        try:
            write(group[""], "cgroup.kill", "1")  # Linux 5.14
            return
        except FileNotFoundError:  # an older kernel, or the group has gone
            pass
    _kill_one_by_one(group)


def freeze(group: Group, *, timeout: float = 10.0) -> None:
    """Stop all processes of the group, until `thaw`.  TimeoutError if the kernel does not manage
    in `timeout` seconds; then they may be half frozen: thaw."""
    _set_frozen(group, frozen=True, timeout=timeout)


def thaw(group: Group, *, timeout: float = 10.0) -> None:
    """Undo `freeze`."""
    _set_frozen(group, frozen=False, timeout=timeout)


def is_frozen(group: Group) -> bool:
    """False also if the group is not there."""
    path = group.get("")
    if path is not None:
        return _event(path, "frozen")
    state = procfs.read_text(os.path.join(group.get("freezer", "/nonexistent"), "freezer.state"))
    return (state or "").strip() == "FROZEN"


def memory_events(group: Group) -> dict[str, int]:
    """What happened for want of memory: `oom_kill` (processes killed) and `max` (times the limit
    was met) at least; empty where memory is not counted."""
    path = group.get("memory")
    if path is None:
        return {}
    events = _numbers(path, "memory.events")
    if events:
        return events
    control = _numbers(path, "memory.oom_control")
    failures = procfs.read_text(os.path.join(path, "memory.failcnt"))
    return {"oom_kill": control.get("oom_kill", 0), "max": int(failures or 0)}


def memory_usage(group: Group) -> int | None:
    """Bytes in use now; None where memory is not counted."""
    for name in ("memory.current", "memory.usage_in_bytes"):
        text = procfs.read_text(os.path.join(group.get("memory", "/nonexistent"), name))
        if text is not None:
            return int(text)
    return None


def remove(group: Group, *, timeout: float = 10.0) -> None:
    """Remove the group and the groups below it.  Waits until the last process has gone; OSError
    with EBUSY if it has not in `timeout` seconds.  What is not there is no error."""
    deadline = time.monotonic() + timeout
    if group.get(""):
        _wait_event(group[""], "populated", value=False, deadline=deadline)
    for path in sorted(set(group.values())):
        _remove_tree(path, deadline)


def remove_empty_parents(group: Group, *, levels: int) -> None:
    """Remove up to `levels` directories above the group, as far as nothing is in them."""
    for path in set(group.values()):
        for _ in range(levels):
            path = os.path.dirname(path)
            try:
                os.rmdir(path)
            except OSError:  # somebody else's groups are in it, or it has gone
                break


def write(path: str, name: str, value: str) -> None:
    """Write one value into a file of the directory `path`."""
    where = os.path.join(path, name)
    fd = os.open(where, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, where) from None
    finally:
        os.close(fd)


# Finding our place


def _place(mount: procfs.Mount, own: str) -> str | None:
    """The highest directory of the tree, on the way to our own group, that we may write to."""
    below = os.path.relpath(own, mount.root) if own.startswith(mount.root) else "."
    path = mount.target
    for name in ["", *below.split("/")]:
        if name == "..":
            return None  # our own group lies outside of what is mounted
        path = os.path.normpath(os.path.join(path, name))
        if os.access(path, os.W_OK) and os.access(os.path.join(path, "cgroup.procs"), os.W_OK):
            return path
    return None


def _usable_controllers(path: str) -> list[str]:
    """The controllers groups below `path` can have.  A group with processes of its own gives none
    to the groups below it, unless it is the real root, which has no `cgroup.type`."""
    enabled = _words(path, "cgroup.subtree_control")
    if os.path.exists(os.path.join(path, "cgroup.type")) and _procs(path):
        return enabled
    return _words(path, "cgroup.controllers")


def _is_unified(path: str) -> bool:
    return os.path.exists(os.path.join(path, "cgroup.subtree_control"))


def _enable(path: str, controllers: list[str]) -> None:
    """Let the controllers through to the groups below `path`, from the top down."""
    enabled = _words(path, "cgroup.subtree_control")
    missing = [name for name in controllers if name not in enabled]
    if not missing:
        return
    above = os.path.dirname(path)
    if _is_unified(above):
        _enable(above, missing)
    write(path, "cgroup.subtree_control", " ".join(f"+{name}" for name in missing))


def _inherit_cpuset(path: str) -> None:
    """A new cpuset group of version 1 has no processors and takes no processes."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        text = (procfs.read_text(os.path.join(path, name)) or "").strip()
        if not text:
            above = os.path.dirname(path)
            _inherit_cpuset(above)
            write(path, name, (procfs.read_text(os.path.join(above, name)) or "").strip())


# Limits


def _limit_memory(path: str, size: int) -> None:
    if os.path.exists(os.path.join(path, "memory.max")):
        write(path, "memory.max", str(size))
        _write_if_there(path, "memory.swap.max", str(size))
        return
    # Memory and swap together must never be below memory alone, so the order depends on whether
    # the limit rises or falls; lifting it first fits both.
    _write_if_there(path, "memory.memsw.limit_in_bytes", "-1")
    write(path, "memory.limit_in_bytes", str(size))
    _write_if_there(path, "memory.memsw.limit_in_bytes", str(2 * size))


def _limit_cpu(path: str, cpus: float) -> None:
    quota = max(round(cpus * CPU_PERIOD), _MIN_QUOTA)
    if os.path.exists(os.path.join(path, "cpu.max")):
        write(path, "cpu.max", f"{quota} {CPU_PERIOD}")
        return
    write(path, "cpu.cfs_period_us", str(CPU_PERIOD))
    write(path, "cpu.cfs_quota_us", str(quota))


def _write_if_there(path: str, name: str, value: str) -> None:
    try:
        write(path, name, value)
    except FileNotFoundError:  # the kernel does not count swap
        pass


# Reading


def _words(path: str, name: str) -> list[str]:
    return (procfs.read_text(os.path.join(path, name)) or "").split()


def _numbers(path: str, name: str) -> dict[str, int]:
    """A file of lines `key number`; empty if it is not there."""
    text = procfs.read_text(os.path.join(path, name)) or ""
    return {key: int(value) for key, value in (line.split() for line in text.splitlines())}


def _event(path: str, key: str) -> bool:
    return bool(_numbers(path, "cgroup.events").get(key, 0))


def _known_by(group: Group) -> list[str]:
    """The directories that together show every process: the version 2 one, else all."""
    return [group[""]] if "" in group else sorted(set(group.values()))


def _procs(path: str) -> list[int]:
    try:
        return [int(word) for word in _words(path, "cgroup.procs")]
    except OSError as exc:
        if exc.errno in (errno.ENODEV, errno.EOPNOTSUPP):  # removed meanwhile; a threaded group
            return []
        raise


# Killing, freezing, waiting


def _kill_one_by_one(group: Group) -> None:
    """Without cgroup.kill: frozen, so that nobody forks while we look."""
    can_freeze = "" in group or "freezer" in group
    if can_freeze:
        try:
            freeze(group)
        except (OSError, TimeoutError):  # what cannot be frozen is killed all the same
            pass
    while _kill_listed(group, wait=not can_freeze) and not can_freeze:
        pass
    if can_freeze:
        try:
            _write_frozen(group, frozen=False)
        except FileNotFoundError:  # the group is not there, so nobody is in it
            pass


def _kill_listed(group: Group, *, wait: bool) -> bool:
    """Kill who is listed; whether there was anybody new to kill.  A descriptor is held before the
    second look, so the pid still means the process that is in the group."""
    held = [(pid, fd) for pid in processes(group) if (fd := _open_pid(pid)) >= 0]
    still = set(processes(group))
    for pid, fd in held:
        try:
            if pid in still:
                syscalls.pidfd_send_signal(fd, _SIGKILL)
        except ProcessLookupError:
            pass
    for _, fd in held:
        if wait:  # without a freezer: only the dead leave no more children behind
            _wait_for_exit(fd)
        os.close(fd)
    return bool(held)


def _open_pid(pid: int) -> int:
    try:
        return syscalls.pidfd_open(pid)
    except ProcessLookupError:
        return -1


def _wait_for_exit(pidfd: int) -> None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll(_TICK)


def _write_frozen(group: Group, *, frozen: bool) -> None:
    if "" in group:
        write(group[""], "cgroup.freeze", "1" if frozen else "0")
    elif "freezer" in group:
        write(group["freezer"], "freezer.state", "FROZEN" if frozen else "THAWED")
    else:
        raise OSError(errno.ENOTSUP, "no freezer")


def _set_frozen(group: Group, *, frozen: bool, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    _write_frozen(group, frozen=frozen)
    if "" in group:
        if not _wait_event(group[""], "frozen", value=frozen, deadline=deadline):
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), group[""])
        return
    while is_frozen(group) is not frozen:  # looking is what makes the version 1 freezer go on
        if time.monotonic() > deadline:
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), group["freezer"])
        select.poll().poll(_TICK)


def _wait_event(path: str, key: str, *, value: bool, deadline: float) -> bool:
    """Wait until cgroup.events says so: the kernel tells pollers of each change.  False: too
    late."""
    try:
        fd = os.open(os.path.join(path, "cgroup.events"), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    poll = select.poll()
    poll.register(fd, select.POLLPRI)
    try:
        while True:
            text = os.pread(fd, 4096, 0).decode()
            if f"{key} {int(value)}\n" in text:
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            poll.poll(left * 1000)
    except OSError as exc:
        if exc.errno == errno.ENODEV:  # removed meanwhile
            return True
        raise
    finally:
        os.close(fd)


def _remove_tree(path: str, deadline: float) -> None:
    for directory, _, _ in os.walk(path, topdown=False):
        _remove_one(directory, deadline)


def _remove_one(path: str, deadline: float) -> None:
    while True:
        try:
            os.rmdir(path)
            return
        except FileNotFoundError:
            return
        except OSError as exc:
            if exc.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
        # Version 1 has no event for it, and version 2 is done some moments before version 1.
        select.poll().poll(_TICK)
