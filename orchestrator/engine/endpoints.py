"""A service's place on its networks: from addresses and attributes to endpoints and ports.

Pure, as `resolve`, whose part it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from orchestrator import names
from orchestrator.dataclass import dataclass
from orchestrator.network import bridgeopts
from orchestrator.plan import resources
from orchestrator.runtime import spec as runtime
from orchestrator.spec.model import Port, Project, Service, ServiceNetwork

if TYPE_CHECKING:
    from orchestrator.engine.resolve import Identity
    from orchestrator.state.records import NetworkRecord

_MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")
Fault = tuple[tuple[str | int, ...], str]
"""(path below the service, message)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One network and the addresses the container has on it; empty: none of that family."""

    network: NetworkRecord
    mac: str
    address: str
    prefix: int = 24
    gateway: str = ""
    """Of the subnet, whether it is a way out or not."""
    address6: str = ""
    prefix6: int = 0
    gateway6: str = ""


def endpoints(
    service: Service, identity: Identity, attachments: Sequence[Attachment], *, use_aliases: bool
) -> tuple[runtime.Endpoint, ...]:
    """In the order of attachment: eth0, eth1, … unless the file names them.  The way out leads
    through the network with the highest `gw_priority`, else the first one that has a way."""
    interfaces = interface_names(service, attachments)
    out, out6 = (_way_out(service, attachments, ipv6=ipv6) for ipv6 in (False, True))
    return tuple(
        _endpoint(
            service, identity, attachment, interface=interfaces[number], use_aliases=use_aliases,
            is_primary=number == 0, gateway=attachment.gateway if attachment is out else None,
            gateway6=attachment.gateway6 if attachment is out6 else None,
        )
        for number, attachment in enumerate(attachments)
    )  # fmt: skip


def _endpoint(
    service: Service, identity: Identity, attachment: Attachment, *, interface: str,
    use_aliases: bool, is_primary: bool, gateway: str | None, gateway6: str | None,
) -> runtime.Endpoint:  # fmt: skip
    network = attachment.network
    said = _said(service, network)
    options = bridgeopts.parse(network.options)
    own = said.mac_address or (service.mac_address if is_primary else None)
    return runtime.Endpoint(
        network=network.name, key=network.key, bridge=network.bridge, interface=interface,
        address=attachment.address, prefix=attachment.prefix, mac=own or attachment.mac,
        gateway=gateway, address6=attachment.address6, prefix6=attachment.prefix6,
        gateway6=gateway6, link_local=said.link_local_ips,
        sysctls=bridgeopts.parse_endpoint(said.driver_opts),
        isolated=not options.icc, healthy_names=options.healthy_names,
        names=_names(service, said, identity, use_aliases=use_aliases),
    )  # fmt: skip


def _said(service: Service, network: NetworkRecord) -> ServiceNetwork:
    return service.networks.get(network.key) or ServiceNetwork(network=network.key)


def _way_out(
    service: Service, attachments: Sequence[Attachment], *, ipv6: bool
) -> Attachment | None:
    ways = [
        a for a in attachments if not a.network.internal and (a.gateway6 if ipv6 else a.gateway)
        and (a.address6 if ipv6 else a.address)
    ]  # fmt: skip
    return max(ways, key=lambda a: _said(service, a.network).gw_priority, default=None)


def interface_names(service: Service, attachments: Sequence[Attachment]) -> list[str]:
    """The name of each interface in the container."""
    said = [_said(service, a.network).interface_name for a in attachments]
    taken = {name for name in said if name}
    found = []
    for number, (name, attachment) in enumerate(zip(said, attachments, strict=True)):
        prefix = bridgeopts.parse(attachment.network.options).interface_prefix
        while not name:
            candidate = f"{prefix}{number}"
            name = candidate if candidate not in taken else ""
            number += len(attachments)
        taken.add(name)
        found.append(name)
    return found


def _names(
    service: Service, said: ServiceNetwork, identity: Identity, *, use_aliases: bool
) -> tuple[str, ...]:
    shared = (service.name, *said.aliases) if use_aliases else ()
    return tuple(dict.fromkeys((identity.name, *shared, names.short(identity.id))))


def faults(service: Service) -> Iterator[Fault]:
    """What is wrong with the attributes of a service's networks, before anything is made."""
    seen: dict[str, str] = {}
    for key, said in service.networks.items():
        for attribute, check in _CHECKS.items():
            try:
                check(said)
            except ValueError as exc:
                yield ("networks", key, attribute), str(exc)
        name = said.interface_name
        if name and seen.setdefault(name, key) != key:
            text = f"{name!r} is already the interface of network {seen[name]}"
            yield ("networks", key, "interface_name"), text
    if service.mac_address is not None:
        first = next(iter(service.networks.values()), None)
        other = first.mac_address if first else None
        if not _MAC.fullmatch(service.mac_address):
            yield ("mac_address",), f"{service.mac_address!r} is no MAC address"
        elif other and other.lower() != service.mac_address.lower():
            yield ("mac_address",), f"differs from {other}, which its first network says"


def _check_mac(said: ServiceNetwork) -> None:
    mac = said.mac_address
    if mac is not None and (not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1):
        raise ValueError(f"{mac!r} is no MAC address of one interface")


def _check_name(said: ServiceNetwork) -> None:
    if said.interface_name is not None:
        bridgeopts.interface_name(said.interface_name)


def _check_options(said: ServiceNetwork) -> None:
    bridgeopts.parse_endpoint(said.driver_opts)


def _check_link_local(said: ServiceNetwork) -> None:
    from ipaddress import ip_address

    for text in said.link_local_ips:
        if not ip_address(text).is_link_local:
            raise ValueError(f"{text!r} is no link-local address")


_CHECKS = {
    "mac_address": _check_mac, "interface_name": _check_name, "driver_opts": _check_options,
    "link_local_ips": _check_link_local,
}


# Published ports


def ports(service: Service, *, project: Project) -> tuple[runtime.PublishedPort, ...]:
    """The published ports; an open host port is 0, 0.  With the machine's own network the container
    listens there itself."""
    if service.network_mode == "host":
        return ()
    binding = _host_binding(service, project)
    return tuple(
        _port(port, project.where("services", service.name, "ports", number), binding)
        for number, port in enumerate(service.ports) if port.protocol != "sctp"
    )  # fmt: skip


def _host_binding(service: Service, project: Project) -> str:
    """Where ports are published that name no address: as the first network says it."""
    for key in service.networks:
        options: Mapping[str, str] = resources.network_of(project, key).driver_opts
        if bridgeopts.HOST_BINDING in options:
            return options[bridgeopts.HOST_BINDING]
    return ""


def _port(port: Port, origin: str, binding: str) -> runtime.PublishedPort:
    low, _, high = (port.published or "0").partition("-")
    protocol: Literal["tcp", "udp"] = "udp" if port.protocol == "udp" else "tcp"
    return runtime.PublishedPort(
        target=port.target, protocol=protocol, host_ip=port.host_ip or binding,
        first=int(low), last=int(high or low), or_another=port.or_another, origin=origin,
    )  # fmt: skip
