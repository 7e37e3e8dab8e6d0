"""Bridges in a kernel: made twice, removed twice, closed to each other, open to the outside."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

import pytest

from orchestrator.errors import NetworkError
from orchestrator.linux import netlink, nftables, syscalls
from orchestrator.network import bridge, routes
from orchestrator.network import forwarding as switching
from tests.network import world
from tests.network.namespaces import isolated, run_in_child

pytestmark = pytest.mark.kernel

A, B = "a" * 64, "b" * 64


def forwarding() -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


@isolated
def test_a_bridge_may_be_made_and_removed_again_and_again() -> None:
    for _ in range(2):
        assert world.network("pc-a", 5).warning is None
        assert bridge.bridge_exists("pc-a")
    assert [str(r) for r in routes.live_routes()] == ["172.20.5.0/24"]
    for _ in range(2):
        bridge.remove_bridge("pc-a", subnet="172.20.5.0/24")
        assert not bridge.bridge_exists("pc-a")
    assert routes.live_routes() == []


@isolated
def test_an_interface_of_another_kind_is_not_taken_for_ours() -> None:
    with netlink.Netlink() as sock, Path("/proc/self/ns/net").open() as own:
        sock.run([netlink.create_veth("pc-a", master=0, peer="b", peer_mac="02:42:00:00:00:01",
                                      peer_netns=own.fileno())])  # fmt: skip
    with pytest.raises(NetworkError, match=r"cannot create bridge pc-a with 172\.20\.5\.1/24: an "
                                           "interface of kind veth has its name"):
        world.network("pc-a", 5)
    assert not bridge.bridge_exists("pc-a")


@isolated
def test_containers_of_a_network_reach_each_other_and_the_host() -> None:
    net = world.network("pc-a", 5)
    with (
        world.container(A, net.link(2)) as (a, _),
        world.container(B, net.link(3)) as (b, _),
        b.open_socket(world.listener) as server,
    ):
        assert a.run(lambda: world.dial("172.20.5.3"))[0] == "172.20.5.2"
        assert server.accept()[1][0] == "172.20.5.2"
        assert world.dial("172.20.5.3")[0] == "172.20.5.1"


@isolated
def test_networks_are_closed_to_each_other() -> None:
    forwarding()
    one, two = world.network("pc-a", 5), world.network("pc-b", 6)
    with (
        world.container(A, one.link(2)) as (a, _),
        world.container(B, two.link(2)) as (b, _),
        b.open_socket(world.listener),
    ):
        assert not a.run(lambda: world.can_dial("172.20.6.2"))
        nftables.remove_network("pc-a")
        nftables.remove_network("pc-b")
        assert a.run(lambda: world.can_dial("172.20.6.2"))


@isolated
def test_a_container_on_two_networks_reaches_both() -> None:
    one, two = world.network("pc-a", 5), world.network("pc-b", 6)
    links = (one.link(2), two.link(2, interface="eth1", way_out=False))
    with (
        world.container(A, *links) as (a, _),
        world.container(B, two.link(3)) as (b, _),
        b.open_socket(world.listener),
    ):
        assert a.run(lambda: world.dial("172.20.6.3"))[0] == "172.20.6.2"


@isolated
def test_the_outside_is_reached_under_the_hosts_address() -> None:
    forwarding()
    with world.outside() as far:
        net = world.network("pc-a", 5)
        with (
            world.container(A, net.link(2)) as (a, _),
            far.open_socket(world.listener) as server,
        ):
            assert a.run(lambda: world.dial(world.OUTSIDE))[0] == "172.20.5.2"
            assert server.accept()[1][0] == world.HERE


@isolated
def test_without_masquerade_the_outside_sees_the_container() -> None:
    forwarding()
    with world.outside() as far:
        net = world.network("pc-a", 5, masquerade=False)
        far.run(lambda: route_to_us())
        with (
            world.container(A, net.link(2)) as (a, _),
            far.open_socket(world.listener) as server,
        ):
            assert a.run(lambda: world.dial(world.OUTSIDE))[0] == "172.20.5.2"
            assert server.accept()[1][0] == "172.20.5.2"


@isolated
def test_the_outside_gets_in_only_where_it_was_asked() -> None:
    forwarding()
    with world.outside() as far:
        net = world.network("pc-a", 5)
        far.run(lambda: route_to_us())
        with (
            world.container(A, net.link(2)) as (a, _),
            a.open_socket(world.listener),
        ):
            assert not far.run(lambda: world.can_dial("172.20.5.2"))
            nftables.remove_network("pc-a")
            assert far.run(lambda: world.can_dial("172.20.5.2"))


def route_to_us() -> None:
    with netlink.Netlink() as sock:
        sock.run([netlink.add_default_route(world.HERE, netlink.get_link(sock, "wan0").index)])


@isolated
def test_an_internal_network_has_no_way_out() -> None:
    forwarding()
    with world.outside() as far:
        net = world.network("pc-a", 5, internal=True)
        far.run(lambda: route_to_us())
        with (
            world.container(A, net.link(2)) as (a, _),
            far.open_socket(world.listener),
            a.open_socket(world.listener),
        ):
            assert not a.run(lambda: world.can_dial(world.OUTSIDE))
            assert world.can_dial("172.20.5.2")


@isolated
def test_the_mtu_is_that_of_the_way_out() -> None:
    with world.outside(), netlink.Netlink() as sock:
        sock.run([netlink.set_link("wan0", mtu=1380)])
        net = world.network("pc-a", 5)
        assert netlink.get_link(sock, "pc-a").mtu == 1380
        with world.container(A, net.link(2)) as (a, _):
            assert a.run(lambda: mtu("eth0")) == 1380


def mtu(name: str) -> int:
    with netlink.Netlink() as sock:
        return netlink.get_link(sock, name).mtu


@isolated
def test_a_kernel_without_nf_tables_gives_a_warning_and_a_working_network() -> None:
    refuse_netfilter_sockets()
    net = world.network("pc-a", 5)
    assert net.warning == (
        "no packet filter rules for pc-a, containers cannot reach the outside, and networks are "
        "not isolated: nf_tables: Protocol not supported"
    )
    assert "networks are not isolated" in str(world.network("pc-i", 6, internal=True).warning)
    with world.container(A, net.link(2)) as (a, _), a.open_socket(world.listener):
        world.dial("172.20.5.2")
    bridge.remove_bridge("pc-a", subnet="172.20.5.0/24")
    assert not bridge.bridge_exists("pc-a")


def refuse_netfilter_sockets() -> None:
    """A seccomp filter for this process: socket(2) with protocol 12 (NETLINK_NETFILTER) gives
    EPROTONOSUPPORT, as it does where the kernel was built without."""
    number = {"x86_64": 41, "aarch64": 198}[os.uname().machine]
    program = [
        (0x20, 0, 0, 0),  # load the number of the call
        (0x15, 0, 3, number),
        (0x20, 0, 0, 32),  # load the low half of its third argument
        (0x15, 0, 1, netlink.NETLINK_NETFILTER),
        (0x06, 0, 0, 0x0005_0000 | errno.EPROTONOSUPPORT),
        (0x06, 0, 0, 0x7FFF_0000),
    ]
    syscalls.set_no_new_privs()
    syscalls.seccomp_filter(b"".join(struct.pack("=HBBI", *line) for line in program))


@isolated
def test_without_the_right_to_is_an_error_with_a_hint() -> None:
    def powerless() -> None:
        syscalls.capset(effective=0, permitted=0, inheritable=0)
        with pytest.raises(NetworkError, match="Operation not permitted") as caught:
            world.network("pc-a", 5)
        assert caught.value.hint == "making networks needs CAP_NET_ADMIN: run as root"

    run_in_child(powerless)


def test_forwarding_goes_back_to_what_it_was(tmp_path: Path) -> None:
    marker = tmp_path / "run" / "forwarding"
    switch = Path("/proc/sys/net/ipv4/ip_forward")

    @isolated
    def changed() -> None:
        switch.write_text("0")
        switching.enable(str(marker))
        switching.enable(str(marker))
        assert switch.read_text() == "1\n"
        switching.restore(str(marker))
        assert switch.read_text() == "0\n"
        assert not marker.exists()
        switching.restore(str(marker))

    @isolated
    def found_so() -> None:
        switch.write_text("1")
        switching.enable(str(marker))
        switching.restore(str(marker))
        assert switch.read_text() == "1\n"

    changed()
    found_so()
