"""`linux.resources` of config.json -> what is written into which file of which controller.

Pure.  The properties are those of config-linux.md, made for version 1; on version 2 they are
converted as runc and crun do (memory-plus-swap to swap, shares to weight).
"""

from __future__ import annotations

import os

from orchestrator.linux import cgroupfs
from orchestrator.runtime.oci.faults import OciError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Any

    Write = tuple[str, str, str]
    """Controller, file, value."""

DEFAULT_DEVICES = (
    "c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm",
    "c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm",
)  # fmt: skip
"""What a container may use whatever the config says: making any node, and the usual devices."""


def writes(resources: dict[str, Any], *, legacy: Container[str]) -> list[Write]:
    """In the order in which the kernel takes them; `legacy` are the controllers that are in version
    1 trees (on a hybrid machine some are in version 2)."""
    found: list[Write] = []
    for controller, make in (
        ("memory", _memory), ("cpu", _cpu), ("cpuset", _cpuset), ("pids", _pids),
        ("blkio", _block), ("hugetlb", _hugetlb), ("net_cls", _network), ("rdma", _rdma),
        ("", _unified),
    ):  # fmt: skip
        found += make(resources, unified=controller not in legacy)
    return found


def _memory(resources: dict[str, Any], *, unified: bool) -> list[Write]:
    memory = resources.get("memory", {})
    limit, swap = memory.get("limit"), memory.get("swap")
    if limit is not None and swap is not None and 0 <= swap < limit and limit >= 0:
        raise OciError("config: linux.resources.memory.swap is below the limit it includes")
    if unified:
        return _memory_unified(memory)
    found: list[Write] = []
    for key, name in (("limit", "limit_in_bytes"), ("swap", "memsw.limit_in_bytes"),
                      ("reservation", "soft_limit_in_bytes"), ("kernel", "kmem.limit_in_bytes"),
                      ("kernelTCP", "kmem.tcp.limit_in_bytes"), ("swappiness", "swappiness")):
        value = memory.get(key)
        if value is not None and not (value == 0 and key != "swappiness"):
            found.append(("memory", f"memory.{name}", str(value)))
    if memory.get("useHierarchy"):
        found.append(("memory", "memory.use_hierarchy", "1"))
    if memory.get("disableOOMKiller"):
        found.append(("memory", "memory.oom_control", "1"))
    return found


def _memory_unified(memory: dict[str, Any]) -> list[Write]:
    limit, swap = memory.get("limit"), memory.get("swap")
    found: list[Write] = []
    if limit:
        found.append(("memory", "memory.max", _or_max(limit)))
    if swap:
        only = swap if swap < 0 else swap - (limit or 0)
        if swap > 0 and not limit:
            raise OciError("config: linux.resources.memory.swap needs a memory limit on cgroup v2")
        found.append(("memory", "memory.swap.max", _or_max(only)))
    if memory.get("reservation"):
        found.append(("memory", "memory.low", _or_max(memory["reservation"])))
    return found


def _or_max(value: int) -> str:
    return "max" if value < 0 else str(value)


def _cpu(resources: dict[str, Any], *, unified: bool) -> list[Write]:
    cpu = resources.get("cpu", {})
    found: list[Write] = []
    if unified:
        found += _cpu_unified(cpu)
    else:
        for key, name in (
            ("shares", "shares"), ("period", "cfs_period_us"), ("quota", "cfs_quota_us"),
            ("burst", "cfs_burst_us"), ("realtimePeriod", "rt_period_us"),
            ("realtimeRuntime", "rt_runtime_us"), ("idle", "idle"),
        ):  # fmt: skip
            if cpu.get(key):
                found.append(("cpu", f"cpu.{name}", str(cpu[key])))
    return found


def _cpuset(resources: dict[str, Any], *, unified: bool) -> list[Write]:
    cpu = resources.get("cpu", {})
    return [("cpuset", f"cpuset.{key}", cpu[key]) for key in ("cpus", "mems") if cpu.get(key)]


def _cpu_unified(cpu: dict[str, Any]) -> list[Write]:
    found: list[Write] = []
    if cpu.get("realtimeRuntime") or cpu.get("realtimePeriod"):
        raise OciError("config: linux.resources.cpu: cgroup v2 has no realtime limits")
    if cpu.get("idle"):
        found.append(("cpu", "cpu.idle", str(cpu["idle"])))
    elif cpu.get("shares"):
        weight = cgroupfs.weight_of_shares(cpu["shares"])
        found.append(("cpu", "cpu.weight", str(weight)))
    if cpu.get("quota") or cpu.get("period"):
        quota = cpu.get("quota") or -1
        found.append(("cpu", "cpu.max", f"{_or_max(quota)} {cpu.get('period') or 100_000}"))
    if cpu.get("burst"):
        found.append(("cpu", "cpu.max.burst", str(cpu["burst"])))
    return found


