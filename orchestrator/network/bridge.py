"""The bridge of a network on this machine: made, kept apart from others by rules, removed.

Synchronous and idempotent; every function may be called again after a crash at any point of it.
Knows interfaces and subnets; knows neither projects nor containers.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence

from orchestrator.errors import NetworkError
from orchestrator.linux import netlink, nftables
from orchestrator.network import endpoint, ipam, routes

Address = tuple[str, str]
"""(gateway, subnet `ADDRESS/PREFIX`); of either family."""


def create_bridge(
    interface: str, addresses: Sequence[Address], *, internal: bool, masquerade: bool = True,
    mtu: int | None = None,
) -> str | None:  # fmt: skip
    """Make the bridge with the gateways as its addresses, up, and its rules.  Where the kernel has
    no nf_tables the network works without a way out and unguarded, and where somebody else's rules
    drop what is forwarded it may have none: the reason is returned, for one warning.  NetworkError
    where the bridge itself cannot be made."""
    try:
        with netlink.Netlink() as sock:
            _create(sock, interface, addresses, mtu=mtu)
    except OSError as exc:
        shown = ", ".join(f"{g}/{subnet.partition('/')[2]}" for g, subnet in addresses)
        raise NetworkError(
            f"cannot create bridge {interface} with {shown}: {exc.strerror}", hint=_hint(exc)
        ) from exc
    subnets = [subnet for _, subnet in addresses]
    try:
        nftables.add_network(interface, subnets=subnets, internal=internal, masquerade=masquerade)
        stranger = nftables.foreign_forward_drop()
    except OSError as exc:
        what = "networks are not isolated" if internal else (
            "containers cannot reach the outside, and networks are not isolated")
        return f"no packet filter rules for {interface}, {what}: nf_tables: {exc.strerror}"
    return None if stranger is None else _loss(interface, stranger, internal=internal)


def _loss(interface: str, stranger: str, *, internal: bool) -> str | None:
    """What is lost where the table `stranger` drops what is forwarded, and what to do."""
    lost = [] if internal else ["the outside"]
    if are_frames_filtered():
        lost.append("each other (net.bridge.bridge-nf-call-iptables is 1)")
    if not lost:
        return None
    return (f"containers on {interface} may not reach {', nor '.join(lost)}: table {stranger} of "
            "this machine drops what it does not know; let it know the interface, such as by "
            f"`iptables -I FORWARD -i {interface} -j ACCEPT` and `iptables -I FORWARD -o "
            f"{interface} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT`")


def are_frames_filtered(path: str = "/proc/sys/net/bridge/bridge-nf-call-iptables") -> bool:
    """Whether frames from one port of a bridge to another pass the packet filter of IP, everybody's
    rules (br_netfilter): Docker and Kubernetes turn it on."""
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip() == "1"
    except OSError:
        return False


def _hint(exc: OSError) -> str | None:
    if exc.errno in (errno.EPERM, errno.EACCES):
        return "making networks needs CAP_NET_ADMIN: run as root"
    return None


def _create(
    sock: netlink.Netlink, interface: str, addresses: Sequence[Address], *, mtu: int | None
) -> None:
    mac = ipam.mac_of(addresses[0][0]) if addresses else None
    create = netlink.create_bridge(interface, mac=mac, mtu=mtu or routes.default_mtu(sock))
    create.accept = (errno.EEXIST,)
    sock.run([create])
    link = netlink.get_link(sock, interface)
    if link.kind != "bridge":
        raise OSError(errno.EEXIST, f"an interface of kind {link.kind or 'unknown'} has its name")
    has_ipv6 = any(":" in gateway for gateway, _ in addresses)
    sock.run([
        *([] if has_ipv6 else [netlink.set_link(interface, ipv6_address=False)]),
        netlink.set_link(interface, up=True),
        *(netlink.add_address(link.index, gateway, int(subnet.partition("/")[2]),
                              accept=(errno.EEXIST,)) for gateway, subnet in addresses),
    ])  # fmt: skip


def remove_bridge(interface: str, *, subnet: str, containers: Iterable[str] = ()) -> None:
    """Delete the bridge and its rules, and with it the links of these containers, because the
    kernel takes as long for all as for one.  `subnet` is for the message.  NetworkError where the
    kernel refuses; what is not there is no error."""
    try:
        with netlink.Netlink() as sock:
            netlink.delete_links(sock, [interface, *endpoint.host_ends(containers)])
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
