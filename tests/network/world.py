"""A small machine for tests: bridges, containers on them, and an outside behind a router's veth.

To be used inside a namespace made by `tests.network.namespaces.isolated`.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from orchestrator.linux import netlink
from orchestrator.network import bridge, endpoint, ipam
from tests.network.namespaces import Guest, loopback_up

OUTSIDE = "192.0.2.9"
HERE = "192.0.2.1"
ID = "0123456789abcdef" * 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    bridge: str
    interface: str
    address: str
    prefix: int
    mac: str
    gateway: str | None
    address6: str = ""
    prefix6: int = 0
    gateway6: str | None = None
    link_local: tuple[str, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    isolated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    bridge: str
    subnet: IPv4Network
    warning: str | None

    def link(
        self, number: int, *, interface: str = "eth0", way_out: bool = True, **more: Any
    ) -> Link:
        address = str(self.subnet[number])
        return Link(
            bridge=self.bridge, interface=interface, address=address, prefix=24,
            mac=ipam.mac_of(address), gateway=str(self.subnet[1]) if way_out else None, **more,
        )  # fmt: skip

    def dual(self, number: int, **more: Any) -> Link:
        """A link with an IPv6 address too."""
        third = self.subnet.network_address.packed[2]
        return self.link(number, address6=f"fd00:{third}::{number}", prefix6=64,
                         gateway6=f"fd00:{third}::1", **more)  # fmt: skip


def network(
    name: str, third: int, *, internal: bool = False, dual: bool = False, masquerade: bool = True
) -> Net:
    subnet = IPv4Network(f"172.20.{third}.0/24")
    addresses = [(str(subnet[1]), str(subnet))]
    addresses += [(f"fd00:{third}::1", f"fd00:{third}::/64")] if dual else []
    warning = bridge.create_bridge(name, addresses, internal=internal, masquerade=masquerade)
    return Net(bridge=name, subnet=subnet, warning=warning)


@contextmanager
def container(
    id_: str, *links: Link, hairpin: bool = True
) -> Iterator[tuple[Guest, list[socket.socket]]]:
    """A guest with its links and DNS sockets."""
    with Guest() as guest:
        sockets = endpoint.attach(guest.pid, links, container=id_, hairpin=hairpin)
        try:
            yield guest, sockets
        finally:
            for sock in sockets:
                sock.close()
            endpoint.detach(id_)


@contextmanager
def outside() -> Iterator[Guest]:
    """A host on the other side of `wan0`, which is our default route; it has no way back to any
    container."""
    wan = IPv4Network("192.0.2.0/24")
    with Guest() as guest:
        with open(f"/proc/{guest.pid}/ns/net") as file, netlink.Netlink() as sock:
            sock.run([netlink.create_veth(
                "wan0", master=0, peer="wan0", peer_mac="02:42:c0:00:02:09",
                peer_netns=file.fileno(),
            )])  # fmt: skip
            index = netlink.get_link(sock, "wan0").index
            sock.run([
                netlink.add_address(index, HERE, wan.prefixlen),
            ])  # fmt: skip
        guest.run(lambda: _up("wan0", OUTSIDE))
        with netlink.Netlink() as sock:
            sock.run([netlink.add_default_route(OUTSIDE, index)])
        yield guest


def _up(name: str, address: str) -> None:
    loopback_up()
    with netlink.Netlink() as sock:
        sock.run([
            netlink.add_address(netlink.get_link(sock, name).index, address, 24),
            netlink.set_link(name, up=True),
        ])  # fmt: skip


def listener(address: str = "0.0.0.0", port: int = 80) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family)


def dial(address: str, port: int = 80, *, timeout: float = 5.0) -> tuple[str, int]:
    """Our own address of the connection."""
    with socket.create_connection((address, port), timeout=timeout) as sock:
        own: tuple[str, int] = sock.getsockname()[:2]
        return own


def can_dial(address: str, port: int = 80) -> bool:
    """Whether a connection is made within half a second; for what must not be."""
    try:
        dial(address, port, timeout=0.5)
    except OSError:
        return False
    return True


def interfaces() -> Sequence[str]:
    return sorted(name for _, name in socket.if_nameindex())
