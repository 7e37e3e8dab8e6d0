"""`process` of config.json -> the steps from a finished root to the moment before exec.

Pure.  Words of the specification that no kernel knows are refused here.
"""

from __future__ import annotations

from orchestrator.linux import caps, rlimits, scheduling
from orchestrator.runtime import command, privilege
from orchestrator.runtime.oci import credentials
from orchestrator.runtime.oci.faults import OciError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from orchestrator.runtime.steps import Step

    Warn = Callable[[str], None]

_POLICIES = {f"SCHED_{name}": number for name, number in (
    ("OTHER", scheduling.SCHED_OTHER), ("FIFO", scheduling.SCHED_FIFO),
    ("RR", scheduling.SCHED_RR), ("BATCH", scheduling.SCHED_BATCH), ("ISO", scheduling.SCHED_ISO),
    ("IDLE", scheduling.SCHED_IDLE), ("DEADLINE", scheduling.SCHED_DEADLINE))}  # fmt: skip
_SCHEDULER_FLAGS = {f"SCHED_FLAG_{name}": bit for name, bit in (
    ("RESET_ON_FORK", 0x01), ("RECLAIM", 0x02), ("DL_OVERRUN", 0x04), ("KEEP_POLICY", 0x08),
    ("KEEP_PARAMS", 0x10), ("UTIL_CLAMP_MIN", 0x20), ("UTIL_CLAMP_MAX", 0x40))}  # fmt: skip
_IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
MEMORY_MODES = {f"MPOL_{name}": number for number, name in enumerate((
    "DEFAULT", "PREFERRED", "BIND", "INTERLEAVE", "LOCAL", "PREFERRED_MANY",
    "WEIGHTED_INTERLEAVE"))}  # fmt: skip
MEMORY_FLAGS = {"MPOL_F_NUMA_BALANCING": 1 << 13, "MPOL_F_RELATIVE_NODES": 1 << 14,
                "MPOL_F_STATIC_NODES": 1 << 15}  # fmt: skip
_INFINITY = (1 << 64) - 1
_DOMAINS = {"LINUX": scheduling.PER_LINUX, "LINUX32": scheduling.PER_LINUX32}


def environment(process: dict[str, Any]) -> dict[str, str]:
    """`env` as a mapping; what has no `=` is no variable."""
    pairs = (entry.partition("=") for entry in process.get("env", ()))
    return {name: value for name, equals, value in pairs if equals and name}


def identity(process: dict[str, Any]) -> list[Step]:
    """Who it is to be; HOME from the container's own passwd where it is not set."""
    user = process.get("user", {})
    groups = [str(gid) for gid in user.get("additionalGids", ())]
    return [privilege.LookUpUser(user=f"{user.get('uid', 0)}:{user.get('gid', 0)}",
                                 group_add=groups)]


def scheduled(process: dict[str, Any], linux: dict[str, Any]) -> list[Step]:
    """What the kernel is to know of it besides limits: scheduling, memory nodes, domain."""
    steps: list[Step] = []
    if "scheduler" in process:
        steps.append(credentials.Scheduler(attributes=_scheduler(process["scheduler"])))
    if "ioPriority" in process:
        wanted = process["ioPriority"]
        steps.append(credentials.IoPriority(scheduling_class=_IO_CLASSES[wanted["class"]],
                                            level=wanted.get("priority", 0)))
    if "memoryPolicy" in linux:
        steps.append(_memory_policy(linux["memoryPolicy"]))
    if "personality" in linux:
        wanted = linux["personality"]
        if wanted.get("flags"):
            raise OciError("config: linux.personality.flags: there are none yet")
        steps.append(credentials.Personality(domain=_DOMAINS[wanted["domain"]]))
    return steps


