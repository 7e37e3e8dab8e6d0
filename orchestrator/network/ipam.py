"""Which subnet a network gets, and which address a container: chosen by name, so the same again.

Pure.  A choice is the hash of a name, then the next free place after it; so an address survives
re-creation, and `down` and `up`, without anybody writing it down.  Callers that must not collide
hold a lock and say what is taken.

IPv4 subnets are /24 blocks: 1,024 of 172.20.0.0/14, and once these are full 8,192 of 10.224.0.0/11.
The first pool lies where container engines have theirs, and where few companies route; the second
is the upper end of 10.0.0.0/8, which most address plans fill from below.  IPv6 subnets are /64
blocks of fd00::/8 (RFC 4193), whose 56 bits are those of the hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from orchestrator.errors import NetworkError

Subnet = IPv4Network | IPv6Network

POOLS = (IPv4Network("172.20.0.0/14"), IPv4Network("10.224.0.0/11"))
PREFIX = 24
LOCAL = IPv6Network("fd00::/8")
PREFIX_6 = 64
_TRIES_6 = 1024


def choose_subnet(name: str, *, taken: Iterable[Subnet]) -> IPv4Network:
    """The /24 of the network `name` that overlaps nothing in `taken` (a default route counts for
    nothing).  NetworkError when no block is left."""
    held = [other for other in taken if isinstance(other, IPv4Network) and other.prefixlen]
    for pool in POOLS:
        count = 1 << (PREFIX - pool.prefixlen)
        used = _used_blocks(pool, held)
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


def choose_local_subnet(name: str, *, taken: Iterable[Subnet], machine: str = "") -> IPv6Network:
    """The unique local /64 of the network `name`; `machine` is what tells this machine from others,
    so that two of them can be joined.  NetworkError when none is found."""
    held = [other for other in taken if isinstance(other, IPv6Network) and other.prefixlen]
    count = 1 << (PREFIX_6 - LOCAL.prefixlen)
    start = _hash(f"{machine}/{name}") % count
    for step in range(_TRIES_6):
        block = (start + step) % count
        base = int(LOCAL.network_address) + (block << (128 - PREFIX_6))
        found = IPv6Network((base, PREFIX_6))
        if not any(found.overlaps(other) for other in held):
            return found
    raise NetworkError(f"cannot choose an IPv6 subnet for network {name}: they are all routed",
                       hint="name one under ipam.config.subnet")


def choose_address(
    key: str, *, subnet: Subnet, gateway: str, taken: Iterable[str],
    within: Subnet | None = None,
) -> str:  # fmt: skip
    """The address of the container `key` (`project/service/index`) in `subnet`: not the network's,
    the broadcast's, the gateway's, nor one in `taken`; inside `within` (`ip_range`) if given.
    NetworkError when none is left."""
    low = int(subnet.network_address) + 1
    high = int(subnet.broadcast_address) - (subnet.version == 4)
    if within is not None:
        low = max(low, int(within.network_address))
        high = min(high, int(within.broadcast_address))
    refused = {int(ip_address(address)) for address in (*taken, gateway)}
    count = high - low + 1
    start = _hash(key) % max(count, 1)
    # Of len(refused) + 1 candidates one is free, if there are as many.
    for step in range(min(count, len(refused) + 1)):
        candidate = low + (start + step) % count
        if candidate not in refused:
            kind = IPv4Address if subnet.version == 4 else IPv6Address
            return str(kind(candidate))
    raise NetworkError(
        f"cannot choose an address for {key}: every address of {within or subnet} is taken",
        hint="give the network a larger subnet under ipam.config",
    )


def default_gateway(subnet: Subnet) -> str:
    """The first address: where the bridge is."""
    return str(subnet.network_address + 1)


def mac_of(address: str) -> str:
    """A locally administered MAC made of the address: `02:42:…`, so that a container that comes
    back with its address also has the MAC its neighbours remember."""
    packed = ip_address(address).packed
    if len(packed) > 4:
        packed = hashlib.sha256(packed).digest()[:4]
    return "02:42:" + ":".join(f"{byte:02x}" for byte in packed)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
