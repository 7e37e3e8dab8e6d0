"""Which subnet a network gets, and which address a container: chosen by name, so the same again.

Pure.  A choice is the hash of a name, then the next free place after it; so an address survives
re-creation, and `down` and `up`, without anybody writing it down.  Callers that must not collide
hold a lock and say what is taken.

Subnets are /24 blocks: 1,024 of 172.20.0.0/14, and once these are full 8,192 of 10.224.0.0/11.
The first pool lies where container engines have theirs, and where few companies route; the second
is the upper end of 10.0.0.0/8, which most address plans fill from below.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

from orchestrator.errors import NetworkError

POOLS = (IPv4Network("172.20.0.0/14"), IPv4Network("10.224.0.0/11"))
PREFIX = 24


def choose_subnet(name: str, *, taken: Iterable[IPv4Network]) -> IPv4Network:
    """The /24 of the network `name` that overlaps nothing in `taken` (a default route counts for
    nothing).  NetworkError when no block is left."""
    taken = [other for other in taken if other.prefixlen]
    for pool in POOLS:
        count = 1 << (PREFIX - pool.prefixlen)
        used = _used_blocks(pool, taken)
        start = _hash(name) % count
        for step in range(count):
            block = (start + step) % count
            if block not in used:
                return IPv4Network((int(pool.network_address) + (block << (32 - PREFIX)), PREFIX))
    raise NetworkError(
        f"cannot choose a subnet for network {name}: all {sum(p.num_addresses for p in POOLS) >> 8}"
        " blocks are in use or routed",
        hint="name one under ipam.config.subnet, or remove networks that are not needed",
    )


def _used_blocks(pool: IPv4Network, taken: list[IPv4Network]) -> set[int]:
    first, last = int(pool.network_address), int(pool.broadcast_address)
    used: set[int] = set()
    for other in taken:
        low = max(first, int(other.network_address))
        high = min(last, int(other.broadcast_address))
        used.update(range((low - first) >> (32 - PREFIX), ((high - first) >> (32 - PREFIX)) + 1))
    return used


def choose_address(
    key: str, *, subnet: IPv4Network, gateway: str, taken: Iterable[str],
    within: IPv4Network | None = None,
) -> str:
    """The address of the container `key` (`project/service/index`) in `subnet`: not the network's,
    the broadcast's, the gateway's, nor one in `taken`; inside `within` (`ip_range`) if given.
    NetworkError when none is left."""
    low = int(subnet.network_address) + 1
    high = int(subnet.broadcast_address) - 1
    if within is not None:
        low = max(low, int(within.network_address))
        high = min(high, int(within.broadcast_address))
    refused = {int(IPv4Address(address)) for address in (*taken, gateway)}
    count = high - low + 1
    start = _hash(key) % max(count, 1)
    # Of len(refused) + 1 candidates one is free, if there are as many.
    for step in range(min(count, len(refused) + 1)):
        candidate = low + (start + step) % count
        if candidate not in refused:
            return str(IPv4Address(candidate))
    raise NetworkError(
        f"cannot choose an address for {key}: every address of {within or subnet} is taken",
        hint="give the network a larger subnet under ipam.config",
    )


def default_gateway(subnet: IPv4Network) -> str:
    """The first address: where the bridge is."""
    return str(subnet.network_address + 1)


def mac_of(address: str) -> str:
    """A locally administered MAC made of the IPv4 address: `02:42:…`, so that a container that
    comes back with its address also has the MAC its neighbours remember."""
    return "02:42:" + ":".join(f"{byte:02x}" for byte in IPv4Address(address).packed)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
