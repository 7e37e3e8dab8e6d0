"""Volumes of this machine: listed, made for `external: true`, removed, pruned."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.dataclass import dataclass
from orchestrator.errors import StateError
from orchestrator.image import removal
from orchestrator.state import driveropts, layout, volumes
from orchestrator.state.records import VolumeRecord

if TYPE_CHECKING:
    from orchestrator.engine.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRow:
    """One volume."""

    name: str
    project: str
    """Empty: made by hand."""
    anonymous: bool
    created: float
    labels: Mapping[str, str]
    options: Mapping[str, str]
    mountpoint: str
    containers: tuple[str, ...]
    """Names of those of any project that have it."""


def _layout() -> layout.Layout:
    return layout.Layout.from_environment()


def rows(where: layout.Layout | None = None) -> list[VolumeRow]:
    """Every volume by name."""
    where = where or _layout()
    users: dict[str, list[str]] = {}
    for record in volumes.containers(where):
        for name in {*record.named_volumes.values(), *record.anonymous_volumes.values()}:
            users.setdefault(name, []).append(record.name)
    return [
        VolumeRow(
            name=v.name, project=v.project, anonymous=v.anonymous, created=v.created_at,
            labels=v.labels, options=v.options, mountpoint=where.volume_data(v.name),
            containers=tuple(sorted(users.get(v.name, ()))),
        )
        for v in volumes.all_volumes(where).values()
    ]  # fmt: skip


def of_project(workspace: Workspace, services: Sequence[str]) -> list[VolumeRow]:
    """Those that the project made; with `services` those that their containers have."""
    found = rows(workspace.layout)
    if not services:
        return [row for row in found if row.project == workspace.name]
    from orchestrator.engine.lookup import containers

    used = {
        name for c in containers(workspace, services, everything=True)
        for name in (*c.record.named_volumes.values(), *c.record.anonymous_volumes.values())
    }  # fmt: skip
    return [row for row in found if row.name in used]


def chosen(names: Iterable[str]) -> list[VolumeRow]:
    """The named volumes in that order; StateError for the first that is not there."""
    known = {row.name: row for row in rows()}
    for name in names:
        if name not in known:
            raise StateError(f"no such volume: {name}")
    return [known[name] for name in names]


def create(name: str, *, labels: Mapping[str, str], options: Mapping[str, str]) -> None:
    """Make a volume that no project owns; StateError where the name is taken."""
    where = _layout()
    if name in volumes.all_volumes(where):
        raise StateError(f"volume {name} is there already")
    if options:
        try:
            driveropts.mounts(options)
        except ValueError as exc:
            raise StateError(f"cannot make volume {name}: {exc}") from exc
    volumes.create(where, VolumeRecord(
        name=name, key="", project="", anonymous=False, created_at=time.time(), config_hash="",
        labels=dict(labels), options=dict(options),
    ))  # fmt: skip


def remove(name: str) -> None:
    """Remove a volume with its data; StateError where it is not there, or a container has it."""
    where = _layout()
    if not os.path.isdir(where.volume(name)):
        raise StateError(f"no such volume: {name}")
    volumes.remove(where, name)


def prunable(*, named: bool) -> list[VolumeRow]:
    """What `prune` would remove: volumes no container has; `named`: not only anonymous ones."""
    return [row for row in rows() if not row.containers and (named or row.anonymous)]


def prune(found: Iterable[VolumeRow]) -> tuple[list[str], int]:
    """Remove those volumes; (names, bytes).  What somebody uses meanwhile stays."""
    where, removed, total = _layout(), [], 0
    for row in found:
        size = 0 if row.options else removal.tree_size(row.mountpoint)
        try:
            volumes.remove(where, row.name)
        except StateError:
            continue
        removed.append(row.name)
        total += size
    return removed, total