def _pids(resources: dict[str, Any], *, unified: bool) -> list[Write]:
    """0 is a limit, -1 is none (the same file in both versions)."""
    if "pids" not in resources:
        return []
    return [("pids", "pids.max", _or_max(resources["pids"]["limit"]))]


def _block(resources: dict[str, Any], *, unified: bool) -> list[Write]:
    block = resources.get("blockIO", {})
    controller = "io" if unified else "blkio"
    found: list[Write] = []
    if block.get("weight"):
        found.append((controller, "io.bfq.weight" if unified else "blkio.weight",
                      str(block["weight"])))
    if block.get("leafWeight") and not unified:
        found.append((controller, "blkio.leaf_weight", str(block["leafWeight"])))
    for device in block.get("weightDevice", ()):
        number = f"{device['major']}:{device['minor']}"
        if device.get("weight"):
            found.append((controller, "io.bfq.weight" if unified else "blkio.weight_device",
                          f"{number} {device['weight']}"))
        if device.get("leafWeight") and not unified:
            found.append((controller, "blkio.leaf_weight_device",
                          f"{number} {device['leafWeight']}"))
    for key, old, new in (
        ("throttleReadBpsDevice", "read_bps", "rbps"),
        ("throttleWriteBpsDevice", "write_bps", "wbps"),
        ("throttleReadIOPSDevice", "read_iops", "riops"),
        ("throttleWriteIOPSDevice", "write_iops", "wiops"),
    ):
        for device in block.get(key, ()):
            number = f"{device['major']}:{device['minor']}"
            if unified:
                found.append((controller, "io.max", f"{number} {new}={device['rate'] or 'max'}"))
            else:
                found.append((controller, f"blkio.throttle.{old}_device",
                              f"{number} {device['rate']}"))
    return found


def _hugetlb(resources: dict[str, Any], *, unified: bool) -> list[Write]:
    """The reservations too, and first, as the specification recommends."""
    last = "max" if unified else "limit_in_bytes"
    found: list[Write] = []
    for entry in resources.get("hugepageLimits", ()):
        size = entry["pageSize"]
        if not size or "/" in size:
            raise OciError(f"config: linux.resources.hugepageLimits: no page size {size!r}")
        found += [("hugetlb", f"hugetlb.{size}.{kind}{last}", str(entry["limit"]))
                  for kind in ("rsvd.", "")]
    return found


def _network(resources: dict[str, Any], *, unified: bool) -> list[Write]:
    network = resources.get("network", {})
    if unified and (network.get("classID") or network.get("priorities")):
        raise OciError("config: linux.resources.network: cgroup v2 has no such controller")
    found: list[Write] = []
    if network.get("classID"):
        found.append(("net_cls", "net_cls.classid", str(network["classID"])))
    found += [("net_prio", "net_prio.ifpriomap", f"{each['name']} {each['priority']}")
              for each in network.get("priorities", ())]
    return found


def _rdma(resources: dict[str, Any], *, unified: bool) -> list[Write]:
    return [("rdma", "rdma.max", " ".join([
        device, *(f"{word}={limit[key]}" for key, word in (
            ("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object")) if key in limit)]))
        for device, limit in resources.get("rdma", {}).items()]  # fmt: skip


def _unified(resources: dict[str, Any], *, unified: bool) -> list[Write]:
    """Files of version 2 by their names; what they hold is the author's affair."""
    if resources.get("unified") and not unified:
        raise OciError("config: linux.resources.unified needs cgroup v2 alone")
    found: list[Write] = []
    for name, value in resources.get("unified", {}).items():
        controller, dot, _ = name.partition(".")
        if not dot or os.path.basename(name) != name:
            raise OciError(f"config: linux.resources.unified: {name!r} is no file of a cgroup")
        found.append(("" if controller == "cgroup" else controller, name, value))
    return found


def device_rules(resources: dict[str, Any]) -> list[tuple[bool, str]]:
    """(whether it allows, rule of devices.allow) in order.  A rule without type is for all
    devices; without a number, for all numbers."""
    found = []
    for rule in resources.get("devices", ()):
        kind = rule.get("type", "a")
        kind = "c" if kind == "u" else kind
        major, minor = (_number(rule.get(key)) for key in ("major", "minor"))
        access = rule.get("access") or "rwm"
        if set(access) - set("rwm"):
            raise OciError(f"config: linux.resources.devices: no access {access!r}")
        found.append((rule["allow"], f"{kind} {major}:{minor} {access}"))
    return found


def _number(value: int | None) -> str:
    return "*" if value is None or value < 0 else str(value)
