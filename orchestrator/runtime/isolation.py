"""ContainerSpec -> what sets the container apart: namespaces, devices, kernel parameters, labels.

Everything here decides outside of the child; only the numbers of devices are asked of the machine.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from orchestrator.dataclass import dataclass
from orchestrator.errors import LaunchError
from orchestrator.linux import devicebpf, syscalls
from orchestrator.runtime import devices, groups, joining, privilege, sysctl
from orchestrator.runtime.limits import Placement
from orchestrator.runtime.spec import ContainerSpec, Namespaces
from orchestrator.runtime.steps import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The running container whose namespace is shared."""

    name: str
    pid: int
    start_time: int


Peers = Mapping[str, Peer]
"""`pid`, `ipc`, `network` -> whose it is; only where it is another container's."""

_FLAGS = {
    "pid": syscalls.CLONE_NEWPID, "ipc": syscalls.CLONE_NEWIPC, "uts": syscalls.CLONE_NEWUTS,
    "network": syscalls.CLONE_NEWNET,
}  # fmt: skip
_KINDS = {"ipc": "ipc", "network": "net"}


def is_own(value: str) -> bool:
    """Whether the container has such a namespace for itself."""
    return value in ("private", "none")


def shared_with(namespaces: Namespaces) -> dict[str, str]:
    """`pid`, `ipc`, `network` -> `service:NAME` or `container:NAME`."""
    values = {name: getattr(namespaces, name) for name in ("pid", "ipc", "network")}
    return {name: value for name, value in values.items() if ":" in value}


def flags(spec: ContainerSpec) -> int:
    """CLONE_NEW* for the clone; the cgroup namespace is unshared by the child, once it is in all
    its groups."""
    found = syscalls.CLONE_NEWNS
    for name, flag in _FLAGS.items():
        if is_own(getattr(spec.namespaces, name)):
            found |= flag
    return found


def join(spec: ContainerSpec, peers: Peers) -> list[Step]:
    """Into the namespaces of others, before anything is mounted; the pid namespace is the
    keeper's affair."""
    steps: list[Step] = []
    for name in shared_with(spec.namespaces):
        if name not in peers:
            raise LaunchError(f"cannot start {spec.name}: nobody's {name} namespace was given")
        peer = peers[name]
        if name in _KINDS:
            steps.append(joining.JoinNamespace(kind=_KINDS[name], pid=peer.pid,
                                               start_time=peer.start_time, whose=peer.name))
        if name == "ipc":
            steps.append(joining.TakeShm(pid=peer.pid, start_time=peer.start_time,
                                         whose=peer.name))  # fmt: skip
    return steps


def cgroup_namespace(spec: ContainerSpec, placement: Placement) -> list[Step]:
    """A namespace in which the container's groups are the roots."""
    if spec.namespaces.cgroup == "host" or not placement.directories:
        return []
    return [groups.CgroupNamespace()]


# Devices

_USUAL = ("c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm",
          "c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm")  # fmt: skip
"""What every container may use once somebody counts: those `runtime.rootfs` binds, and ptys; nodes
may be made, not opened."""


def has_device_filter(spec: ContainerSpec) -> bool:
    """Whether the kernel has to watch what the container opens.  Where no node works but those that
    are bound for it (everything else is `nodev`) it has not."""
    if spec.privileged:
        return False
    limited = any(set(device.permissions) != set("rwm") for device in spec.devices)
    return limited or bool(spec.device_rules)


def is_nodev(spec: ContainerSpec) -> bool:
    """Whether nodes in its file systems are dead."""
    return not spec.privileged and not has_device_filter(spec)


def device_filter(spec: ContainerSpec, placement: Placement) -> list[Step]:
    """The filter of its cgroup, once that is there."""
    if not has_device_filter(spec):
        return []
    path = placement.birth or placement.group["devices"]
    rules = [*_USUAL, *_rules_of_nodes(spec), *map(_parsed, spec.device_rules)]
    return [groups.DeviceFilter(path=path, rules=rules, is_legacy=not placement.birth)]


def _parsed(rule: str) -> str:
    return devicebpf.rule_text(devicebpf.parse_rule(rule))


def _rules_of_nodes(spec: ContainerSpec) -> list[str]:
    found = []
    for device in spec.devices:
        try:
            for path in devices.device_nodes(device.source):
                status = os.stat(path)
                kind = "b" if stat.S_ISBLK(status.st_mode) else "c"
                numbers = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
                found.append(f"{kind} {numbers} {device.permissions}")
        except OSError as exc:
            raise LaunchError(f"cannot start {spec.name}: device {device.source}: "
                              f"{(exc.strerror or '').lower()}") from exc  # fmt: skip
    return found


def device_nodes(spec: ContainerSpec) -> list[Step]:
    """The nodes of the host it gets besides the usual ones."""
    steps: list[Step] = [devices.AllDevices()] if spec.privileged else []
    if spec.devices:
        nodes = [[device.source, device.target] for device in spec.devices]
        steps.append(devices.DeviceNodes(nodes=nodes))
    return steps


# Kernel parameters

_DEFAULTS = (("net/ipv4/ip_unprivileged_port_start", "0"),
             ("net/ipv4/ping_group_range", "0 2147483647"))  # fmt: skip
"""Of a network namespace of its own: a program that is not root may bind port 80 and ping, as with
Docker."""


def sysctls(spec: ContainerSpec) -> list[Step]:
    """Those that were asked for, and the defaults of a network namespace of its own."""
    said = [[sysctl.path_of(name), value] for name, value in spec.sysctls]
    for path, _ in said:
        owner = sysctl.namespace_of(path)
        if owner is None or not is_own(getattr(spec.namespaces, owner)):
            raise LaunchError(f"cannot start {spec.name}: {path.replace('/', '.')} is not a "
                              f"parameter of its own namespaces")  # fmt: skip
    optional = _DEFAULTS if is_own(spec.namespaces.network) else ()
    taken = {path for path, _ in said}
    left = [[path, value] for path, value in optional if path not in taken]
    return [sysctl.Sysctls(values=said, optional=left)] if said or left else []


def security_labels(spec: ContainerSpec) -> list[Step]:
    """What security modules are told, right before the command."""
    found = (("apparmor", spec.apparmor), ("selinux", spec.selinux_label))
    return [privilege.SecurityLabel(module=module, label=label)
            for module, label in found if label]  # fmt: skip
