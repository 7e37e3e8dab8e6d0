"""Resources as cgroup files: which groups a container has and what is written into them, as data.

Where the hierarchies are comes in as `linux.cgroupfs.Hierarchy`; nothing is written here, and only
the numbers of block devices are asked of the machine.  A limit that cannot be enforced on this
machine is an error, never silence.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Protocol

from orchestrator.dataclass import dataclass
from orchestrator.errors import LaunchError
from orchestrator.linux import cgroupfs
from orchestrator.runtime.groups import Group
from orchestrator.runtime.spec import BlockIo, Resources

CONTROLLERS = ("memory", "cpu", "cpuset", "pids", "io", "blkio", "devices", "freezer")
PERIOD = 100_000
"""Microseconds; that of Docker and of the kernel's default."""
_LEGACY = ("cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "devices", "freezer", "hugetlb",
           "net_cls", "net_prio", "perf_event", "rdma", "misc")  # fmt: skip
_LEAST_QUOTA = 1_000
"""The kernel takes no less than a millisecond."""


class Hierarchy(Protocol):
    """What of `linux.cgroupfs.Hierarchy` is needed here."""

    def group_paths(self, relative: str, controllers: list[str]) -> dict[str, str]:
        """controller -> directory; "" is the version 2 one; what cannot be had is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The cgroups of one container."""

    birth: str
    """The version 2 directory the first process is born in; empty: there is no version 2 tree."""
    legacy: dict[str, str]
    """version 1 tree -> directory, only where a limit needs it.  A tree may have several
    controllers, and is named as mount(8) wants it: `cpu,cpuacct`."""
    steps: tuple[Group, ...]
    """Make, limit and enter them, in the child."""
    oom_file: str
    """Where the kernel counts what it killed for want of memory; empty: no memory limit."""
    group: dict[str, str]
    """As `linux.cgroupfs` takes it, to freeze, kill or list."""

    @property
    def directories(self) -> list[str]:
        """All of them, to be removed at the end."""
        return [*self.legacy.values(), *([self.birth] if self.birth else [])]


def place(
    name: str, resources: Resources, *, hierarchy: Hierarchy, subject: str,
    extra: tuple[str, ...] = (),
) -> Placement:
    """The groups `name` needs for these limits.  Below our place in each tree: nothing remains but
    what is removed with the container.  `extra` are controllers it needs besides, `subject` is who
    is limited, for the error."""
    wanted = [c for c, asks in _asked(resources).items() if asks]
    everything = hierarchy.group_paths(name, list({*_LEGACY, *CONTROLLERS}))
    if "io" in wanted and "io" not in everything:
        wanted[wanted.index("io")] = "blkio"
    if "" not in everything:  # to freeze and to list what is in it
        wanted.append("freezer")
    wanted += [c for c in extra if c not in wanted]
    group = {c: everything[c] for c in ("", *wanted) if c in everything}
    missing = [c for c in wanted if c not in group and c != "freezer"]
    if missing:
        raise LaunchError(
            f"cannot limit {', '.join(missing)} of {subject}: this machine gives us no cgroup "
            f"controller for it",
            hint="run as root or with a delegated cgroup, or take the limit out",
        )
    birth = group.get("", "")
    _check_version_2(resources, group, birth, subject)
    legacy = {
        ",".join(c for c in _LEGACY if everything.get(c) == path): path
        for c, path in group.items() if c and path != birth
    }  # fmt: skip
    return Placement(birth=birth, legacy=legacy, steps=_steps(resources, group, birth=birth),
                     oom_file=_oom_file(group, birth), group=group)  # fmt: skip


def _asked(resources: Resources) -> dict[str, bool]:
    """Which controllers the limits need."""
    r = resources
    memory = (r.memory, r.memory_reservation, r.memory_swap, r.memory_swappiness)
    cpu = (r.cpus, r.cpu_shares, r.cpu_period, r.cpu_quota, r.cpu_rt_period, r.cpu_rt_runtime)
    return {
        "memory": r.oom_kill_disable or any(value is not None for value in memory),
        "cpu": any(value is not None for value in cpu),
        "cpuset": r.cpuset is not None,
        "pids": r.pids is not None,
        "io": r.block is not None,
    }


def _check_version_2(
    resources: Resources, group: dict[str, str], birth: str, subject: str
) -> None:
    """LaunchError for what only version 1 can."""
    for key, controller, value in (
        ("mem_swappiness", "memory", resources.memory_swappiness),
        ("oom_kill_disable", "memory", resources.oom_kill_disable or None),
        ("cpu_rt_period", "cpu", resources.cpu_rt_period),
        ("cpu_rt_runtime", "cpu", resources.cpu_rt_runtime),
    ):
        if value is not None and group[controller] == birth:
            raise LaunchError(
                f"cannot limit {subject}: cgroup version 2 has nothing like {key}",
                hint=f"take {key} out",
            )


def _steps(resources: Resources, group: dict[str, str], *, birth: str) -> tuple[Group, ...]:
    steps = []
    for path in dict.fromkeys(path for c, path in group.items() if c and path != birth):
        here = [c for c, other in group.items() if c and other == path]
        writes = [write for c in here for write in legacy_writes(c, resources)]
        steps.append(Group(path=path, writes=writes, enable=[], join=True))
    unified = [c for c, path in group.items() if c and path == birth]
    if unified:
        writes = [write for c in unified for write in unified_writes(c, resources)]
        steps.append(Group(path=birth, writes=writes, enable=unified, join=False))
    return tuple(steps)


def _oom_file(group: dict[str, str], birth: str) -> str:
    path = group.get("memory")
    if path is None:
        return ""
    return f"{path}/memory.events" if path == birth else f"{path}/memory.oom_control"


