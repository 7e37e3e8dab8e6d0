"""Subnets for networks and addresses for containers, chosen under the machine-wide lock.

A decision is written into the NetworkRecord before the supervisor hears of it, so two projects
never choose the same.  Addresses are sticky: the lease of a replica outlives its containers.  The
choosing itself is `network.ipam`, which is pure.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network

from orchestrator import names
from orchestrator.engine.places import spot
from orchestrator.engine.resolve import Attachment
from orchestrator.errors import NetworkError, SpecError
from orchestrator.network import ipam
from orchestrator.plan import resources
from orchestrator.spec import hashing
from orchestrator.spec.model import Network, Project, Service
from orchestrator.state import store
from orchestrator.state.layout import Layout
from orchestrator.state.records import NetworkRecord

Routes = Callable[[], list[IPv4Network]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A container that is to be created and needs addresses."""

    service: Service
    lease: str
    """`project/service/index`, or the id of a one-off."""


@dataclass(slots=True, kw_only=True)
class Allocation:
    """What was decided: the networks by name, and the attachments of each container by lease."""

    networks: dict[str, NetworkRecord] = field(default_factory=dict)
    attachments: dict[str, tuple[Attachment, ...]] = field(default_factory=dict)


def allocate(
    layout: Layout, project: Project, *, create: Iterable[str], wanted: Iterable[Wanted],
    routes: Routes, labels: Callable[[Network], Mapping[str, str]], command: str,
) -> Allocation:  # fmt: skip
    """Choose what is missing and write it down.  `create` are the keys of networks to be made.
    NetworkError where no subnet or address is left, SpecError where the file asks for one that
    cannot be had."""
    create, wanted = list(create), list(wanted)
    result = Allocation()
    if not create and not wanted:
        return result
    with store.networks_lock(layout, command=command):
        known = _records(layout)
        before = dict(known)
        made = {resources.network_of(project, key).name for key in create}
        for key in create:
            network = resources.network_of(project, key)
            known[network.name] = _network(
                network, project=project, known=known, routes=routes, labels=labels(network)
            )
        for item in wanted:
            _attach(result, item, project=project, known=known, layout=layout)
        for name, record in known.items():
            if name in made:
                # without its hash until the bridge is there: what a crash leaves is made again
                store.save_network(layout, replace(record, config_hash=""))
            elif before.get(name) != record:
                store.save_network(layout, record)
    result.networks = known
    return result


def _records(layout: Layout) -> dict[str, NetworkRecord]:
    found = {}
    for entry in store.scan(layout.networks()):
        if entry.name.endswith(".json"):
            record = store.read_record(entry.path, NetworkRecord)
            if record is not None:
                found[record.name] = record
    return found


def _network(
    network: Network, *, project: Project, known: Mapping[str, NetworkRecord], routes: Routes,
    labels: Mapping[str, str],
) -> NetworkRecord:  # fmt: skip
    """The record of a network that is to be made.  One that was there before (its bridge is gone
    since a reboot) keeps its subnet and leases where it still may."""
    tree = hashing.network_tree(network)
    bridge = names.bridge_interface(network.name)
    others = [r for r in known.values() if r.name != network.name]
    former = known.get(network.name)
    # the route of a bridge that is about to be made again is our own
    own = None if former is None else IPv4Network(former.subnet)
    taken = [IPv4Network(r.subnet) for r in others] + [r for r in routes() if r != own]
    subnet = _subnet(network, project=project, others=others, taken=taken, former=former)
    leases = former.leases if former is not None and former.subnet == str(subnet) else {}
    return NetworkRecord(
        name=network.name, key=network.key, project=project.name, bridge=bridge,
        subnet=str(subnet), gateway=_gateway(network, subnet, project), internal=network.internal,
        config_hash=hashing.config_hash(tree), config=tree, labels=dict(labels), leases=leases,
    )  # fmt: skip


def _subnet(
    network: Network, *, project: Project, others: Iterable[NetworkRecord],
    taken: list[IPv4Network], former: NetworkRecord | None,
) -> IPv4Network:  # fmt: skip
    asked = next((pool.subnet for pool in network.ipam if pool.subnet), None)
    if asked is None:
        if former is not None:
            kept = IPv4Network(former.subnet)
            if not any(kept.overlaps(other) for other in taken):
                return kept
        return ipam.choose_subnet(network.name, taken=taken)
    subnet = _parsed_subnet(asked, network, project)
    for other in others:
        if subnet.overlaps(IPv4Network(other.subnet)):
            raise _fault(project, network, f"subnet {subnet} of network {network.name} overlaps "
                         f"{other.subnet} of network {other.name}")  # fmt: skip
    for route in taken:
        if route.prefixlen and subnet.overlaps(route):
            raise _fault(project, network, f"subnet {subnet} of network {network.name} overlaps "
                         f"the route {route} of this machine")  # fmt: skip
    return subnet


