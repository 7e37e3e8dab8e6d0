"""`driver_opts` of a bridge network, and of a container's place on it.  Pure; errors: ValueError.

The names are Docker's (docs.docker.com: bridge network driver), so that files that have them work;
`pcompose.` begins those that are ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address

from orchestrator.dataclass import dataclass

_BRIDGE = "com.docker.network.bridge."
NAME = _BRIDGE + "name"
MTU = "com.docker.network.driver.mtu"
ICC = _BRIDGE + "enable_icc"
MASQUERADE = _BRIDGE + "enable_ip_masquerade"
HOST_BINDING = _BRIDGE + "host_binding_ipv4"
PREFIX = "com.docker.network.container_iface_prefix"
HEALTHY = "pcompose.dns.healthy"
SYSCTLS = "com.docker.network.endpoint.sysctls"
_ALIASES = {"mtu": MTU}
"""What podman calls them."""
_INTERFACE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_SYSCTL = re.compile(r"net\.(ipv4|ipv6|mpls)\.(conf|neigh)\.IFNAME\.([a-z0-9_]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeOptions:
    """What the options of a network say."""

    name: str | None = None
    """Of the interface on the host."""
    mtu: int | None = None
    icc: bool = True
    """Whether containers on the network reach each other."""
    masquerade: bool = True
    host_binding: str | None = None
    """Where ports are published that name no address."""
    interface_prefix: str = "eth"
    healthy_names: bool = False
    """A name stands for its healthy replicas, as long as there are any."""


def parse(options: Mapping[str, str]) -> BridgeOptions:
    """What `driver_opts` of a network mean."""
    said = {_ALIASES.get(key, key): value for key, value in options.items()}
    unknown = sorted(said.keys() - {NAME, MTU, ICC, MASQUERADE, HOST_BINDING, PREFIX, HEALTHY})
    if unknown:
        raise ValueError(f"the driver bridge has no option {unknown[0]!r} here")
    return BridgeOptions(
        name=_interface(said[NAME]) if NAME in said else None,
        mtu=_mtu(said[MTU]) if MTU in said else None,
        icc=_truth(said.get(ICC, "true")), masquerade=_truth(said.get(MASQUERADE, "true")),
        host_binding=str(ip_address(said[HOST_BINDING])) if HOST_BINDING in said else None,
        interface_prefix=_prefix(said.get(PREFIX, "eth")),
        healthy_names=_truth(said.get(HEALTHY, "false")),
    )  # fmt: skip


def _interface(text: str) -> str:
    if not _INTERFACE.fullmatch(text) or text in (".", "..", "lo", "all", "default"):
        raise ValueError(f"{text!r} cannot be the name of an interface")
    return text


def _prefix(text: str) -> str:
    if len(text) > 12:
        raise ValueError(f"{text!r} is too long for the name of an interface")
    return _interface(text)


def interface_name(text: str) -> str:
    """`interface_name` of a service's network, checked."""
    return _interface(text)


def _mtu(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 68 <= int(text) <= 65535:
        raise ValueError(f"{text!r} is no MTU from 68 to 65535")
    return int(text)


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "1", "false", "0"):
        raise ValueError(f"{text!r} is neither true nor false")
    return text.lower() in ("true", "1")


def parse_endpoint(options: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The kernel parameters that `driver_opts` of a service's network ask for, each with IFNAME in
    the place of the interface: `net.ipv4.conf.IFNAME.log_martians=1,…`."""
    unknown = sorted(options.keys() - {SYSCTLS})
    if unknown:
        raise ValueError(f"an endpoint has no option {unknown[0]!r} here")
    found = []
    for word in filter(None, (part.strip() for part in options.get(SYSCTLS, "").split(","))):
        name, equals, value = word.partition("=")
        if not equals or not _SYSCTL.fullmatch(name):
            raise ValueError(f"{word!r} is not of the form net.ipv4.conf.IFNAME.NAME=VALUE")
        found.append((name, value))
    return tuple(found)
