"""Whether the addresses a container was made with still fit the networks of today.

A record is never rewritten, so a network that was made again with another subnet or another way
out leaves containers behind that would come up unreachable, also when the command that made it was
interrupted before it came to them.  Reads of a container's spec only its `endpoints`.
"""

from __future__ import annotations

import _socket
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
    has_way_out = any(end.get("gateway") or end.get("gateway6") for end, _ in known)
    if not found and known and not has_way_out and not all(n.internal for _, n in known):
        found.append("a network it is on is no longer internal")
    return found


def _endpoints(record: ContainerRecord) -> list[dict[str, Any]]:
    ends = record.spec.get("endpoints")
    return [e for e in ends if isinstance(e, dict)] if isinstance(ends, list) else []


def _misfits(end: Mapping[str, Any], network: NetworkRecord) -> Iterator[str]:
    yield from _family_misfits(end, network, "address", "gateway", ipv6=False)
    yield from _family_misfits(end, network, "address6", "gateway6", ipv6=True)


def _family_misfits(
    end: Mapping[str, Any], network: NetworkRecord, address_key: str, gateway_key: str, *,
    ipv6: bool,
) -> Iterator[str]:  # fmt: skip
    address, gateway = str(end.get(address_key) or ""), end.get(gateway_key)
    pools = [pool for pool in network.all_pools() if pool.is_ipv6 is ipv6]
    if not address:
        return
    home = next((pool for pool in pools if _is_inside(address, pool.subnet)), None)
    if home is None:
        subnets = ", ".join(pool.subnet for pool in pools) or "has none of its family"
        yield f"address {address} is not in network {network.name} ({subnets})"
    elif gateway and network.internal:
        yield f"network {network.name} is internal now"
    elif gateway and gateway != home.gateway:
        yield f"gateway of network {network.name} {gateway} -> {home.gateway}"


def _is_inside(address: str, subnet: str) -> bool:
    # not by `ipaddress`, which costs 10 ms at start that a no-op `up` would pay
    base, _, prefix = subnet.partition("/")
    first, second = _number(base), _number(address)
    if first is None or second is None or not prefix.isdecimal():
        return True
    shift = (128 if ":" in base else 32) - int(prefix)
    return first >> shift == second >> shift if shift >= 0 else True


def _number(address: str) -> int | None:
    """The bits of an address; None where it is none."""
    family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
    try:
        return int.from_bytes(_socket.inet_pton(family, address), "big")
    except (OSError, ValueError):
        return None
