"""What this machine routes already: read from the kernel, IPv4."""

from __future__ import annotations

from ipaddress import IPv4Network

from orchestrator.errors import NetworkError
from orchestrator.linux import netlink


def live_routes() -> list[IPv4Network]:
    """The destinations of the main table without the default route.  NetworkError when the kernel
    does not say."""
    try:
        with netlink.Netlink() as sock:
            routes = netlink.routes(sock)
    except OSError as exc:
        raise NetworkError(f"cannot read the routes of this machine: {exc.strerror}") from exc
    return [IPv4Network(f"{r.destination}/{r.prefix}") for r in routes if r.destination]


def default_mtu(sock: netlink.Netlink) -> int:
    """The MTU of the interface the default route leads through; 1500 where there is none."""
    outwards = {r.interface for r in netlink.routes(sock) if not r.destination and not r.prefix}
    found = [link.mtu for link in netlink.links(sock) if link.index in outwards] if outwards else []
    return min(found, default=1500)
