"""The bridge of a network on this machine: made, kept apart from others by rules, removed.

Synchronous and idempotent; every function may be called again after a crash at any point of it.
Knows interfaces and subnets; knows neither projects nor containers.
"""

from __future__ import annotations

import errno
import os

from orchestrator.errors import NetworkError
from orchestrator.linux import netlink, nftables
from orchestrator.network import ipam, routes

_FORWARDING = "/proc/sys/net/ipv4/ip_forward"


def create_bridge(
    interface: str, *, gateway: str, prefix: int, internal: bool, subnet: str
) -> str | None:
    """Make the bridge with `gateway` as its address, up, and its rules.  Where the kernel has no
    nf_tables the network works without a way out and unguarded: the reason is returned, for one
    warning.  NetworkError where the bridge itself cannot be made."""
    try:
        with netlink.Netlink() as sock:
            _create(sock, interface, gateway=gateway, prefix=prefix)
    except OSError as exc:
        raise NetworkError(
            f"cannot create bridge {interface} with {gateway}/{prefix}: {exc.strerror}",
            hint=_hint(exc),
        ) from exc
    try:
        nftables.add_network(interface, subnet=subnet, internal=internal)
    except OSError as exc:
        what = "networks are not isolated" if internal else (
            "containers cannot reach the outside, and networks are not isolated")
        return f"no packet filter rules for {interface}, {what}: nf_tables: {exc.strerror}"
    return None


def _hint(exc: OSError) -> str | None:
    if exc.errno in (errno.EPERM, errno.EACCES):
        return "making networks needs CAP_NET_ADMIN: run as root"
    return None


def _create(sock: netlink.Netlink, interface: str, *, gateway: str, prefix: int) -> None:
    create = netlink.create_bridge(
        interface, mac=ipam.mac_of(gateway), mtu=routes.default_mtu(sock)
    )
    create.accept = (errno.EEXIST,)
    sock.run([create])
    link = netlink.get_link(sock, interface)
    if link.kind != "bridge":
        raise OSError(errno.EEXIST, f"an interface of kind {link.kind or 'unknown'} has its name")
    sock.run([
        netlink.set_link(interface, ipv6_address=False),
        netlink.set_link(interface, up=True),
        netlink.add_address(link.index, gateway, prefix, accept=(errno.EEXIST,)),
    ])  # fmt: skip


def remove_bridge(interface: str, *, subnet: str) -> None:
    """Delete the bridge and its rules.  `subnet` is what `create_bridge` was given.  NetworkError
    where the kernel refuses; what is not there is no error."""
    try:
        with netlink.Netlink() as sock:
            sock.run([netlink.delete_link(interface)])
    except OSError as exc:
        raise NetworkError(
            f"cannot remove bridge {interface} of {subnet}: {exc.strerror}", hint=_hint(exc)
        ) from exc
    try:
        nftables.remove_network(interface)
    except OSError:
        # No nf_tables, so no rules either.
        return


def bridge_exists(interface: str) -> bool:
    """Whether a bridge of that name is there."""
    try:
        with netlink.Netlink() as sock:
            return netlink.get_link(sock, interface).kind == "bridge"
    except OSError as exc:
        if exc.errno == errno.ENODEV:
            return False
        raise NetworkError(f"cannot look for bridge {interface}: {exc.strerror}") from exc


def enable_forwarding(marker_path: str) -> None:
    """Let the kernel forward IPv4 packets.  If it did not before, the file `marker_path` says so
    from now on.  NetworkError where that is not allowed."""
    try:
        if _read(_FORWARDING) == "1":
            return
        os.makedirs(os.path.dirname(marker_path) or ".", exist_ok=True)
        # The marker first: a crash in between then restores what is so already.
        _write(marker_path, "0\n")
        _write(_FORWARDING, "1\n")
    except OSError as exc:
        raise NetworkError(
            f"cannot enable IPv4 forwarding: {exc.strerror}", hint="set net.ipv4.ip_forward=1"
        ) from exc


def restore_forwarding(marker_path: str) -> None:
    """Put forwarding back to what it was before `enable_forwarding`; to be called when the last
    network is gone."""
    try:
        if not os.path.exists(marker_path):
            return
        _write(_FORWARDING, "0\n")
        os.unlink(marker_path)
    except OSError as exc:
        raise NetworkError(f"cannot restore IPv4 forwarding: {exc.strerror}") from exc


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
