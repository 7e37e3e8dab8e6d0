"""A small machine for tests: bridges, containers on them, and an outside behind a router's veth.

To be used inside a namespace made by `tests.network.namespaces.isolated`.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    bridge: str
    subnet: IPv4Network
    warning: str | None

    def link(self, number: int, *, interface: str = "eth0", way_out: bool = True) -> Link:
        address = str(self.subnet[number])
        return Link(
            bridge=self.bridge, interface=interface, address=address, prefix=24,
            mac=ipam.mac_of(address), gateway=str(self.subnet[1]) if way_out else None,
        )  # fmt: skip


def network(name: str, third: int, *, internal: bool = False) -> Net:
    subnet = IPv4Network(f"172.20.{third}.0/24")
    warning = bridge.create_bridge(
        name, gateway=str(subnet[1]), prefix=24, internal=internal, subnet=str(subnet)
    )
    return Net(bridge=name, subnet=subnet, warning=warning)


@contextmanager
def container(id_: str, *links: Link) -> Iterator[tuple[Guest, list[socket.socket]]]:
    """A guest with its links and DNS sockets."""
    with Guest() as guest:
        sockets = endpoint.attach(guest.pid, links, container=id_)
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
    return socket.create_server((address, port))


def dial(address: str, port: int = 80, *, timeout: float = 5.0) -> tuple[str, int]:
    """The address the connection came from, as its other end sees it: it has to accept."""
    with socket.create_connection((address, port), timeout=timeout) as sock:
        own: tuple[str, int] = sock.getsockname()
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
