"""Where a registry is asked, and how far it is trusted: what docker users configure on a machine.

Read are `daemon.json` (`registry-mirrors`, which concern Docker Hub, and `insecure-registries`) and
`certs.d/HOST/`, below /etc/docker and, for who has no root, below $XDG_CONFIG_HOME/docker.  A
registry on this machine needs no certificate.  Talks to nobody.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from orchestrator.dataclass import dataclass, replace
from orchestrator.errors import RegistryError
from orchestrator.image import document
from orchestrator.image.reference import DEFAULT_DOMAIN
from orchestrator.image.registry.proxies import is_loopback, split_host
from orchestrator.image.registry.transport import Tls

HUB = "registry-1.docker.io"
"""Who answers for docker.io."""
_SYSTEM = "/etc/docker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One server that may have a repository."""

    host: str
    """With the port where one is given."""
    scheme: str = "https"
    """`https`, `http`, or empty: https where it is spoken, http else."""
    is_mirror: bool = False
    """Only to be read from, and not the last word about what there is."""

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """The configuration of this machine."""

    mirrors: tuple[Endpoint, ...] = ()
    insecure: tuple[str, ...] = ()
    """Hosts, hosts with port, and networks."""
    directories: tuple[str, ...] = ()
    """Where `certs.d` may be."""

    def endpoints(self, domain: str) -> list[Endpoint]:
        """Who is asked for images of `domain`, in this order."""
        if domain == DEFAULT_DOMAIN:
            return [*self.mirrors, Endpoint(host=HUB)]
        return [self.origin(domain)]

    def origin(self, domain: str) -> Endpoint:
        """Who has the last word about `domain`, and is pushed to."""
        if domain == DEFAULT_DOMAIN:
            return Endpoint(host=HUB)
        return Endpoint(host=domain, scheme="" if self.is_insecure(domain) else "https")

    def is_insecure(self, host: str) -> bool:
        """Whether no certificate is asked for, and plain HTTP is good enough."""
        try:
            name, _ = split_host(host, default=0)
        except ValueError:
            return False
        if is_loopback(name):
            return True
        return any(word in (host, name) or _contains(word, name) for word in self.insecure)

    def tls(self, host: str) -> Tls:
        """The certificates that belong to a host."""
        found = Tls(verify=not self.is_insecure(host))
        for directory in self.directories:
            found = _with_certificates(found, f"{directory}/certs.d/{host}")
        return found


def _contains(network: str, name: str) -> bool:
    try:
        return ipaddress.ip_address(name) in ipaddress.ip_network(network)
    except ValueError:
        return False


def _with_certificates(tls: Tls, directory: str) -> Tls:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return tls
    authorities = tuple(f"{directory}/{name}" for name in names if name.endswith(".crt"))
    pairs = []
    for name in names:
        if name.endswith(".cert"):
            key = f"{name.removesuffix('.cert')}.key"
            if key not in names:
                raise RegistryError(f"there is no {key} beside {directory}/{name}")
            pairs.append((f"{directory}/{name}", f"{directory}/{key}"))
    return replace(tls, authorities=tls.authorities + authorities,
                   certificates=tls.certificates + tuple(pairs))  # fmt: skip


def read(environ: Mapping[str, str], *, insecure: Iterable[str] = ()) -> Hosts:
    """The configuration of this machine and user; `insecure` hosts are added to it."""
    home = environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    directories = (_SYSTEM, f"{home}/docker")
    found = Hosts(insecure=tuple(insecure), directories=directories)
    for directory in directories:
        found = _with_file(found, f"{directory}/daemon.json")
    return found


def _with_file(hosts: Hosts, path: str) -> Hosts:
    try:
        with open(path, "rb") as file:
            data = file.read(document.LARGEST + 1)
    except OSError:
        return hosts
    root = document.parse(data, what=path)
    insecure = hosts.insecure + root.get("insecure-registries").texts()
    mirrors = tuple(_mirror(text, path) for text in root.get("registry-mirrors").texts())
    return replace(hosts, insecure=insecure, mirrors=hosts.mirrors + mirrors)


def _mirror(text: str, path: str) -> Endpoint:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/"):
        raise RegistryError(f"{path}: {text!r} is no mirror", hint="http[s]://host[:port]")
    return Endpoint(host=parts.netloc, scheme=parts.scheme, is_mirror=True)
