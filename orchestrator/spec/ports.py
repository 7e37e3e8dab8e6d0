"""The short form of `ports`: `[IP:][HOST:]CONTAINER[/PROTOCOL]`, each part possibly a range.

Pure; errors are ValueError.
"""

from __future__ import annotations

from typing import NamedTuple

PROTOCOLS = ("tcp", "udp", "sctp")
HIGHEST = 65535


class Published(NamedTuple):
    """One container port."""

    target: int
    published: str | None
    host_ip: str | None
    protocol: str


def parse_port(text: str) -> list[Published]:
    """The container ports a short form stands for, ranges expanded."""
    rest, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash and protocol else "tcp"
    if protocol not in PROTOCOLS:
        raise ValueError(f"{protocol!r} is not a protocol: tcp or udp")
    address, host, container = _parts(rest)
    if not container:
        raise ValueError(f"{text!r} names no container port")
    first, last = parse_range(container)
    if first == 0:
        raise ValueError(f"{text!r} is missing a target port")
    host_ip = _address(address) if address else None
    if not host:
        return [Published(n, None, host_ip, protocol) for n in range(first, last + 1)]
    low, high = parse_range(host)
    if high - low == last - first:
        return [
            Published(first + n, str(low + n), host_ip, protocol) for n in range(last - first + 1)
        ]
    if first != last:
        raise ValueError(f"ranges {host} and {container} have different lengths")
    return [Published(first, f"{low}-{high}", host_ip, protocol)]


def length(text: str) -> int:
    """How many ports a short form stands for; 0 for one that is none."""
    try:
        first, last = parse_range(_parts(text.partition("/")[0])[2])
    except ValueError:
        return 0
    return last - first + 1


def _parts(text: str) -> tuple[str, str, str]:
    before, _, container = text.rpartition(":")
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        if not bracket:
            raise ValueError("a [ is never closed")
        host, _, container = rest.removeprefix(":").rpartition(":")
        return address, host, container
    address, _, host = before.rpartition(":")
    return address, host, container


def parse_range(text: str) -> tuple[int, int]:
    """`8000-8010` or `80` as (first, last)."""
    low, dash, high = text.partition("-")
    first = _number(low)
    last = _number(high) if dash else first
    if last < first:
        raise ValueError(f"range {text!r} runs backwards")
    return first, last


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or int(text) > HIGHEST:
        raise ValueError(f"{text!r} is not a port from 0 to {HIGHEST}")
    return int(text)


def _address(text: str) -> str:
    if not is_address(text):
        raise ValueError(f"{text!r} is not an IP address")
    return text


def is_address(text: str) -> bool:
    """Whether `text` is an IPv4 or IPv6 address."""
    parts = text.split(".")
    if len(parts) == 4 and all(
        p.isascii() and p.isdecimal() and len(p) < 4 and int(p) < 256 for p in parts
    ):
        return True
    if ":" not in text:
        return False
    from ipaddress import AddressValueError, IPv6Address  # 8 ms; IPv4 is read without it

    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True
