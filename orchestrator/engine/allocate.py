"""Subnets for networks and addresses for containers, chosen under the machine-wide lock.

A decision is written into the NetworkRecord before the supervisor hears of it, so two projects
never choose the same.  Addresses are sticky: the lease of a replica outlives its containers.  What
a network is made of is `engine.subnets`; the choosing itself is `network.ipam`, which is pure.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_address, ip_network
from typing import Literal

from orchestrator.dataclass import dataclass, field, replace
from orchestrator.engine.endpoints import Attachment
from orchestrator.engine.places import spot
from orchestrator.engine.subnets import Routes, is_host_of, network_record
from orchestrator.errors import NetworkError, SpecError
from orchestrator.network import ipam
from orchestrator.plan import resources
from orchestrator.spec.model import Network, Project, Service, ServiceNetwork
from orchestrator.state import store
from orchestrator.state.layout import Layout
from orchestrator.state.records import ContainerRecord, NetworkRecord, Pool

_Key = Literal["ipv4_address", "ipv6_address"]


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
        known = records(layout)
        before = dict(known)
        made = {resources.network_of(project, key).name for key in create}
        for key in create:
            network = resources.network_of(project, key)
            known[network.name] = network_record(
                network, project=project, known=known, routes=routes, labels=labels(network),
                machine=machine_id(),
            )  # fmt: skip
        leases = _Leases(project, known, layout, {item.lease for item in wanted})
        for item in wanted:
            leases.take_asked(item)
        for item in wanted:
            result.attachments[item.lease] = tuple(leases.attach(item))
        for name, record in known.items():
            if name in made:
                # without its hash until the bridge is there: what a crash leaves is made again
                store.save_network(layout, replace(record, config_hash=""))
            elif before.get(name) != record:
                store.save_network(layout, record)
    result.networks = known
    return result


def machine_id() -> str:
    """What tells this machine from others (machine-id(5)); empty where it has none."""
    try:
        with open("/etc/machine-id", encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return ""


def records(layout: Layout) -> dict[str, NetworkRecord]:
    """Every network by name; StateError where a record cannot be read."""
    found = {}
    for entry in store.scan(layout.networks()):
        if entry.name.endswith(".json"):
            record = store.read_record(entry.path, NetworkRecord)
            if record is not None:
                found[record.name] = record
    return found


class _Leases:
    """The addresses of all networks while they are given out; `known` is changed in place."""

    def __init__(
        self, project: Project, known: dict[str, NetworkRecord], layout: Layout, wanted: set[str]
    ) -> None:
        self._project, self._known, self._layout, self._wanted = project, known, layout, wanted

    def take_asked(self, item: Wanted) -> None:
        """The addresses that the file names, before anybody else gets them."""
        for key, said in item.service.networks.items():
            record = self._record(key)
            if said.ipv4_address is not None:
                record = self._ask(record, item, key, "ipv4_address", said.ipv4_address)
            if said.ipv6_address is not None:
                record = self._ask(record, item, key, "ipv6_address", said.ipv6_address)
            self._known[record.name] = record

    def attach(self, item: Wanted) -> Iterator[Attachment]:
        """The networks of one container with its addresses, in order."""
        for key, said in item.service.networks.items():
            record = self._record(key)
            pools = record.all_pools()
            for ipv6 in (False, True):
                mine = [pool for pool in pools if pool.is_ipv6 is ipv6]
                if mine and item.lease not in _of(record, ipv6=ipv6):
                    record = self._lease(record, item.lease, mine, ipv6=ipv6)
            self._known[record.name] = record
            yield _attachment(record, item.lease, key=key, said=said)

    def _record(self, key: str) -> NetworkRecord:
        name = resources.network_of(self._project, key).name
        if name not in self._known:
            raise NetworkError(
                f"network {name} declared as external, but could not be found",
                hint="start the project that makes it first, or `pcompose network create`",
            )
        return self._known[name]

    def _lease(
        self, record: NetworkRecord, lease: str, pools: list[Pool], *, ipv6: bool
    ) -> NetworkRecord:
        leases = _of(record, ipv6=ipv6)
        try:
            address = _choose(lease, pools, leases)
        except NetworkError:
            leases = _without_dead(leases, self._layout)
            address = _choose(lease, pools, leases)
        return _with(record, {**leases, lease: address}, ipv6=ipv6)

    def _ask(
        self, record: NetworkRecord, item: Wanted, key: str, attribute: _Key, text: str
    ) -> NetworkRecord:
        where = spot(self._project, "services", item.service.name, "networks", key, attribute)
        ipv6 = attribute == "ipv6_address"
        address = _free_address(record, attribute, text, where)
        leases = _of(record, ipv6=ipv6)
        others = [k for k, a in leases.items() if a == address and k != item.lease]
        for holder in others:
            # a lease of a replica that merely remembers its address gives way
            if holder.startswith(f"{self._project.name}/{item.service.name}/"):
                raise SpecError(f"{attribute} {text} is asked for by two replicas of service "
                                f"{item.service.name}", where=where)  # fmt: skip
            if holder not in self._wanted and self._is_held(holder, address):
                raise SpecError(f"{attribute} {text} is the address of {_shown(holder)}",
                                where=where, hint="choose another")  # fmt: skip
        kept = {lease: a for lease, a in leases.items() if lease not in others}
        return _with(record, {**kept, item.lease: address}, ipv6=ipv6)

    def _is_held(self, lease: str, address: str) -> bool:
        """Whether a container, running or not, was made with the address."""
        project = lease.partition("/")[0] if "/" in lease else None
        projects = [project] if project else [e.name for e in store.scan(self._layout.projects())]
        for name in projects:
            for entry in store.scan(self._layout.containers(name)):
                record = store.read_record(
                    self._layout.container_record(name, entry.name), ContainerRecord
                )
                ends = record.spec.get("endpoints", ()) if record else ()
                if any(address in (e.get("address"), e.get("address6")) for e in ends):
                    return True
        return False


def _shown(lease: str) -> str:
    project, _, rest = lease.partition("/")
    return f"{rest.replace('/', '-')} of project {project}" if rest else f"container {lease[:12]}"


def _of(record: NetworkRecord, *, ipv6: bool) -> dict[str, str]:
    return record.leases6 if ipv6 else record.leases


def _with(record: NetworkRecord, leases: dict[str, str], *, ipv6: bool) -> NetworkRecord:
    return replace(record, leases6=leases) if ipv6 else replace(record, leases=leases)


def _choose(lease: str, pools: list[Pool], leases: Mapping[str, str]) -> str:
    """An address of the first pool that has one left."""
    for number, pool in enumerate(pools):
        try:
            return ipam.choose_address(
                lease, subnet=ip_network(pool.subnet), gateway=pool.gateway,
                taken=[a for a in (*leases.values(), *pool.reserved) if _is_in(a, pool)],
                within=ip_network(pool.ip_range, strict=False) if pool.ip_range else None,
            )  # fmt: skip
        except NetworkError:
            if number == len(pools) - 1:
                raise
    raise AssertionError("a network has a pool of each of its families")


def _is_in(address: str, pool: Pool) -> bool:
    return ip_address(address) in ip_network(pool.subnet)


def _free_address(record: NetworkRecord, attribute: _Key, text: str, where: str) -> str:
    """The address in its usual form; SpecError where no pool of the network has it to give."""
    pools = [p for p in record.all_pools() if p.is_ipv6 is (attribute == "ipv6_address")]
    home = next((pool for pool in pools if is_host_of(text, ip_network(pool.subnet))), None)
    address = str(ip_address(text)) if home else text
    if home is None or address in (home.gateway, *home.reserved):
        subnets = ", ".join(pool.subnet for pool in pools) or "it has none of that family"
        raise SpecError(f"{attribute} {text} is not a free address of network {record.name} "
                        f"({subnets})", where=where)  # fmt: skip
    return address


def _attachment(
    record: NetworkRecord, lease: str, *, key: str, said: ServiceNetwork
) -> Attachment:
    address, address6 = record.leases.get(lease, ""), record.leases6.get(lease, "")
    home = _home(record, address)
    home6 = _home(record, address6)
    return Attachment(
        # the key is the one of this project's file: peers of another file may call it otherwise
        network=replace(record, key=key), mac=said.mac_address or ipam.mac_of(address or address6),
        address=address, prefix=_prefix(home), gateway=home.gateway if home else "",
        address6=address6, prefix6=_prefix(home6), gateway6=home6.gateway if home6 else "",
    )  # fmt: skip


def _home(record: NetworkRecord, address: str) -> Pool | None:
    return next((p for p in record.all_pools() if address and _is_in(address, p)), None)


def _prefix(pool: Pool | None) -> int:
    return int(pool.subnet.rpartition("/")[2]) if pool else 0


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
