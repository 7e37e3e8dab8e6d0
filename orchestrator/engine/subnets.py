"""The record of a network that is to be made: its subnets, gateways and options, chosen or asked
for; under the machine-wide lock, which `allocate` holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from orchestrator import names
from orchestrator.dataclass import replace
from orchestrator.engine.places import spot
from orchestrator.errors import SpecError
from orchestrator.network import bridgeopts, ipam
from orchestrator.network.ipam import Subnet
from orchestrator.spec import hashing
from orchestrator.spec.model import IpamPool, Network, Project
from orchestrator.state.records import NetworkRecord, Pool

Routes = Callable[[], Iterable[Subnet]]
_LARGEST_PREFIX = {4: 30, 6: 126}


def network_record(
    network: Network, *, project: Project, known: Mapping[str, NetworkRecord], routes: Routes,
    labels: Mapping[str, str], machine: str,
) -> NetworkRecord:  # fmt: skip
    """The record of a network that is to be made.  One that was there before (its bridge is gone
    since a reboot) keeps its subnets and leases where it still may.  SpecError with its place for
    what cannot be had, NetworkError where no subnet is left."""
    tree = hashing.network_tree(network)
    options = _options(network, project)
    others = [record for record in known.values() if record.name != network.name]
    bridge = options.name or names.bridge_interface(network.name)
    twin = next((record for record in others if record.bridge == bridge), None)
    if twin is not None:
        raise _fault(project, network, f"interface {bridge} is that of network {twin.name}",
                     key="driver_opts")  # fmt: skip
    former = known.get(network.name)
    pools = _pools(network, project=project, others=others, former=former, routes=routes,
                   machine=machine)  # fmt: skip
    first = next((pool for pool in pools if not pool.is_ipv6), None)
    record = NetworkRecord(
        name=network.name, key=network.key, project=project.name, bridge=bridge,
        subnet=first.subnet if first else "", gateway=first.gateway if first else "",
        internal=network.internal, config_hash=hashing.config_hash(tree), config=tree,
        labels=dict(labels), pools=[pool.to_json() for pool in pools],
        options=dict(network.driver_opts),
    )  # fmt: skip
    if former is not None and former.all_pools() == pools:
        record = replace(record, leases=former.leases, leases6=former.leases6)
    return record


def _options(network: Network, project: Project) -> bridgeopts.BridgeOptions:
    try:
        return bridgeopts.parse(network.driver_opts)
    except ValueError as exc:
        raise _fault(project, network, str(exc), key="driver_opts") from exc


def _pools(
    network: Network, *, project: Project, others: list[NetworkRecord],
    former: NetworkRecord | None, routes: Routes, machine: str,
) -> list[Pool]:  # fmt: skip
    """What the file asks for, checked; and one chosen subnet of each family that has none."""
    # the route of a bridge that is about to be made again is our own
    own = {pool.subnet for pool in former.all_pools()} if former else set()
    taken = [ip_network(pool.subnet) for record in others for pool in record.all_pools()]
    taken += [route for route in routes() if str(route) not in own]
    found: list[Pool] = []
    for number, pool in enumerate(network.ipam):
        if pool.subnet is not None:
            asked = _asked(pool, network, number, project)
            subnet = ip_network(asked.subnet)
            _check_free(subnet, network, number, project, others=others, taken=taken)
            taken.append(subnet)
            found.append(asked)
    if network.enable_ipv4 is False and not _wants_ipv6(network, found):
        raise _fault(project, network, f"network {network.name} has neither IPv4 nor IPv6",
                     key="enable_ipv4")  # fmt: skip
    families = {pool.is_ipv6 for pool in found}
    if network.enable_ipv4 is not False and False not in families:
        chosen: Subnet | None = _kept(former, taken, ipv6=False)
        chosen = chosen or ipam.choose_subnet(network.name, taken=taken)
        found.insert(0, _completed(chosen, network, project))
    if network.enable_ipv6 and True not in families:
        chosen = _kept(former, taken, ipv6=True) or ipam.choose_local_subnet(
            network.name, taken=taken, machine=machine)  # fmt: skip
        found.append(_completed(chosen, network, project))
    return found


def _wants_ipv6(network: Network, found: list[Pool]) -> bool:
    return bool(network.enable_ipv6) or any(pool.is_ipv6 for pool in found)


def _kept(former: NetworkRecord | None, taken: list[Subnet], *, ipv6: bool) -> Subnet | None:
    """The subnet that was chosen before, if it is still free."""
    for pool in former.all_pools() if former else ():
        subnet = ip_network(pool.subnet)
        if pool.is_ipv6 is ipv6 and not any(_overlap(subnet, other) for other in taken):
            return subnet
    return None


def _overlap(one: Subnet, other: Subnet) -> bool:
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.overlaps(other)
    return isinstance(one, IPv6Network) and isinstance(other, IPv6Network) and one.overlaps(other)


def _completed(subnet: Subnet, network: Network, project: Project) -> Pool:
    """A chosen subnet with what `ipam.config` says without naming one."""
    said = [(number, pool) for number, pool in enumerate(network.ipam) if pool.subnet is None]
    version = subnet.version
    for number, pool in said:
        if (pool.gateway or pool.ip_range or pool.aux_addresses) and version == 4:
            whole = replace(pool, subnet=str(subnet))
            return _asked(whole, network, number, project)
    return Pool(subnet=str(subnet), gateway=ipam.default_gateway(subnet))


def _asked(pool: IpamPool, network: Network, number: int, project: Project) -> Pool:
    """One entry of `ipam.config`, whose parts have to fit each other."""

    def fault(message: str) -> SpecError:
        return _fault(project, network, message, "config", number)

    text = pool.subnet or ""
    try:
        subnet = ip_network(text, strict=False)
    except ValueError:
        raise fault(f"{text!r} is no subnet") from None
    if subnet.prefixlen > _LARGEST_PREFIX[subnet.version]:
        raise fault(f"subnet {text} is too small for a network")
    gateway = pool.gateway or ipam.default_gateway(subnet)
    if not is_host_of(gateway, subnet):
        raise fault(f"gateway {gateway} is no address of subnet {subnet}")
    for name, address in sorted(pool.aux_addresses.items()):
        if not is_host_of(address, subnet):
            raise fault(f"{name} {address} of aux_addresses is no address of subnet {subnet}")
    if pool.ip_range is not None:
        try:
            inner = ip_network(pool.ip_range, strict=False)
        except ValueError:
            raise fault(f"{pool.ip_range!r} is no range of addresses") from None
        if not _is_inside(inner, subnet):
            raise fault(f"ip_range {pool.ip_range} is outside of subnet {subnet}")
    reserved = tuple(str(ip_address(a)) for a in sorted(pool.aux_addresses.values()))
    return Pool(subnet=str(subnet), gateway=str(ip_address(gateway)),
                ip_range=pool.ip_range or "", reserved=reserved)  # fmt: skip


def _is_inside(inner: Subnet, outer: Subnet) -> bool:
    if isinstance(inner, IPv4Network) and isinstance(outer, IPv4Network):
        return inner.subnet_of(outer)
    if isinstance(inner, IPv6Network) and isinstance(outer, IPv6Network):
        return inner.subnet_of(outer)
    return False


def is_host_of(address: str, subnet: Subnet) -> bool:
    """Whether it can be somebody's address in the subnet."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if parsed not in subnet or parsed == subnet.network_address:
        return False
    return subnet.version == 6 or parsed != subnet.broadcast_address


def _check_free(
    subnet: Subnet, network: Network, number: int, project: Project, *,
    others: Iterable[NetworkRecord], taken: Iterable[Subnet],
) -> None:  # fmt: skip
    what = f"subnet {subnet} of network {network.name} overlaps"
    for record in others:
        for pool in record.all_pools():
            if _overlap(subnet, ip_network(pool.subnet)):
                raise _fault(project, network, f"{what} {pool.subnet} of network {record.name}",
                             "config", number)  # fmt: skip
    for route in taken:
        if route.prefixlen and _overlap(subnet, route):
            raise _fault(project, network, f"{what} the route {route} of this machine",
                         "config", number)  # fmt: skip


def _fault(
    project: Project, network: Network, message: str, *below: str | int, key: str = "ipam"
) -> SpecError:
    return SpecError(message, where=spot(project, "networks", network.key, key, *below))


