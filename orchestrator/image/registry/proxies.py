"""Which proxy a request goes through, as curl and Go's programs read the variables.

`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, of which the lower-case form wins.  What is
on this machine is never asked for through a proxy.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from orchestrator.dataclass import dataclass
from orchestrator.errors import RegistryError


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy; `user` is `name:password`, empty where none is given."""

    host: str
    port: int
    user: str = ""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def split_host(authority: str, *, default: int) -> tuple[str, int]:
    """(name, port) of `name`, `name:port` or `[::1]:port`; ValueError where the port is none."""
    parts = urlsplit(f"//{authority}")
    return parts.hostname or "", parts.port if parts.port is not None else default


def is_loopback(name: str) -> bool:
    """Whether a host name or address is this machine, without asking anybody."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def proxy_for(scheme: str, host: str, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy for a request to `host` (a name, with or without port); None: ask it directly."""
    name, port = split_host(host, default=443 if scheme == "https" else 80)
    if is_loopback(name) or _is_exempt(name, port, _variable(environ, "no_proxy")):
        return None
    for variable in (f"{scheme}_proxy", "all_proxy"):
        text = _variable(environ, variable)
        if text:
            return _parse(text, variable.upper())
    return None


def _variable(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or environ.get(name.upper(), "")


def _parse(text: str, variable: str) -> Proxy:
    parts = urlsplit(text if "://" in text else f"http://{text}")
    try:
        port = parts.port or 80
    except ValueError:
        port = 0
    if parts.scheme != "http" or not parts.hostname or not port:
        raise RegistryError(
            f"{variable} names no proxy that can be used: {parts.scheme}://{parts.hostname or ''}",
            hint="http://[user:password@]host:port; TLS to the registry goes through it unread",
        )
    user = ""
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Proxy(parts.hostname, port, user)


def _is_exempt(name: str, port: int, exceptions: str) -> bool:
    """`NO_PROXY`: `*`, names with all below them, addresses, networks; names also with a port."""
    return any(_matches(name, port, word.strip().lower()) for word in exceptions.split(","))


def _matches(name: str, port: int, word: str) -> bool:
    if word == "*":
        return True
    if not word:
        return False
    network = _network(word)
    if network is not None:
        address = _network(name)
        return address is not None and address.version == network.version and (
            address.network_address in network
        )
    try:
        wanted, wanted_port = split_host(word, default=port)
    except ValueError:
        return False
    wanted = wanted.removeprefix("*").strip(".")
    return port == wanted_port and (name == wanted or name.endswith(f".{wanted}"))


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None
