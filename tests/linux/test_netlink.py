"""rtnetlink messages by their bytes, and against a kernel in a namespace of its own."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.linux import netlink
from tests.network.namespaces import Guest, isolated

MAC = "02:42:0a:00:00:02"


def test_a_message_is_padded_and_counts_its_own_length() -> None:
    message = netlink.Message(netlink.RTM_DELLINK, b"12345", flags=netlink.NLM_F_ACK)
    expected = struct.pack("=IHHII", 21, 17, 5, 9, 0) + b"12345\0\0\0"
    assert message.encode(9) == expected
    assert netlink.split(expected * 2) == [(17, 5, 9, b"12345")] * 2


def test_attributes_come_back_as_they_were() -> None:
    data = netlink.text(3, "eth0") + netlink.number(4, 1500) + netlink.nested(18, b"")
    assert netlink.attributes(data) == {3: b"eth0\0", 4: struct.pack("=I", 1500), 18: b""}


@given(st.binary(max_size=64))
def test_random_bytes_are_split_without_an_error(data: bytes) -> None:
    assert sum(16 + len(body) for *_, body in netlink.split(data)) <= len(data)
    assert sum(4 + len(value) for value in netlink.attributes(data).values()) <= len(data)


def created(name: str, **options: str | int) -> netlink.Link:
    with netlink.Netlink() as sock:
        sock.run([netlink.create_bridge(name, **options)])  # type: ignore[arg-type]
        return netlink.get_link(sock, name)


@pytest.mark.kernel
@isolated
def test_a_bridge_has_the_name_and_mtu_it_was_made_with() -> None:
    link = created("br0", mac=MAC, mtu=1400)
    assert (link.name, link.mtu, link.kind, link.master) == ("br0", 1400, "bridge", 0)
    with open("/proc/net/dev") as file:
        assert "br0:" in file.read()


@pytest.mark.kernel
@isolated
def test_a_refusal_names_the_object_and_the_kernels_reason() -> None:
    created("br0")
    with netlink.Netlink() as sock, pytest.raises(FileExistsError) as caught:
        sock.run([netlink.create_bridge("br0")])
    assert caught.value.filename == "br0"
    with netlink.Netlink() as sock, pytest.raises(OSError, match="policy validation") as other:
        sock.run([netlink.create_bridge("x" * 16)])
    assert other.value.errno == errno.ERANGE


@pytest.mark.kernel
@isolated
def test_a_refusal_may_be_as_good_as_success() -> None:
    with netlink.Netlink() as sock:
        sock.run([netlink.delete_link("nobody"), netlink.delete_group(12345)])
        with pytest.raises(OSError, match="No such device"):
            sock.run([netlink.set_link("nobody", up=True)])


@pytest.mark.kernel
@isolated
def test_the_messages_after_a_refused_one_are_done_too() -> None:
    with netlink.Netlink() as sock:
        with pytest.raises(OSError, match="nobody"):
            sock.run([netlink.set_link("nobody", up=True), netlink.create_bridge("br0")])
        assert netlink.get_link(sock, "br0").kind == "bridge"


@pytest.mark.kernel
@isolated
def test_more_messages_than_one_batch_are_all_answered() -> None:
    with netlink.Netlink() as sock:
        sock.run([netlink.create_bridge(f"br{n}") for n in range(150)])
        assert len([link for link in netlink.links(sock) if link.kind == "bridge"]) == 150
        sock.run([netlink.set_link(f"br{n}", group=77) for n in range(149)])
        sock.run([netlink.delete_group(77)])
        assert [link.name for link in netlink.links(sock) if link.kind] == ["br149"]


@pytest.mark.kernel
@isolated
def test_a_veth_has_its_peer_in_the_other_namespace() -> None:
    bridge = created("br0")
    with Guest() as guest, open(f"/proc/{guest.pid}/ns/net") as file:
        message = netlink.create_veth(
            "here", master=bridge.index, peer="eth0", peer_mac=MAC, peer_netns=file.fileno(),
            mtu=1400,
        )  # fmt: skip
        with netlink.Netlink() as sock:
            sock.run([message])
            here = netlink.get_link(sock, "here")
        assert (here.master, here.kind, here.mtu) == (bridge.index, "veth", 1400)
        there = guest.run(interfaces)
        assert [(name, kind) for name, kind, _ in there] == [("lo", ""), ("eth0", "veth")]
        assert there[1][2] == 1400


def interfaces() -> list[tuple[str, str, int]]:
    with netlink.Netlink() as sock:
        return [(link.name, link.kind, link.mtu) for link in netlink.links(sock)]


@pytest.mark.kernel
@isolated
def test_routes_of_the_main_table_are_listed() -> None:
    bridge = created("br0")
    with netlink.Netlink() as sock:
        sock.run([
            netlink.set_link("br0", up=True),
            netlink.add_address(bridge.index, "10.1.2.3", 20),
            netlink.add_default_route("10.1.2.1", bridge.index),
        ])  # fmt: skip
        found = {(r.destination, r.prefix, r.gateway) for r in netlink.routes(sock)}
        assert all(r.interface == bridge.index for r in netlink.routes(sock))
    assert found == {("10.1.0.0", 20, None), ("", 0, "10.1.2.1")}
