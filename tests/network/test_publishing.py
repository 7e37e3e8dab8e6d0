"""Published ports on the kernel's way: who gets in, and as whom."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.linux import netlink, nftables
from orchestrator.linux.nftables import Redirect
from orchestrator.network import forwarding
from tests.network import world
from tests.network.namespaces import isolated

if TYPE_CHECKING:
    from tests.network.namespaces import Guest

pytestmark = pytest.mark.kernel

A, B, C = "a" * 64, "b" * 64, "c" * 64
FAR6, HERE6 = "2001:db8::9", "2001:db8::1"


def redirect(
    address: str = "172.20.5.2", *, host_ip: str = "", protocol: str = "tcp", published: int = 8080
) -> Redirect:
    return Redirect(protocol=protocol, host_ip=host_ip, published=published, address=address,
                    target=80)  # fmt: skip


def forward() -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")


def seen_from(guest: Guest | None, address: str, server: socket.socket) -> str:
    """As whom the server sees a client that dials port 8080 of `address`."""
    if guest is None:
        world.dial(address, 8080)
    else:
        guest.run(lambda: world.dial(address, 8080))
    return str(server.accept()[1][0])


@isolated
def test_the_address_of_the_client_is_preserved_from_outside_and_from_here() -> None:
    forward()
    with world.outside() as far:
        net = world.network("pc-a", 5)
        with (
            world.container(A, net.link(2)) as (a, _),
            a.open_socket(world.listener) as server,
        ):
            nftables.set_ports("p", [redirect()])
            assert seen_from(far, world.HERE, server) == world.OUTSIDE
            assert seen_from(None, world.HERE, server) == world.HERE
            assert not far.run(lambda: world.can_dial(world.HERE, 80))
            nftables.set_ports("p", [])
            assert not far.run(lambda: world.can_dial(world.HERE, 8080))


@isolated
def test_a_container_reaches_itself_its_peers_and_others_by_the_hosts_address() -> None:
    forward()
    with world.outside():
        one, two = world.network("pc-a", 5), world.network("pc-b", 6)
        with (
            world.container(A, one.link(2)) as (a, _),
            world.container(B, one.link(3)) as (b, _),
            world.container(C, two.link(2)) as (c, _),
            a.open_socket(world.listener) as server,
        ):
            nftables.set_ports("p", [redirect()])
            assert seen_from(a, world.HERE, server) == "172.20.5.1"
            assert seen_from(b, world.HERE, server) == "172.20.5.1"
            assert seen_from(c, world.HERE, server) == "172.20.5.1"
            assert not c.run(lambda: world.can_dial("172.20.5.2"))


@isolated
def test_a_chosen_address_publishes_there_only_and_loopback_is_never_redirected() -> None:
    forward()
    with world.outside() as far:
        net = world.network("pc-a", 5)
        with world.container(A, net.link(2)) as (a, _), a.open_socket(world.listener):
            far.run(lambda: route_to_us())
            nftables.set_ports("p", [redirect(host_ip="172.20.5.1")])
            assert not far.run(lambda: world.can_dial(world.HERE, 8080))
            assert far.run(lambda: world.can_dial("172.20.5.1", 8080))
            nftables.set_ports("p", [redirect()])
            assert not world.can_dial("127.0.0.1", 8080)
            with world.listener("127.0.0.1", 8080):
                world.dial("127.0.0.1", 8080)


def route_to_us() -> None:
    with netlink.Netlink() as sock:
        sock.run([netlink.add_default_route(world.HERE, netlink.get_link(sock, "wan0").index)])


def by_udp(address: str) -> bytes:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.sendto(b"hello", (address, 8080))
        return sock.recv(99)


@isolated
def test_datagrams_find_their_way_and_back() -> None:
    forward()
    with world.outside() as far:
        net = world.network("pc-a", 5)
        with (
            world.container(A, net.link(2)) as (a, _),
            a.open_socket(lambda: bound_udp()) as server,
        ):
            nftables.set_ports("p", [redirect(protocol="udp")])
            answer(server)
            assert far.run(lambda: by_udp(world.HERE)) == b"HELLO"


def bound_udp() -> socket.socket:
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind(("", 80))
    return sock


def answer(server: socket.socket) -> None:
    """One answer, given by a thread: the question comes from another process."""
    import threading

    def reply() -> None:
        data, client = server.recvfrom(99)
        server.sendto(data.upper(), client)

    threading.Thread(target=reply, daemon=True).start()


@isolated
def test_ipv6_is_published_isolated_and_translated_like_ipv4() -> None:
    forward()
    with world.outside() as far:
        with netlink.Netlink() as sock:
            index = netlink.get_link(sock, "wan0").index
            sock.run([netlink.add_address(index, HERE6, 64),
                      netlink.add_default_route(FAR6, index)])  # fmt: skip
        far.run(lambda: address6())
        one, two = world.network("pc-a", 5, dual=True), world.network("pc-b", 6, dual=True)
        with (
            world.container(A, one.dual(2)) as (a, _),
            world.container(B, two.dual(2)) as (b, _),
            world.container(C, one.dual(3)) as (c, _),
            a.open_socket(lambda: world.listener("::")) as server,
            far.open_socket(lambda: world.listener("::")) as outer,
        ):
            nftables.set_ports("p", [redirect("fd00:5::2")])
            assert seen_from(far, HERE6, server) == FAR6
            assert seen_from(c, HERE6, server) == "fd00:5::1"
            assert c.run(lambda: world.dial("fd00:5::2"))[0] == "fd00:5::3"
            assert not b.run(lambda: world.can_dial("fd00:5::2"))
            assert not far.run(lambda: world.can_dial("fd00:5::2"))
            a.run(lambda: world.dial(FAR6))
            assert outer.accept()[1][0] == HERE6


def address6() -> None:
    with netlink.Netlink() as sock:
        index = netlink.get_link(sock, "wan0").index
        sock.run([netlink.add_address(index, FAR6, 64), netlink.add_default_route(HERE6, index)])


@isolated
def test_two_hundred_ports_are_one_short_transaction() -> None:
    import time

    ports = [redirect(published=20000 + n) for n in range(200)]
    began = time.perf_counter()
    nftables.set_ports("p", ports)
    took = time.perf_counter() - began
    nftables.set_ports("p", [])
    assert took < 1.0, "0.1 s is what it may take; a busy machine gets ten times that"


@isolated
def test_containers_on_a_network_without_icc_see_the_bridge_only() -> None:
    net = world.network("pc-a", 5)
    with (
        world.container(A, net.link(2, isolated=True)) as (a, _),
        world.container(B, net.link(3, isolated=True)) as (b, _),
        a.open_socket(world.listener),
        world.listener("172.20.5.1", 81),
    ):
        assert not b.run(lambda: world.can_dial("172.20.5.2"))
        assert b.run(lambda: world.can_dial("172.20.5.1", 81))


@isolated
def test_parameters_and_further_addresses_of_an_interface() -> None:
    net = world.network("pc-a", 5, dual=True)
    link = net.dual(2, interface="lan", link_local=("169.254.8.8", "fe80::8"),
                    sysctls=(("net.ipv4.conf.IFNAME.log_martians", "1"),))  # fmt: skip
    with world.container(A, link) as (a, _):
        assert a.run(lambda: parameter("ipv4/conf/lan/log_martians")) == "1"
        assert a.run(lambda: parameter("ipv6/conf/lan/accept_ra")) == "0"
        assert a.run(lambda: bindable("169.254.8.8", "fe80::8%lan", "fd00:5::2"))


def parameter(name: str) -> str:
    return Path("/proc/sys/net", name).read_text().strip()


def bindable(*addresses: str) -> bool:
    for address in addresses:
        found = socket.getaddrinfo(address, 0, type=socket.SOCK_DGRAM)[0]
        with socket.socket(found[0], found[1]) as sock:
            sock.bind(found[4])
    return True


def test_forwarding_of_ipv6_keeps_the_route_of_the_machine(tmp_path: Path) -> None:
    marker = str(tmp_path / "forwarding")

    @isolated
    def changed() -> None:
        with netlink.Netlink() as sock:
            sock.run([netlink.create_bridge("wan0")])
        before = [parameter(n) for n in ("ipv6/conf/wan0/accept_ra", "ipv6/conf/all/forwarding")]
        forwarding.enable(marker)
        forwarding.enable(marker, ipv6=True)
        assert parameter("ipv6/conf/all/forwarding") == "1"
        assert parameter("ipv6/conf/wan0/accept_ra") == "2"
        forwarding.restore(marker)
        after = [parameter(n) for n in ("ipv6/conf/wan0/accept_ra", "ipv6/conf/all/forwarding")]
        assert (before, parameter("ipv4/ip_forward")) == (after, "0")

    changed()