def _parsed_subnet(text: str, network: Network, project: Project) -> IPv4Network:
    try:
        subnet = IPv4Network(text, strict=False)
    except ValueError as exc:
        raise _fault(project, network, f"{text!r} is no IPv4 subnet") from exc
    if subnet.prefixlen > 30:
        raise _fault(project, network, f"subnet {text} is too small for a network")
    return subnet


def _gateway(network: Network, subnet: IPv4Network, project: Project) -> str:
    asked = next((pool.gateway for pool in network.ipam if pool.gateway), None)
    if asked is None:
        return str(subnet.network_address + 1)
    if not _is_host_of(asked, subnet):
        raise _fault(project, network, f"gateway {asked} is no address of subnet {subnet}")
    return asked


def _is_host_of(address: str, subnet: IPv4Network) -> bool:
    try:
        parsed = IPv4Address(address)
    except ValueError:
        return False
    outside = (subnet.network_address, subnet.broadcast_address)
    return parsed in subnet and parsed not in outside


def _fault(project: Project, network: Network, message: str) -> SpecError:
    return SpecError(message, where=spot(project, "networks", network.key, "ipam"))


def _attach(
    result: Allocation, wanted: Wanted, *, project: Project, known: dict[str, NetworkRecord],
    layout: Layout,
) -> None:  # fmt: skip
    found = []
    for key, said in wanted.service.networks.items():
        name = resources.network_of(project, key).name
        if name not in known:
            raise NetworkError(
                f"network {name} declared as external, but could not be found",
                hint="start the project that makes it first",
            )
        known[name] = _leased(known[name], wanted, asked=said.ipv4_address, key=key,
                              project=project, layout=layout)  # fmt: skip
        address = known[name].leases[wanted.lease]
        # the key is the one of this project's file: peers of another file may call it otherwise
        record = replace(known[name], key=key)
        found.append(Attachment(network=record, address=address, mac=ipam.mac_of(address)))
    result.attachments[wanted.lease] = tuple(found)


def _leased(
    record: NetworkRecord, wanted: Wanted, *, asked: str | None, key: str, project: Project,
    layout: Layout,
) -> NetworkRecord:  # fmt: skip
    """The record with a lease for this container."""
    leases = dict(record.leases)
    if asked is not None:
        _check_asked(asked, record, wanted, key=key, project=project)
        leases = {lease: address for lease, address in leases.items() if address != asked}
        return replace(record, leases={**leases, wanted.lease: asked})
    if wanted.lease in leases:
        return record
    within = _range(project.networks[key], record, project)
    try:
        address = _choose(wanted.lease, record, leases, within=within)
    except NetworkError:
        leases = _without_dead(leases, layout)
        address = _choose(wanted.lease, record, leases, within=within)
    return replace(record, leases={**leases, wanted.lease: address})


def _choose(
    lease: str, record: NetworkRecord, leases: Mapping[str, str], *, within: IPv4Network | None
) -> str:
    return ipam.choose_address(
        lease, subnet=IPv4Network(record.subnet), gateway=record.gateway, taken=leases.values(),
        within=within,
    )  # fmt: skip


def _range(network: Network, record: NetworkRecord, project: Project) -> IPv4Network | None:
    """The part of the subnet that `ip_range` allows."""
    asked = next((pool.ip_range for pool in network.ipam if pool.ip_range), None)
    if asked is None:
        return None
    try:
        found = IPv4Network(asked, strict=False)
    except ValueError as exc:
        raise _fault(project, network, f"{asked!r} is no IPv4 range") from exc
    if not found.subnet_of(IPv4Network(record.subnet)):
        raise _fault(project, network, f"ip_range {asked} is outside of subnet {record.subnet}")
    return found


def _check_asked(
    asked: str, record: NetworkRecord, wanted: Wanted, *, key: str, project: Project
) -> None:
    where = spot(project, "services", wanted.service.name, "networks", key, "ipv4_address")
    subnet = IPv4Network(record.subnet)
    if not _is_host_of(asked, subnet) or asked == record.gateway:
        raise SpecError(f"ipv4_address {asked} is not a free address of network {record.name} "
                        f"({subnet})", where=where)  # fmt: skip
    holder = next((k for k, a in record.leases.items() if a == asked and k != wanted.lease), None)
    # a lease of a replica that merely remembers its address gives way to one that asks for it
    if holder is not None and holder.startswith(f"{project.name}/{wanted.service.name}/"):
        raise SpecError(f"ipv4_address {asked} is asked for by two replicas of service "
                        f"{wanted.service.name}", where=where)  # fmt: skip


def _without_dead(leases: Mapping[str, str], layout: Layout) -> dict[str, str]:
    """The leases of those who still have a container; asked only when a network is full."""
    alive = {}
    for lease, address in leases.items():
        project, _, rest = lease.partition("/")
        if rest:
            is_alive = os.path.isdir(layout.containers(project))
        else:
            is_alive = any(os.path.isdir(layout.container(entry.name, lease))
                           for entry in store.scan(layout.projects()))  # fmt: skip
        if is_alive:
            alive[lease] = address
    return alive
