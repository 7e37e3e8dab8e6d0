"""Resources as cgroup files: which groups a container has and what is written into them, as data.

Pure: where the hierarchies are comes in as `linux.cgroupfs.Hierarchy`; nothing is written here.  A
limit that cannot be enforced on this machine is an error, never silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from orchestrator.errors import LaunchError
from orchestrator.runtime.groups import Group
from orchestrator.runtime.spec import Resources

CONTROLLERS = ("memory", "cpu", "pids")
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

    @property
    def directories(self) -> list[str]:
        """All of them, to be removed at the end."""
        return [*self.legacy.values(), *([self.birth] if self.birth else [])]


def place(name: str, resources: Resources, *, hierarchy: Hierarchy, subject: str) -> Placement:
    """The groups `name` needs for these limits.  Directly below our place in each tree: nothing
    remains but what is removed with the container.  `subject` is who is limited, for the error."""
    wanted = _wanted(resources)
    group = hierarchy.group_paths(name, wanted)
    missing = [controller for controller in wanted if controller not in group]
    if missing:
        raise LaunchError(
            f"cannot limit {', '.join(missing)} of {subject}: this machine gives us no cgroup "
            f"controller for it",
            hint="run as root or with a delegated cgroup, or take the limit out",
        )
    birth = group.get("", "")
    everything = hierarchy.group_paths(name, list(_LEGACY))
    legacy = {
        ",".join(c for c in _LEGACY if everything.get(c) == path): path
        for c, path in group.items() if c and path != birth
    }  # fmt: skip
    return Placement(birth=birth, legacy=legacy, steps=_steps(resources, group, birth=birth),
                     oom_file=_oom_file(group, birth))


def _wanted(resources: Resources) -> list[str]:
    limits = (resources.memory, resources.cpus, resources.pids)
    return [c for c, limit in zip(CONTROLLERS, limits, strict=True) if limit is not None]


def _steps(resources: Resources, group: dict[str, str], *, birth: str) -> tuple[Group, ...]:
    steps = [
        Group(path=path, writes=legacy_writes(controller, resources), enable=[], join=True)
        for controller, path in group.items() if controller and path != birth
    ]  # fmt: skip
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


Write = tuple[str, str, bool]
"""File, value, whether it must be there."""


def legacy_writes(controller: str, resources: Resources) -> list[Write]:
    """Version 1.  Memory and swap together may be twice the memory, as in Docker; a kernel that
    does not count swap has no file for it."""
    match controller:
        case "memory":
            memory = resources.memory or 0
            return [
                ("memory.limit_in_bytes", str(memory), True),
                ("memory.memsw.limit_in_bytes", str(2 * memory), False),
            ]
        case "cpu":
            return [
                ("cpu.cfs_period_us", str(PERIOD), True),
                ("cpu.cfs_quota_us", str(_quota(resources)), True),
            ]
        case _:
            return [("pids.max", _pids(resources), True)]


def unified_writes(controller: str, resources: Resources) -> list[Write]:
    """Version 2, where swap is limited by itself."""
    match controller:
        case "memory":
            memory = str(resources.memory or 0)
            return [("memory.max", memory, True), ("memory.swap.max", memory, False)]
        case "cpu":
            return [("cpu.max", f"{_quota(resources)} {PERIOD}", True)]
        case _:
            return [("pids.max", _pids(resources), True)]


def _quota(resources: Resources) -> int:
    return max(_LEAST_QUOTA, round((resources.cpus or 0) * PERIOD))


def _pids(resources: Resources) -> str:
    """Zero or less means no limit, as in Docker."""
    return str(resources.pids) if (resources.pids or 0) > 0 else "max"