Write = tuple[str, str | None, bool]
"""File, value, whether it must be there.  `a|b`: the one of the two that is there; None: what the
group above has."""


def legacy_writes(controller: str, resources: Resources) -> list[Write]:
    """Version 1."""
    r = resources
    match controller:
        case "memory":
            return _legacy_memory(r)
        case "cpu":
            quota, period = _quota(r)
            found: list[Write] = [
                ("cpu.shares", _text(r.cpu_shares), True),
                ("cpu.cfs_period_us", _text(period), True),
                ("cpu.cfs_quota_us", _text(quota), True),
                ("cpu.rt_period_us", _text(r.cpu_rt_period), True),
                ("cpu.rt_runtime_us", _text(r.cpu_rt_runtime), True),
            ]
            return [write for write in found if write[1] is not None]
        case "cpuset":
            return [("cpuset.cpus", r.cpuset, True), ("cpuset.mems", None, True)]
        case "pids":
            return [("pids.max", _pids(r), True)]
        case "blkio" if r.block is not None:
            return _legacy_block(r.block)
    return []


def _legacy_memory(r: Resources) -> list[Write]:
    """Memory and swap together may be twice the memory, as in Docker; a kernel that does not count
    swap has no file for it.  The limit of both comes after that of memory, which it must not be
    below."""
    found: list[Write] = [
        ("memory.limit_in_bytes", _text(r.memory), True),
        ("memory.soft_limit_in_bytes", _text(r.memory_reservation), True),
        ("memory.swappiness", _text(r.memory_swappiness), True),
        ("memory.oom_control", "1" if r.oom_kill_disable else None, True),
    ]
    if r.memory_swap is not None:
        found.insert(1, ("memory.memsw.limit_in_bytes", str(r.memory_swap), True))
    elif r.memory is not None:
        found.insert(1, ("memory.memsw.limit_in_bytes", str(2 * r.memory), False))
    return [write for write in found if write[1] is not None]


def _legacy_block(block: BlockIo) -> list[Write]:
    found: list[Write] = []
    if block.weight is not None:
        found.append(("blkio.weight|blkio.bfq.weight", str(block.weight), True))
    for name, entries in (
        ("blkio.weight_device|blkio.bfq.weight_device", block.weight_device),
        ("blkio.throttle.read_bps_device", block.read_bps),
        ("blkio.throttle.write_bps_device", block.write_bps),
        ("blkio.throttle.read_iops_device", block.read_iops),
        ("blkio.throttle.write_iops_device", block.write_iops),
    ):
        found += [(name, f"{device_number(path)} {value}", True) for path, value in entries]
    return found


def unified_writes(controller: str, resources: Resources) -> list[Write]:
    """Version 2, where swap is limited by itself."""
    r = resources
    match controller:
        case "memory":
            return _unified_memory(r)
        case "cpu":
            quota, period = _quota(r)
            found: list[Write] = []
            if r.cpu_shares is not None:
                found.append(("cpu.weight", str(cgroupfs.weight_of_shares(r.cpu_shares)), True))
            if quota is not None or period is not None:
                most = "max" if quota is None or quota < 0 else quota
                found.append(("cpu.max", f"{most} {period or PERIOD}", True))
            return found
        case "cpuset":
            return [("cpuset.cpus", r.cpuset, True)]
        case "pids":
            return [("pids.max", _pids(r), True)]
        case "io" if r.block is not None:
            return _unified_block(r.block)
    return []


def _unified_memory(r: Resources) -> list[Write]:
    found: list[Write] = []
    if r.memory is not None:
        found.append(("memory.max", str(r.memory), True))
    if r.memory_reservation is not None:
        found.append(("memory.low", str(r.memory_reservation), True))
    if r.memory_swap is not None:
        swap = "max" if r.memory_swap < 0 else str(r.memory_swap - (r.memory or 0))
        found.append(("memory.swap.max", swap, True))
    elif r.memory is not None:
        found.append(("memory.swap.max", str(r.memory), False))
    return found


def _unified_block(block: BlockIo) -> list[Write]:
    found: list[Write] = []
    if block.weight is not None:
        found.append(("io.bfq.weight|io.weight", f"default {block.weight}", True))
    for path, value in block.weight_device:
        found.append(("io.bfq.weight|io.weight", f"{device_number(path)} {value}", True))
    for key, entries in (
        ("rbps", block.read_bps), ("wbps", block.write_bps),
        ("riops", block.read_iops), ("wiops", block.write_iops),
    ):  # fmt: skip
        found += [("io.max", f"{device_number(path)} {key}={value}", True)
                  for path, value in entries]  # fmt: skip
    return found


def device_number(path: str, *, look: Callable[[str], os.stat_result] = os.stat) -> str:
    """`8:0` of the block device at `path`; LaunchError where there is none."""
    try:
        status = look(path)
    except OSError as exc:
        raise LaunchError(f"cannot limit block device {path}: {exc.strerror}") from exc
    if not stat.S_ISBLK(status.st_mode):
        raise LaunchError(f"cannot limit block device {path}: it is not one")
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


def _quota(r: Resources) -> tuple[int | None, int | None]:
    """(quota, period); a quota below 0 is none."""
    if r.cpu_quota is not None or r.cpu_period is not None:
        return r.cpu_quota, r.cpu_period
    if r.cpus is None:
        return None, None
    return max(_LEAST_QUOTA, round(r.cpus * PERIOD)), PERIOD


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


def _pids(resources: Resources) -> str:
    """Zero or less means no limit, as in Docker."""
    return str(resources.pids) if (resources.pids or 0) > 0 else "max"
