"""Whether the addresses a container was made with still fit the networks of today.

A record is never rewritten, so a network that was made again with another subnet or another way
out leaves containers behind that would come up unreachable, also when the command that made it was
interrupted before it came to them.  Reads of a container's spec only its `endpoints`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.state.observed import ObservedNetwork
from orchestrator.state.records import ContainerRecord, NetworkRecord


def misfits(record: ContainerRecord, networks: Mapping[str, ObservedNetwork]) -> list[str]:
    """Why the container could not be reached or not reach out; empty where it fits.  Networks that
    are not there, and endpoints that are not as we write them, are not judged."""
    ends = [e for e in _endpoints(record) if e.get("network") in networks]
    known = [(end, networks[str(end["network"])].record) for end in ends]
    found = [text for end, network in known for text in _misfits(end, network)]
    has_way_out = any(end.get("gateway") for end, _ in known)
    if not found and known and not has_way_out and not all(n.internal for _, n in known):
        found.append("a network it is on is no longer internal")
    return found


def _endpoints(record: ContainerRecord) -> list[dict[str, Any]]:
    ends = record.spec.get("endpoints")
    return [e for e in ends if isinstance(e, dict)] if isinstance(ends, list) else []


def _misfits(end: Mapping[str, Any], network: NetworkRecord) -> Iterator[str]:
    address, gateway = str(end.get("address")), end.get("gateway")
    if not _is_inside(address, network.subnet):
        yield f"address {address} is not in network {network.name} ({network.subnet})"
    elif gateway and network.internal:
        yield f"network {network.name} is internal now"
    elif gateway and gateway != network.gateway:
        yield f"gateway of network {network.name} {gateway} -> {network.gateway}"


def _is_inside(address: str, subnet: str) -> bool:
    # by hand: `ipaddress` costs 10 ms at start, which a no-op `up` would pay
    base, _, prefix = subnet.partition("/")
    first, second = _number(base), _number(address)
    if first is None or second is None or not prefix.isdecimal():
        return True
    shift = 32 - min(int(prefix), 32)
    return first >> shift == second >> shift


def _number(address: str) -> int | None:
    """The 32 bits of an IPv4 address; None where it is none."""
    parts = address.split(".")
    if len(parts) != 4 or not all(p.isascii() and p.isdecimal() and int(p) < 256 for p in parts):
        return None
    a, b, c, d = map(int, parts)
    return a << 24 | b << 16 | c << 8 | d
