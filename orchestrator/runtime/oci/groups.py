"""The cgroups of one container: which, made, limited, entered, and removed again.

`cgroupsPath` is below our place in every tree, whether absolute or relative, so that
/proc/PID/cgroup shows it as it was given.
"""

from __future__ import annotations

import os

from orchestrator.linux import cgroupfs, devicebpf
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


def choose(linux: dict[str, Any], container_id: str, hierarchy: Hierarchy) -> Group:
    """Controller -> directory, for every controller there is; nothing is made yet."""
    path = linux.get("cgroupsPath") or f"pcompose-oci/{container_id}"
    if ":" in path and "/" not in path.partition(":")[0]:
        slice_, prefix, name = ([*path.split(":"), "", ""])[:3]
        path = f"{slice_ or 'system.slice'}/{prefix}-{name}.scope"
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise OciError(f"config: linux.cgroupsPath {path!r} does not name a group")
    return hierarchy.group_paths("/".join(parts), list(_ALWAYS))


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


def limit(group: Group, wanted: dict[str, Any], *, hierarchy: Hierarchy) -> None:
    """Write the limits; OciError where the kernel refuses one or has no controller for it."""
    unified = hierarchy.kind == "unified"
    for controller, name, value in resources.writes(wanted, unified=unified):
        if controller not in group:
            raise OciError(f"cannot set {name}: this machine gives us no {controller} controller")
        try:
            _write(group[controller], name, value)
        except OSError as exc:
            if _may_be_missing(name) and isinstance(exc, FileNotFoundError):
                continue
            raise OciError(f"cannot set {name} to {value}: {words_of(exc)}") from exc


def _write(path: str, name: str, value: str) -> None:
    """Memory alone may not go above memory and swap together, which another limit may follow."""
    try:
        cgroupfs.write(path, name, value)
    except OSError:
        if name not in ("memory.limit_in_bytes",):
            raise
        cgroupfs.write(path, "memory.memsw.limit_in_bytes", "-1")
        cgroupfs.write(path, name, value)


def _may_be_missing(name: str) -> bool:
    """Files of kernels that do not count it: swap, kernel memory, reservations of huge pages."""
    return "memsw" in name or "swap.max" in name or ".rsvd." in name or "kmem" in name or (
        name in ("memory.use_hierarchy", "io.bfq.weight", "cpu.cfs_burst_us", "blkio.weight",
                 "blkio.leaf_weight"))  # fmt: skip


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
