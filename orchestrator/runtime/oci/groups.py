"""The cgroups of one container: which, made, limited, entered, and removed again.

`cgroupsPath` is below our place in every tree, whether absolute or relative, so that
/proc/PID/cgroup shows it as it was given.
"""

from __future__ import annotations

import os

from orchestrator.linux import cgroupfs, devicebpf, procfs
from orchestrator.linux.cgroupfs import Hierarchy
from orchestrator.runtime.oci import resources
from orchestrator.runtime.oci.faults import OciError, words_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Group = dict[str, str]

_ALWAYS = ("cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "devices", "freezer", "hugetlb",
           "net_cls", "net_prio", "perf_event", "rdma", "misc", "io")  # fmt: skip


def choose(path: str, container_id: str, hierarchy: Hierarchy) -> Group:
    """Controller -> directory, for every controller there is; nothing is made yet."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or (path and not parts):
        raise OciError(f"config: linux.cgroupsPath {path!r} does not name a group")
    return hierarchy.group_paths("/".join(parts or ["pcompose-oci", container_id]), list(_ALWAYS))


def missing(group: Group) -> list[str]:
    """The directories that have to be made for it, parents first."""
    found: list[str] = []
    for path in sorted(set(group.values())):
        found += [each for each in _missing(path) if each not in found]
    return found


def make(group: Group) -> None:
    """Make the directories; OciError if the group has processes or is frozen."""
    try:
        if cgroupfs.processes(group):
            raise OciError(f"the cgroup {_first(group)} has processes already")
        if cgroupfs.is_frozen(group):
            raise OciError(f"the cgroup {_first(group)} is frozen")
        cgroupfs.create(group)
    except OSError as exc:
        raise OciError(f"cannot make the cgroup {words_of(exc)}") from exc


def limit(group: Group, wanted: dict[str, Any], *, warn: Callable[[str], None]) -> None:
    """Write the limits; OciError where the kernel refuses one or has no controller for it, a
    warning where it does not count a thing it controls (swap, weights of disks)."""
    _check_usage(group, wanted.get("memory", {}))
    unified = group.get("")
    legacy = {name for name, path in group.items() if name and path != unified}
    alone = {""} if legacy else set()  # a hybrid machine's version 2 tree has no limits of its own
    for controller, name, value in resources.writes(wanted, legacy=legacy | alone):
        if controller not in group:
            raise OciError(f"cannot set {name}: this machine gives us no {controller} controller")
        try:
            _write(group[controller], name, value)
        except FileNotFoundError as exc:
            if not _may_be_missing(name):
                raise OciError(f"cannot set {words_of(exc)}") from exc
            warn(f"{name} is not enforced: this kernel has it not")
        except OSError as exc:
            raise OciError(f"cannot set {name} to {value}: {words_of(exc)}") from exc


def _check_usage(group: Group, memory: dict[str, Any]) -> None:
    """`checkBeforeUpdate`: a limit below what is used already would only kill."""
    usage = cgroupfs.memory_usage(group) or 0
    if memory.get("checkBeforeUpdate") and 0 <= memory.get("limit", -1) < usage:
        raise OciError(f"memory.limit {memory['limit']} is below the {usage} bytes in use")


def _write(path: str, name: str, value: str) -> None:
    """Memory alone may not go above memory and swap together, which another limit may follow; the
    weights of disks have another name with the scheduler BFQ."""
    try:
        cgroupfs.write(path, name, value)
    except FileNotFoundError:
        if not name.startswith("blkio.weight"):
            raise
        cgroupfs.write(path, name.replace("blkio.", "blkio.bfq."), value)
    except OSError:
        if name != "memory.limit_in_bytes":
            raise
        cgroupfs.write(path, "memory.memsw.limit_in_bytes", "-1")
        cgroupfs.write(path, name, value)


def _may_be_missing(name: str) -> bool:
    return any(part in name for part in (
        "memsw", "swap.max", ".rsvd.", "kmem", "use_hierarchy", "bfq.weight", "blkio.weight",
        "leaf_weight", "cfs_burst"))  # fmt: skip


def allow_devices(group: Group, wanted: dict[str, Any]) -> None:
    """Nothing, then the config's rules in order, then what every container may use: in the version
    1 controller, or as a program on the version 2 group."""
    rules = [*resources.device_rules(wanted),
             *((True, rule) for rule in resources.DEFAULT_DEVICES)]
    try:
        if "devices" in group:
            cgroupfs.write(group["devices"], "devices.deny", "a *:* rwm")
            for allows, rule in rules:
                name = "devices.allow" if allows else "devices.deny"
                cgroupfs.write(group["devices"], name, rule)
        elif "" in group:
            parsed = [(allows, devicebpf.parse_rule(rule)) for allows, rule in rules]
            devicebpf.attach(group[""], devicebpf.program(parsed))
    except OSError as exc:
        raise OciError(f"cannot limit devices: {words_of(exc)}") from exc


def enter(group: Group, pid: int, *, born: bool) -> None:
    """Move the process into all of them; `born`: it is in the version 2 one."""
    try:
        cgroupfs.attach(group, pid, born=born)
    except OSError as exc:
        raise OciError(f"cannot enter the cgroup {words_of(exc)}") from exc


def remove(group: Group, made: list[str], *, warn: Callable[[str], None]) -> None:
    """Remove what was made: the groups with what the container has made in them, and parents that
    nobody else uses."""
    own = {name: path for name, path in group.items() if path in made}
    try:
        cgroupfs.remove(own)
    except OSError as exc:
        warn(f"cannot remove the cgroup {words_of(exc)}")
    for path in reversed(made):
        if path not in own.values():
            try:
                os.rmdir(path)
            except OSError:  # somebody else's groups are in it, or it has gone
                continue


def _missing(path: str) -> list[str]:
    found: list[str] = []
    while not os.path.isdir(path):
        found.insert(0, path)
        path = os.path.dirname(path)
    return found


def _first(group: Group) -> str:
    return next(iter(group.values()), "")


def delegate(group: Group, uid: int) -> None:
    """The version 2 group belongs to the container's root: the directory and the files the kernel
    names in /sys/kernel/cgroup/delegate (config-linux.md, cgroup ownership)."""
    path = group.get("")
    if path is None:
        return
    names = (procfs.read_text("/sys/kernel/cgroup/delegate") or "").split()
    for each in (path, *(f"{path}/{name}" for name in names)):
        try:
            os.chown(each, uid, -1)
        except FileNotFoundError:
            continue
