"""Networks of this machine: listed, made for `external: true`, removed, pruned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from orchestrator import __version__, names
from orchestrator.dataclass import dataclass
from orchestrator.engine import allocate, subnets
from orchestrator.errors import NetworkError
from orchestrator.state import store, volumes
from orchestrator.state.layout import Layout

if TYPE_CHECKING:
    from orchestrator.spec.model import Network
    from orchestrator.state.records import ContainerRecord, NetworkRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A container on a network, running or not."""

    id: str
    name: str
    project: str
    mac: str
    address: str
    """`ADDRESS/PREFIX`, or empty; so with `address6`."""
    address6: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRow:
    """One network."""

    record: NetworkRecord
    members: tuple[Member, ...]

    @property
    def id(self) -> str:
        """64 hexadecimal digits of its name: there is one network of each."""
        return sha256(self.record.name.encode()).hexdigest()


def rows() -> list[NetworkRow]:
    """Every network by name."""
    layout = Layout.from_environment()
    members: dict[str, list[Member]] = {}
    for record in volumes.containers(layout):
        for end in record.spec.get("endpoints", ()):
            members.setdefault(end["network"], []).append(_member(record, end))
    return [
        NetworkRow(record=record, members=tuple(sorted(members.get(name, ()), key=_by_name)))
        for name, record in sorted(allocate.records(layout).items())
    ]


def _by_name(member: Member) -> str:
    return member.name


def _member(record: ContainerRecord, end: Mapping[str, Any]) -> Member:
    def whole(address: str, prefix: str) -> str:
        return f"{end[address]}/{end[prefix]}" if end.get(address) else ""

    return Member(
        id=record.id, name=record.name, project=record.project, mac=end["mac"],
        address=whole("address", "prefix"), address6=whole("address6", "prefix6"),
    )  # fmt: skip


def chosen(wanted: Iterable[str]) -> list[NetworkRow]:
    """The named networks in that order; NetworkError for the first that is not there."""
    known = {row.record.name: row for row in rows()}
    for name in wanted:
        if name not in known:
            raise NetworkError(f"no such network: {name}")
    return [known[name] for name in wanted]


def create(network: Network) -> str | None:
    """Make a network that no project owns; a warning or None.  NetworkError where the name is
    taken, SpecError where it asks for what cannot be."""
    from orchestrator.network.routes import live_routes
    from orchestrator.spec.model import Project
    from orchestrator.supervisor import bridges

    layout = Layout.from_environment()
    nowhere = Project(name="", working_dir="/", files=(), services={})
    labels = {**network.labels, names.LABEL_VERSION: __version__}
    with store.networks_lock(layout, command="pcompose network create"):
        known = allocate.records(layout)
        if network.name in known:
            raise NetworkError(f"network {network.name} is there already")
        record = subnets.network_record(
            network, project=nowhere, known=known, routes=live_routes, labels=labels,
            machine=allocate.machine_id(),
        )  # fmt: skip
        store.save_network(layout, record)
    try:
        return bridges.create(layout, record)
    except BaseException:
        store.forget_network(layout, record.name)
        raise


def remove(name: str) -> None:
    """Remove a network; NetworkError where it is not there, or a container is on it."""
    from orchestrator.supervisor import bridges

    row = chosen([name])[0]
    if row.members:
        user = row.members[0]
        raise NetworkError(
            f"cannot remove network {name}: container {user.name} is on it",
            hint=f"remove it first: pcompose -p {user.project} down",
        )
    layout = Layout.from_environment()
    if not row.record.project:
        bridges.remove(layout, row.record)
        return
    # nobody may be bringing its project up meanwhile
    with store.project_lock(layout, row.record.project, command="pcompose network", wait=False):
        bridges.remove(layout, row.record)
    store.forget_project(layout, row.record.project)


def prune(found: Iterable[NetworkRow]) -> list[str]:
    """Remove those networks; names.  What somebody uses meanwhile stays."""
    removed = []
    for row in found:
        try:
            remove(row.record.name)
        except NetworkError:
            continue
        removed.append(row.record.name)
    return removed


def prunable() -> list[NetworkRow]:
    """Networks that no container is on."""
    return [row for row in rows() if not row.members]
