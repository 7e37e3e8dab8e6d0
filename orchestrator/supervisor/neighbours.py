"""Neighbours: containers of other projects on our networks, and the names they have there.

Each project has its own supervisor, so what the others run is read from their records, anew for
each question: a name is right the moment its container runs.  Only networks that are shared are
looked at.  What was read is kept as long as the files are the same.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.errors import StateError
from orchestrator.state import observe, store
from orchestrator.state.records import ContainerRecord, ContainerStatus, NetworkRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.state.layout import Layout

Stamp = tuple[int, int]
"""What changes whenever a file is written anew: records are replaced whole."""


class _Place(NamedTuple):
    """A container's place on one network."""

    names: frozenset[str]
    addresses: tuple[str, ...]


class Neighbours:
    """The other projects, as one supervisor sees them."""

    def __init__(self, layout: Layout, project: str, boot_id: str) -> None:
        self._layout, self._project, self._boot_id = layout, project, boot_id
        self._networks: dict[str, tuple[Stamp, frozenset[str]]] = {}
        """network -> the other projects on it"""
        self._places: dict[str, tuple[str, dict[str, _Place]]] = {}
        """container -> (name, network -> place); a record is never rewritten"""
        self._statuses: dict[str, tuple[Stamp, ContainerStatus]] = {}

    def addresses(self, network: str, name: str) -> list[str]:
        """The addresses of running neighbours that are called `name` (in small letters)."""
        found: list[str] = []
        for _, place in self._on(network):
            if name in place.names:
                found += place.addresses
        return found

    def reverse(self, network: str, address: str) -> str | None:
        """The name of the neighbour at an address."""
        return next((name for name, place in self._on(network) if address in place.addresses), None)

    def _on(self, network: str) -> Iterator[tuple[str, _Place]]:
        for project in self._projects(network):
            for id_ in observe.container_ids(self._layout, project):
                name, places = self._placed(project, id_)
                if network in places and self._runs(project, id_):
                    yield name, places[network]

    def _projects(self, network: str) -> frozenset[str]:
        path = self._layout.network_record(network)
        stamp = _stamp(path)
        known = self._networks.get(network)
        if stamp is None or known is None or known[0] != stamp:
            record = _read(path, NetworkRecord)
            leases = (*record.leases, *record.leases6) if record else ()
            projects = {lease.partition("/")[0] for lease in leases if "/" in lease}
            known = (stamp or (0, 0), frozenset(projects - {self._project}))
            self._networks[network] = known
        return known[1]

    def _placed(self, project: str, id_: str) -> tuple[str, dict[str, _Place]]:
        if id_ not in self._places:
            record = _read(self._layout.container_record(project, id_), ContainerRecord)
            if record is None:
                return "", {}
            self._places[id_] = record.name, {
                str(end["network"]): _Place(
                    frozenset(name.lower() for name in end["names"]),
                    tuple(a for a in (end["address"], end.get("address6")) if a),
                )
                for end in record.spec.get("endpoints", ())
            }  # fmt: skip
        return self._places[id_]

    def _runs(self, project: str, id_: str) -> bool:
        path = self._layout.container_status(project, id_)
        stamp = _stamp(path)
        if stamp is None:
            self._places.pop(id_, None)
            return False
        known = self._statuses.get(id_)
        if known is None or known[0] != stamp:
            status = _read(path, ContainerStatus)
            if status is None:
                return False
            known = self._statuses[id_] = (stamp, status)
        status = known[1]
        return status.state == "running" and observe.is_alive(status, boot_id=self._boot_id)


def _stamp(path: str) -> Stamp | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


def _read(path: str, cls: type[store.Record]) -> store.Record | None:
    try:
        return store.read_record(path, cls)
    except StateError:
        return None
