"""Observed: a complete, frozen snapshot of what is; the type that planning reads."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.dataclass import dataclass, field
from orchestrator.names import LABEL_CONFIG_FILES
from orchestrator.state.records import (
    ContainerRecord,
    ContainerStatus,
    NetworkRecord,
    ProjectRecord,
    VolumeRecord,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedContainer:
    """A record with a status that has been checked against the kernel."""

    record: ContainerRecord
    status: ContainerStatus

    @property
    def is_running(self) -> bool:
        return self.status.state == "running"

    @property
    def files(self) -> frozenset[str]:
        """The Compose files it was made from."""
        return frozenset(filter(None, self.record.labels.get(LABEL_CONFIG_FILES, "").split(",")))


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedNetwork:
    """A record and whether its interface is there."""

    record: NetworkRecord
    exists: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """All of one project, and what else of the machine its files may name."""

    project: ProjectRecord | None
    name: str = ""
    """Of the project, also where its record is lost."""
    containers: tuple[ObservedContainer, ...] = ()
    """Every container of the project, one-offs and duplicates included; by name, then oldest
    first."""
    networks: Mapping[str, ObservedNetwork] = field(default_factory=dict)
    """All networks of the machine by name."""
    volumes: Mapping[str, VolumeRecord] = field(default_factory=dict)
    """All volumes of the machine by name."""
    broken: tuple[str, ...] = ()
    """Ids of container directories without a readable record: leftovers, to be removed."""
    files: frozenset[str] = frozenset()
    """Those Compose files the containers were made from that are still there."""

    def of_service(self, service: str) -> tuple[ObservedContainer, ...]:
        """Its replicas, one-offs excluded; by index, then oldest first."""
        found = [c for c in self.containers if c.record.service == service and not c.record.oneoff]
        return tuple(sorted(found, key=lambda c: (c.record.index, c.record.created_at)))