def _scheduler(wanted: dict[str, Any]) -> dict[str, int]:
    policy = wanted["policy"]
    if policy not in _POLICIES:
        raise OciError(f"config: process.scheduler.policy {policy!r} is unknown")
    flags = 0
    for name in wanted.get("flags", ()):
        if name not in _SCHEDULER_FLAGS:
            raise OciError(f"config: process.scheduler.flags: {name!r} is unknown")
        flags |= _SCHEDULER_FLAGS[name]
    numbers = {key: wanted.get(key, 0)
               for key in ("nice", "priority", "runtime", "deadline", "period")}
    return {"policy": _POLICIES[policy], "flags": flags, **numbers}


def _memory_policy(wanted: dict[str, Any]) -> Step:
    if wanted["mode"] not in MEMORY_MODES:
        raise OciError(f"config: linux.memoryPolicy.mode {wanted['mode']!r} is unknown")
    mode = MEMORY_MODES[wanted["mode"]]
    for name in wanted.get("flags", ()):
        if name not in MEMORY_FLAGS:
            raise OciError(f"config: linux.memoryPolicy.flags: {name!r} is unknown")
        mode |= MEMORY_FLAGS[name]
    nodes = number_list(wanted.get("nodes", ""), "linux.memoryPolicy.nodes")
    return credentials.MemoryPolicy(mode=mode, nodes=sorted(nodes))


def number_list(text: str, where: str) -> set[int]:
    """`0-3,7` as a set, as cpuset(7) writes lists; OciError."""
    found: set[int] = set()
    for part in filter(None, text.replace(" ", "").split(",")):
        first, dash, last = part.partition("-")
        last = last if dash else first
        digits = first.isascii() and first.isdigit() and last.isascii() and last.isdigit()
        if not digits or not int(first) <= int(last) < 4096:
            raise OciError(f"config: {where}: {part!r} is neither a number nor a range")
        found.update(range(int(first), int(last) + 1))
    return found


def limits(process: dict[str, Any]) -> list[Step]:
    """Resource limits last: under a small one even we could not do much more."""
    wanted = []
    for limit in process.get("rlimits", ()):
        kind = limit["type"].removeprefix("RLIMIT_").lower()
        if limit["type"] != f"RLIMIT_{kind.upper()}" or kind not in rlimits.NAMES:
            raise OciError(f"config: process.rlimits: {limit['type']!r} is unknown")
        wanted.append([kind, *(_limit(limit[which]) for which in ("soft", "hard"))])
    steps: list[Step] = []
    if "oomScoreAdj" in process:
        steps.append(privilege.OomScore(value=process["oomScoreAdj"]))
    return [*steps, privilege.Rlimits(limits=wanted)] if wanted else steps


def _limit(value: int) -> int:
    """Of what a C long cannot hold, only infinity is meant."""
    return -1 if value == _INFINITY else min(value, (1 << 63) - 1)


def capability_sets(process: dict[str, Any], warn: Warn) -> dict[str, int]:
    """The five sets as masks.  A capability that nobody knows, or that we have not, is left out
    with a warning (runtime-spec 1.1)."""
    if "capabilities" not in process:
        return {"bounding": 0, "effective": 0, "inheritable": 0, "permitted": 0, "ambient": 0}
    ours = caps.bounding()
    masks = {}
    unknown: set[str] = set()
    for name in ("bounding", "effective", "inheritable", "permitted", "ambient"):
        wanted = set(process["capabilities"].get(name, ()))
        known = {word for word in wanted if word in caps.NAMES and caps.mask_of((word,)) & ours}
        unknown |= wanted - known
        masks[name] = caps.mask_of(known)
    for word in sorted(unknown):
        warn(f"capability {word} cannot be granted")
    # The kernel wants ambient within permitted and inheritable, effective within permitted.
    masks["effective"] &= masks["permitted"]
    masks["ambient"] &= masks["permitted"] & masks["inheritable"]
    return masks


def working_directory(process: dict[str, Any]) -> Step:
    """chdir, and a look that it lies inside."""
    return command.WorkingDirectory(path=process["cwd"], create=True)
