"""What a container finds in its network namespace, and what is left on the host."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from orchestrator.errors import NetworkError
from orchestrator.linux import netlink
from orchestrator.network import endpoint
from tests.network import world
from tests.network.namespaces import Guest, isolated

pytestmark = pytest.mark.kernel


def addresses() -> str:
    """IPv6 addresses as the kernel lists them."""
    return Path("/proc/self/net/if_inet6").read_text()


@isolated
def test_a_container_finds_its_links_as_they_were_ordered() -> None:
    one, two = world.network("pc-a", 5), world.network("pc-b", 6)
    links = (one.link(2), two.link(7, interface="eth1", way_out=False))
    own = os.readlink("/proc/thread-self/ns/net")
    with world.container(world.ID, *links) as (guest, _):
        assert os.readlink("/proc/thread-self/ns/net") == own
        assert world.interfaces() == ["lo", "pc-a", "pc-b", "pv0123456789-0", "pv0123456789-1"]
        assert guest.run(world.interfaces) == ["eth0", "eth1", "lo"]
        found = guest.run(routes)
        assert found == {("172.20.5.0", None), ("172.20.6.0", None), ("", "172.20.5.1")}
        assert guest.run(mac) == "02:42:ac:14:06:07"
        assert [line.split()[-1] for line in guest.run(addresses).splitlines()] == ["lo"]
    assert world.interfaces() == ["lo", "pc-a", "pc-b"]


def routes() -> set[tuple[str, str | None]]:
    with netlink.Netlink() as sock:
        return {(r.destination, r.gateway) for r in netlink.routes(sock)}


def mac() -> str:
    import fcntl

    with socket.socket() as sock:
        data = fcntl.ioctl(sock, 0x8927, b"eth1".ljust(40, b"\0"))  # SIOCGIFHWADDR
    return data[18:24].hex(":")


@isolated
def test_the_dns_sockets_are_inside() -> None:
    net = world.network("pc-a", 5)
    with world.container(world.ID, net.link(2)) as (guest, (udp, tcp)):
        assert udp.getsockname() == tcp.getsockname() == ("127.0.0.11", 53)
        assert not udp.getblocking()
        assert not tcp.getblocking()
        guest.run(lambda: ask(b"hello"))
        assert udp.recv(100) == b"hello"
        with pytest.raises(ConnectionRefusedError):
            world.dial("127.0.0.11", 53)
        guest.run(lambda: world.dial("127.0.0.11", 53))
        tcp.accept()[0].close()


def ask(data: bytes) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.sendto(data, ("127.0.0.11", 53))


@isolated
def test_a_container_without_networks_has_loopback_only() -> None:
    with world.container(world.ID) as (guest, sockets):
        assert guest.run(world.interfaces) == ["lo"]
        assert len(sockets) == 2
    with Guest() as guest:
        assert endpoint.attach(guest.pid, [], container=world.ID, dns=False) == []


@isolated
def test_links_left_from_before_are_replaced() -> None:
    net = world.network("pc-a", 5)
    with Guest() as before, Guest() as after:
        for sock in endpoint.attach(before.pid, [net.link(2)], container=world.ID):
            sock.close()
        for sock in endpoint.attach(after.pid, [net.link(2)], container=world.ID):
            sock.close()
        assert before.run(world.interfaces) == ["lo"]
        assert after.run(world.interfaces) == ["eth0", "lo"]


@isolated
def test_a_failure_names_its_object_and_leaves_nothing() -> None:
    net = world.network("pc-a", 5)
    own = os.readlink("/proc/thread-self/ns/net")
    unreachable = world.Link(bridge="pc-a", interface="eth0", address="172.20.5.2", prefix=24,
                             mac="02:42:00:00:00:01", gateway="10.9.9.9")  # fmt: skip
    missing = world.Link(bridge="pc-z", interface="eth1", address="172.20.5.3", prefix=24,
                         mac="02:42:00:00:00:02", gateway=None)  # fmt: skip
    with Guest() as guest:
        with pytest.raises(NetworkError, match=r"container 0123456789ab to its networks: via "
                                               r"10\.9\.9\.9: Network is unreachable"):
            endpoint.attach(guest.pid, [unreachable], container=world.ID)
        with pytest.raises(NetworkError, match="pc-z: No such device"):
            endpoint.attach(guest.pid, [net.link(2), missing], container=world.ID)
        assert guest.run(world.interfaces) == ["lo"]
    assert os.readlink("/proc/thread-self/ns/net") == own
    assert world.interfaces() == ["lo", "pc-a"]
    with pytest.raises(NetworkError, match="No such file"):
        endpoint.attach(2**22 + 1, [net.link(2)], container=world.ID)


@isolated
def test_many_containers_are_detached_at_once_and_others_stay() -> None:
    net = world.network("pc-a", 5)
    ids = [f"{n:02d}" + "e" * 62 for n in range(12)]
    guests = [Guest() for _ in ids]
    for number, (id_, guest) in enumerate(zip(ids, guests, strict=True)):
        for sock in endpoint.attach(guest.pid, [net.link(2 + number)], container=id_):
            sock.close()
    endpoint.detach_all(ids[:-1])
    endpoint.detach_all(ids[:-1])
    endpoint.detach_all([])
    assert world.interfaces() == ["lo", "pc-a", "pv11eeeeeeee-0"]
    for guest in guests:
        guest.__exit__()
