"""What this machine routes already: read from the kernel, IPv4 and IPv6."""

from __future__ import annotations

import socket
from ipaddress import IPv6Network, ip_network

from orchestrator.errors import NetworkError
from orchestrator.linux import netlink
from orchestrator.network.ipam import Subnet

_LINK_LOCAL = IPv6Network("fe80::/10")


def live_routes() -> list[Subnet]:
    """The destinations of the main table without the default route and without what every
    interface has.  NetworkError when the kernel does not say."""
    try:
        with netlink.Netlink() as sock:
            routes = [*netlink.routes(sock), *netlink.routes(sock, family=socket.AF_INET6)]
    except OSError as exc:
        raise NetworkError(f"cannot read the routes of this machine: {exc.strerror}") from exc
    found = [ip_network(f"{r.destination}/{r.prefix}") for r in routes if r.destination]
    return [each for each in found if each.version == 4 or not each.subnet_of(_LINK_LOCAL)]


def default_mtu(sock: netlink.Netlink) -> int:
    """The MTU of the interface the default route leads through; 1500 where there is none."""
    outwards = {r.interface for r in netlink.routes(sock) if not r.destination and not r.prefix}
    found = [link.mtu for link in netlink.links(sock) if link.index in outwards] if outwards else []
    return min(found, default=1500)
