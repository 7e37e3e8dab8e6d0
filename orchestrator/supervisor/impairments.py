"""Impairments: the faults that somebody has put on a project's network, for tests.

What is asked for lies in a file of the run directory, which goes with the last container: so a
fault outlives a supervisor and a restarted container, and `down` heals all.  Each change compares
what every running container's links should suffer with what they do.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from orchestrator.dataclass import replace
from orchestrator.errors import NetworkError, PcomposeError, StateError
from orchestrator.network import interposing
from orchestrator.network.impairment import HOST, Rule
from orchestrator.network.relay import Crossing, Relay
from orchestrator.runtime import isolation
from orchestrator.state import store
from orchestrator.supervisor import faults

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.runtime.spec import Endpoint
    from orchestrator.supervisor.lanes import Lane
    from orchestrator.supervisor.project import Project

Fault = dict[str, Any]
"""{id, kind, services, value}: JSON, as `engine.faulting` makes it."""
_Place = tuple[str, int]
"""(container, number of the link)."""


class Impairments:
    """The faults of one project, and the links that suffer them."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._path = project.layout.faults(project.name)
        self._faults: list[Fault] = []
        self._crossings: dict[_Place, Crossing] = {}
        self._relay: Relay | None = None

    def load(self) -> None:
        """At the start of a supervisor: what was asked for holds again."""
        try:
            self._faults = list((store.read_json(self._path) or {}).get("faults", ()))
        except StateError as exc:
            faults.note(f"faults are forgotten: {exc.message}")
        self.renew()

    def active(self) -> list[Fault]:
        """Those that hold, the oldest first."""
        return list(self._faults)

    def add(self, fault: Fault) -> Fault:
        """Let it hold from now on; with its id.  NetworkError where a link cannot suffer it."""
        number = max((int(one["id"]) for one in self._faults), default=0) + 1
        self._faults.append(fault := {**fault, "id": str(number)})
        self._save()
        try:
            self._renew()
        except PcomposeError:
            self.heal([fault["id"]])
            raise
        return fault

    def heal(self, ids: Iterable[str] | None = None) -> list[Fault]:
        """End those faults, or all; those that have ended."""
        wanted = None if ids is None else set(ids)
        ended = [one for one in self._faults if wanted is None or one["id"] in wanted]
        self._faults = [one for one in self._faults if one not in ended]
        self.renew()
        self._save()
        return ended

    def renew(self) -> None:
        """As `_renew`, where nobody waits for an error."""
        try:
            self._renew()
        except PcomposeError as exc:
            faults.note(exc.message)

    def release(self, container: str) -> None:
        """It has ended, and its links with it."""
        for place in [place for place in self._crossings if place[0] == container]:
            self._close(place)

    def _save(self) -> None:
        if self._faults:
            store.write_json(self._path, {"faults": self._faults})
        elif os.path.exists(self._path):
            store.unlink(self._path)

    def _renew(self) -> None:
        """Rules for every link that is to suffer, none for the others."""
        wanted = self._wanted() if self._faults else {}
        for place, (lane, end, rules) in wanted.items():
            if place not in self._crossings:
                self._interpose(place, lane, end)
            self._crossings[place].line.rules = rules
        for place in [place for place in self._crossings if place not in wanted]:
            self._restore(place)

    def _wanted(self) -> dict[_Place, tuple[Lane, Endpoint, tuple[Rule, ...]]]:
        found: dict[_Place, tuple[Lane, Endpoint, tuple[Rule, ...]]] = {}
        for lane in self._project.lanes.values():
            if not lane.status.pid or not isolation.is_own(lane.spec.namespaces.network):
                continue
            rules = tuple(self._rules(lane))
            if rules:
                found |= {(lane.id, number): (lane, end, rules)
                          for number, end in enumerate(lane.spec.endpoints)}
        return found

    def _rules(self, lane: Lane) -> Iterable[Rule]:
        for fault in self._faults:
            others: list[str] = list(fault["services"])
            concerns_host = HOST in others and not self._addresses([HOST])
            if concerns_host:
                others.remove(HOST)
            is_between = len(fault["services"]) > 1
            if lane.record.service in others:
                others.remove(lane.record.service)
            elif not concerns_host or is_between:
                continue
            kind, value = fault["kind"], float(fault["value"])
            if concerns_host:
                yield _rule(kind, value, self._addresses(), is_about_others=True)
            if not is_between and not concerns_host:
                yield _rule(kind, value, None)
            elif peers := self._addresses(others, beside=lane):
                yield _rule(kind, value, peers)

    def _addresses(
        self, services: Iterable[str] | None = None, *, beside: Lane | None = None
    ) -> frozenset[bytes]:
        """Those of the containers of the services, or of the project; without one of them."""
        return frozenset(
            address for lane in self._project.lanes.values() if lane is not beside
            if services is None or lane.record.service in services
            for end in lane.spec.endpoints for address in _packed(end)
        )  # fmt: skip

    def _interpose(self, place: _Place, lane: Lane, end: Endpoint) -> None:
        crossing = interposing.interpose(lane.status.pid, end, container=lane.id, index=place[1],
                                         hairpin=bool(lane.spec.ports))  # fmt: skip
        self._crossings[place] = crossing
        if self._relay is None:
            self._relay = Relay()
        self._relay.add(crossing)

    def _restore(self, place: _Place) -> None:
        lane = self._project.lanes.get(place[0])
        if lane is not None and lane.status.pid:
            interposing.restore(lane.status.pid, lane.spec.endpoints[place[1]], container=lane.id,
                                index=place[1], hairpin=bool(lane.spec.ports))  # fmt: skip
        self._close(place)

    def _close(self, place: _Place) -> None:
        crossing = self._crossings.pop(place)
        if self._relay is not None:
            self._relay.close(crossing)


def _packed(end: Endpoint) -> list[bytes]:
    families = ((socket.AF_INET, end.address), (socket.AF_INET6, end.address6))
    return [socket.inet_pton(family, address) for family, address in families if address]


def _rule(
    kind: str, value: float, peers: frozenset[bytes] | None, *, is_about_others: bool = False
) -> Rule:
    """Between two services each end deals with what it sends; where the other end is not ours, and
    where all is cut, both directions are its own."""
    is_ours = peers is not None and not is_about_others
    directions: tuple[Any, ...] = ("out",) if is_ours else ("out", "in")
    about = Rule(peers=peers, is_about_others=is_about_others, directions=directions)
    if kind == "partition":
        return replace(about, cut=True, directions=("out", "in"))
    if kind == "loss":
        return replace(about, loss=value)
    if kind == "rate":
        return replace(about, rate=value)
    if kind == "latency":
        return replace(about, delay=value)
    raise NetworkError(f"no fault is called {kind!r}")
