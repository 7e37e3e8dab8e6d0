"""The limits of a service -> `runtime.spec.Resources` and rlimits.

Pure; SpecError with its place for what contradicts itself.  Whether this machine can enforce them
is asked by `engine.machine`.
"""

from __future__ import annotations

import re

from orchestrator.engine.places import fault, near
from orchestrator.linux.rlimits import NAMES
from orchestrator.runtime.spec import BlockIo, Resources
from orchestrator.spec import model
from orchestrator.spec.model import Project, Service

_CPUS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
_WEIGHTS = (10, 1000)


def resources(service: Service, *, project: Project) -> Resources:
    """All of them; 0 and less are no limit, as in Docker."""
    check_memory(service, project=project)
    check_processors(service, project=project)
    return Resources(
        memory=_positive(service.mem_limit),
        memory_reservation=_positive(service.mem_reservation),
        memory_swap=service.memswap_limit or None,
        memory_swappiness=service.mem_swappiness,
        oom_kill_disable=service.oom_kill_disable,
        cpus=service.cpus or None,
        cpu_shares=_positive(service.cpu_shares),
        cpu_period=_positive(service.cpu_period),
        cpu_quota=_positive(service.cpu_quota),
        cpu_rt_period=_positive(service.cpu_rt_period),
        cpu_rt_runtime=_positive(service.cpu_rt_runtime),
        cpuset=service.cpuset or None,
        pids=_positive(service.pids_limit),
        block=block(service, project=project),
    )


def _positive(value: int | None) -> int | None:
    return value if value is not None and value > 0 else None


def check_memory(service: Service, *, project: Project) -> None:
    """SpecError where the limits of memory do not fit together."""
    memory, swap = _positive(service.mem_limit), service.memswap_limit
    if swap:
        if memory is None:
            raise fault(project, service, "memswap_limit", "memswap_limit is memory and swap "
                        "together, so it needs a mem_limit", hint="add mem_limit")  # fmt: skip
        if 0 < swap < memory:
            raise fault(project, service, "memswap_limit", f"memswap_limit {swap} is memory and "
                        f"swap together: it cannot be below mem_limit {memory}")  # fmt: skip
        if swap < -1:
            raise fault(project, service, "memswap_limit", "memswap_limit cannot be below -1")
    reserved = service.mem_reservation or 0
    if memory is not None and reserved > memory:
        raise fault(project, service, "mem_reservation", f"mem_reservation {reserved} is above "
                    f"mem_limit {memory}")  # fmt: skip
    swappiness = service.mem_swappiness
    if swappiness is not None and not 0 <= swappiness <= 100:
        raise fault(project, service, "mem_swappiness", f"mem_swappiness {swappiness} is not from "
                    "0 to 100")  # fmt: skip
    score = service.oom_score_adj
    if score is not None and not -1000 <= score <= 1000:
        raise fault(project, service, "oom_score_adj", f"oom_score_adj {score} is not from -1000 "
                    "to 1000")  # fmt: skip


def check_processors(service: Service, *, project: Project) -> None:
    """SpecError where the limits of processors do not fit together."""
    if service.cpus and (service.cpu_quota or service.cpu_period):
        key = "cpu_quota" if service.cpu_quota else "cpu_period"
        raise fault(project, service, key, f"{key} and cpus say the same in two ways",
                    hint="say one of them")  # fmt: skip
    quota = service.cpu_quota or 0
    if 0 < quota < 1000:
        raise fault(project, service, "cpu_quota", f"cpu_quota {quota} is below the 1000 "
                    "microseconds the kernel takes")  # fmt: skip
    period = service.cpu_period or 0
    if period and not 1000 <= period <= 1_000_000:
        raise fault(project, service, "cpu_period", f"cpu_period {period} is not from 1000 to "
                    "1000000 microseconds")  # fmt: skip
    if service.cpuset and not _CPUS.fullmatch(service.cpuset):
        raise fault(project, service, "cpuset", f"{service.cpuset!r} is not a list of processors "
                    "such as 0-2,4")  # fmt: skip


def block(service: Service, *, project: Project) -> BlockIo | None:
    """`blkio_config`."""
    said = service.blkio_config
    if said is None:
        return None
    weights = [said.weight or 0, *(entry.weight for entry in said.weight_device)]
    for weight in weights:
        if weight and not _WEIGHTS[0] <= weight <= _WEIGHTS[1]:
            raise fault(project, service, "blkio_config", f"weight {weight} is not from 10 to 1000")
    return BlockIo(
        weight=said.weight or None,
        weight_device=tuple((entry.path, entry.weight) for entry in said.weight_device),
        read_bps=_rates(said.device_read_bps), write_bps=_rates(said.device_write_bps),
        read_iops=_rates(said.device_read_iops), write_iops=_rates(said.device_write_iops),
    )  # fmt: skip


def _rates(entries: tuple[model.DeviceRate, ...]) -> tuple[tuple[str, int], ...]:
    return tuple((entry.path, entry.rate) for entry in entries)


def rlimits(service: Service, *, project: Project) -> tuple[tuple[str, int, int], ...]:
    """`ulimits` as (name, soft, hard); -1 is infinity."""
    for limit in service.ulimits:
        if limit.name not in NAMES:
            raise fault(project, service, "ulimits", f"unknown limit {limit.name!r}",
                        item=limit.name, hint=near(limit.name, NAMES))  # fmt: skip
        if limit.hard >= 0 and not 0 <= limit.soft <= limit.hard:
            raise fault(project, service, "ulimits", f"the soft limit {limit.soft} of {limit.name} "
                        f"is above the hard one, {limit.hard}", item=limit.name)  # fmt: skip
    return tuple((limit.name, limit.soft, limit.hard) for limit in service.ulimits)


def cgroup_parent(service: Service, *, project: Project) -> str:
    """A path below our place in each hierarchy."""
    parts = [part for part in (service.cgroup_parent or "").split("/") if part]
    if any(part in (".", "..") for part in parts):
        raise fault(project, service, "cgroup_parent", f"{service.cgroup_parent!r} leads out of "
                    "the control groups that are ours")  # fmt: skip
    return "/".join(parts)
