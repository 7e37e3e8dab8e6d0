"""The rules of bridge networks in a kernel's nf_tables, looked at with a dump of our own."""

from __future__ import annotations

import struct

import pytest

from orchestrator.linux import netlink, nftables
from tests.network.namespaces import isolated

pytestmark = pytest.mark.kernel

_GETTABLE, _GETCHAIN, _GETRULE = 1, 4, 7
DISPATCH = ["forward", "forward"]
"""The rules that look the interfaces of a packet up."""


def names(kind: int, attribute: int) -> list[str]:
    """The names in a list of all tables, chains or rules."""
    message = netlink.Message(10 << 8 | kind, struct.pack(">BBH", 0, 0, 0))
    with netlink.Netlink(netlink.NETLINK_NETFILTER) as sock:
        answers = sock.dump(message)
    return [netlink.attributes(a[4:])[attribute].rstrip(b"\0").decode() for a in answers]


def snapshot() -> tuple[list[str], list[str], list[str]]:
    """Tables, chains, and the chain of each rule."""
    return names(_GETTABLE, 1), names(_GETCHAIN, 3), names(_GETRULE, 2)


def hooked() -> list[str]:
    """The chains that packets come to by themselves."""
    message = netlink.Message(10 << 8 | _GETCHAIN, struct.pack(">BBH", 0, 0, 0))
    with netlink.Netlink(netlink.NETLINK_NETFILTER) as sock:
        found = [netlink.attributes(a[4:]) for a in sock.dump(message)]
    return [chain[3].rstrip(b"\0").decode() for chain in found if 4 in chain]


def add(bridge: str, *, internal: bool = False) -> None:
    nftables.add_network(bridge, subnets=["10.9.0.0/24"], internal=internal)


@isolated
def test_a_network_has_one_guard_and_one_way_out() -> None:
    add("pc-a")
    assert snapshot() == (
        ["pcompose"], ["forward", "pc-a-leaving", "pc-a-entering", "pc-a-nat"],
        [*DISPATCH, "pc-a-entering", "pc-a-entering", "pc-a-nat", "pc-a-nat"],
    )  # fmt: skip


@isolated
def test_an_internal_network_is_closed_both_ways_and_not_translated() -> None:
    add("pc-a", internal=True)
    assert snapshot()[2] == [*DISPATCH, "pc-a-leaving", "pc-a-entering"]


@isolated
def test_a_forwarded_packet_meets_one_chain_however_many_networks_there_are() -> None:
    for number in range(20):
        add(f"pc-{number}")
    assert [name for name in hooked() if not name.endswith("-nat")] == ["forward"]


@isolated
def test_the_same_change_again_gives_the_same_rules() -> None:
    add("pc-a")
    before = snapshot()
    add("pc-a")
    assert snapshot() == before
    add("pc-a", internal=True)
    assert snapshot()[2] == [*DISPATCH, "pc-a-leaving", "pc-a-entering"]
    add("pc-a")
    assert snapshot() == before


@isolated
def test_the_table_goes_with_the_last_network() -> None:
    add("pc-a")
    add("pc-b")
    nftables.remove_network("pc-a")
    assert snapshot()[0] == ["pcompose"]
    assert snapshot()[1] == ["forward", "pc-b-leaving", "pc-b-entering", "pc-b-nat"]
    nftables.remove_network("pc-a")
    nftables.remove_network("pc-b")
    nftables.remove_network("pc-b")
    assert snapshot() == ([], [], [])


@isolated
def test_the_table_goes_with_the_last_published_port_too() -> None:
    add("pc-a")
    port = nftables.Redirect(
        protocol="tcp", host_ip="", published=80, address="10.9.0.2", target=8080
    )
    nftables.set_ports("p.web", [port])
    nftables.remove_network("pc-a")
    assert snapshot()[0] == ["pcompose"]
    nftables.set_ports("p.web", [])
    assert snapshot() == ([], [], [])


@isolated
def test_a_refused_rule_leaves_nothing_of_the_change() -> None:
    with pytest.raises(OSError, match="chain"):
        nftables.add_network("x" * 300, subnets=["10.9.0.0/24"], internal=False)
    assert snapshot() == ([], [], [])


@isolated
def test_tables_of_others_are_left_alone() -> None:
    body = struct.pack(">BBH", 2, 0, 0) + netlink.text(1, "theirs")
    table = netlink.Message(10 << 8, body, flags=netlink.NLM_F_CREATE)
    frame = [netlink.Message(k, struct.pack(">BBH", 0, 0, 10)).encode(0) for k in (0x10, 0x11)]
    with netlink.Netlink(netlink.NETLINK_NETFILTER) as sock:
        sock.batch(frame[0], [table], frame[1])
    add("pc-a")
    nftables.remove_network("pc-a")
    assert snapshot() == (["theirs"], [], [])


@isolated
def test_a_table_that_drops_what_is_forwarded_is_found_and_ours_is_not() -> None:
    add("pc-a")
    assert nftables.foreign_forward_drop() is None
    table = netlink.Message(
        10 << 8, struct.pack(">BBH", 2, 0, 0) + netlink.text(1, "firewall"),
        flags=netlink.NLM_F_CREATE, subject="table",
    )
    hook = netlink.nested(4, netlink.attribute(1, struct.pack(">I", 2)),
                          netlink.attribute(2, struct.pack(">I", 0)))
    chain = netlink.Message(
        10 << 8 | 3,
        struct.pack(">BBH", 2, 0, 0) + netlink.text(1, "firewall") + netlink.text(3, "FORWARD")
        + hook + netlink.attribute(5, struct.pack(">I", 0)) + netlink.text(7, "filter"),
        flags=netlink.NLM_F_CREATE, subject="chain",
    )
    edge = struct.pack(">BBH", 0, 0, 10)
    with netlink.Netlink(netlink.NETLINK_NETFILTER) as sock:
        sock.batch(netlink.Message(0x10, edge).encode(0), [table, chain],
                   netlink.Message(0x11, edge).encode(0))
    assert nftables.foreign_forward_drop() == "firewall"
