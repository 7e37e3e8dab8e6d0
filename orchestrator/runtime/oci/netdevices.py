"""`linux.netDevices`: interfaces of the runtime's network namespace move into the container's.

They keep their permanent global addresses and are set up (config-linux.md); they are never moved
back: where the namespace ends, the kernel decides.  Also the loopback interface of a new namespace.
"""

from __future__ import annotations

import os
import struct

from orchestrator.linux import netlink, syscalls
from orchestrator.runtime.oci.faults import OciError, words_of
from orchestrator.runtime.steps import Child, Step

_RTM_GETADDR = 22
_IFA_F_PERMANENT = 0x80
_IFADDRMSG = struct.Struct("=BBBBI")
_GLOBAL = 0
_LONGEST_NAME = 15


class LoopbackUp(Step):
    """`lo` of a new network namespace is up."""

    __slots__ = ()

    def execute(self, child: Child) -> None:
        with netlink.Netlink() as kernel:
            kernel.run([netlink.set_link("lo", up=True)])

    def describe(self) -> str:
        return "set the loopback interface up"


def check(devices: dict[str, dict[str, str]]) -> None:
    """Names the kernel would take, each new one once; OciError."""
    names = [device.get("name") or name for name, device in devices.items()]
    for name in [*devices, *names]:
        if not name or name in (".", "..") or len(name) > _LONGEST_NAME or set(name) & set("/: \t"):
            raise OciError(f"config: linux.netDevices: {name!r} is no name of an interface")
    for name in names:
        if names.count(name) > 1 and "%" not in name:
            raise OciError(f"config: linux.netDevices: two interfaces would be {name}")


def move(devices: dict[str, dict[str, str]], pid: int) -> None:
    """Move them into the network namespace of the process; OciError names the first that cannot."""
    if not devices:
        return
    ours = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    theirs = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for name, device in devices.items():
            try:
                _move(name, device.get("name") or name, ours, theirs)
            except OSError as exc:
                raise OciError(f"cannot move interface {name}: {words_of(exc)}") from exc
    finally:
        os.close(ours)
        os.close(theirs)


def _move(name: str, new_name: str, ours: int, theirs: int) -> None:
    with netlink.Netlink() as kernel:
        link = netlink.get_link(kernel, name)
        kept = _addresses(kernel, link.index)
        body = struct.pack("=BxHiII", 0, 0, link.index, 0, 0)
        body += netlink.number(netlink.IFLA_NET_NS_FD, theirs)
        body += netlink.text(netlink.IFLA_IFNAME, new_name)
        syscalls.setns(theirs, syscalls.CLONE_NEWNET)
        try:
            with netlink.Netlink() as inside:
                before = {each.index for each in netlink.links(inside)}
                kernel.run([netlink.Message(netlink.RTM_NEWLINK, body, subject=name)])
                moved = next(each for each in netlink.links(inside) if each.index not in before)
                inside.run([*(_again(each, moved.index) for each in kept),
                            netlink.set_link(moved.name, up=True)])
        finally:
            syscalls.setns(ours, syscalls.CLONE_NEWNET)


def _addresses(kernel: netlink.Netlink, index: int) -> list[bytes]:
    """Bodies of the permanent global addresses of the interface."""
    request = netlink.Message(_RTM_GETADDR, _IFADDRMSG.pack(0, 0, 0, 0, 0))
    found = []
    for body in kernel.dump(request):
        _, _, flags, scope, owner = _IFADDRMSG.unpack_from(body)
        if owner == index and scope == _GLOBAL and flags & _IFA_F_PERMANENT:
            found.append(body)
    return found


def _again(body: bytes, index: int) -> netlink.Message:
    family, prefix, _, scope, _ = _IFADDRMSG.unpack_from(body)
    kept = {kind: value for kind, value in netlink.attributes(body[8:]).items()
            if kind in (1, 2, 4)}  # IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST
    packed = b"".join(netlink.attribute(kind, value) for kind, value in kept.items())
    return netlink.Message(
        netlink.RTM_NEWADDR, _IFADDRMSG.pack(family, prefix, 0, scope, index) + packed,
        flags=netlink.NLM_F_CREATE | netlink.NLM_F_EXCL, subject="address")  # fmt: skip
