"""Subnets and addresses: chosen by name, never one that is taken."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import NetworkError
from orchestrator.network import ipam

names = st.text(min_size=1, max_size=20)
subnets = st.builds(
    lambda number, prefix: IPv4Network((number >> (32 - prefix) << (32 - prefix), prefix)),
    st.integers(0, 2**32 - 1), st.integers(1, 32),
)  # fmt: skip
NET = IPv4Network("172.20.5.0/24")


def test_a_network_gets_the_same_subnet_again() -> None:
    assert str(ipam.choose_subnet("shop_default", taken=[])) == "172.23.119.0/24"
    assert ipam.choose_subnet("shop_default", taken=[]) == ipam.choose_subnet(
        "shop_default", taken=[IPv4Network("0.0.0.0/0"), IPv4Network("192.168.0.0/16")]
    )


@given(names, st.lists(subnets, max_size=20))
def test_a_subnet_overlaps_nothing_that_is_taken(name: str, taken: list[IPv4Network]) -> None:
    try:
        chosen = ipam.choose_subnet(name, taken=taken)
    except NetworkError:
        assert all(any(pool.overlaps(t) for t in taken) for pool in ipam.POOLS)
        return
    assert chosen.prefixlen == 24
    assert not any(chosen.overlaps(other) for other in taken)


def test_a_full_first_pool_leads_to_the_second() -> None:
    chosen = ipam.choose_subnet("a", taken=[ipam.POOLS[0]])
    assert chosen.subnet_of(ipam.POOLS[1])


def test_every_block_is_found_before_it_is_an_error() -> None:
    first, last = IPv4Network("172.20.0.0/24"), IPv4Network("10.224.0.0/24")
    taken = [block for pool in ipam.POOLS for block in pool.subnets(new_prefix=24)]
    assert ipam.choose_subnet("x", taken=[t for t in taken if t != first]) == first
    assert ipam.choose_subnet("x", taken=[t for t in taken if t != last]) == last
    with pytest.raises(NetworkError, match="all 9216 blocks"):
        ipam.choose_subnet("x", taken=taken)


@given(names, st.integers(8, 30), st.data())
def test_an_address_is_a_free_host(key: str, prefix: int, data: st.DataObject) -> None:
    subnet = IPv4Network((int(IPv4Address("10.0.0.0")), prefix))
    hosts = st.integers(1, subnet.num_addresses - 2).map(lambda n: str(subnet[n]))
    taken = data.draw(st.sets(hosts, max_size=10))
    gateway = str(subnet[1])
    free = subnet.num_addresses - 2 - len(taken | {gateway})
    if free <= 0:
        with pytest.raises(NetworkError):
            ipam.choose_address(key, subnet=subnet, gateway=gateway, taken=taken)
        return
    chosen = IPv4Address(ipam.choose_address(key, subnet=subnet, gateway=gateway, taken=taken))
    assert chosen in subnet
    assert chosen not in (subnet.network_address, subnet.broadcast_address)
    assert str(chosen) not in taken | {gateway}


def test_replicas_fill_the_subnet_to_the_last_address() -> None:
    taken: list[str] = []
    for index in range(253):
        key = f"shop/web/{index}"
        taken.append(ipam.choose_address(key, subnet=NET, gateway="172.20.5.1", taken=taken))
    assert len(set(taken)) == 253
    with pytest.raises(NetworkError, match=r"every address of 172\.20\.5\.0/24 is taken"):
        ipam.choose_address("one/more/1", subnet=NET, gateway="172.20.5.1", taken=taken)


def test_an_address_stays_inside_the_range_that_was_asked_for() -> None:
    within = IPv4Network("172.20.5.128/30")
    found = {
        ipam.choose_address(f"k{n}", subnet=NET, gateway="172.20.5.1", taken=[], within=within)
        for n in range(50)
    }
    assert found == {f"172.20.5.{n}" for n in range(128, 132)}


def test_the_mac_is_made_of_the_address() -> None:
    assert ipam.mac_of("172.20.5.9") == "02:42:ac:14:05:09"


def test_the_gateway_is_the_first_address() -> None:
    assert ipam.default_gateway(NET) == "172.20.5.1"


def test_three_hundred_projects_of_five_networks_find_room() -> None:
    taken: list[IPv4Network] = [IPv4Network("172.16.0.0/12"), IPv4Network("10.0.0.0/9")]
    for number in range(1500):
        found = ipam.choose_subnet(f"p{number // 5}_n{number % 5}", taken=taken)
        assert not any(found.overlaps(other) for other in taken[:2])
        taken.append(found)
    assert len(set(taken)) == 1502
