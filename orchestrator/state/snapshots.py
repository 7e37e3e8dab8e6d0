"""Snapshot records on disk, and the layers that are still of use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orchestrator.errors import StateError
from orchestrator.state import layers, store
from orchestrator.state.records import SnapshotRecord

if TYPE_CHECKING:
    from orchestrator.state.layout import Layout


def of_project(layout: Layout, project: str) -> list[SnapshotRecord]:
    """The readable snapshots of a project, by name."""
    found = []
    for entry in store.scan(layout.snapshots(project)):
        try:
            record = store.read_record(entry.path, SnapshotRecord)
        except StateError:
            continue
        if record is not None:
            found.append(record)
    return found


def collect(layout: Layout) -> None:
    """Remove the layers that no volume and no snapshot has.  Hold `volumes_lock`.  Nothing is
    removed where a snapshot cannot be read, for its layers are not known: StateError."""
    kept: set[str] = set()
    for project in store.scan(f"{layout.data}/snapshots"):
        for entry in store.scan(project.path):
            record = store.read_record(entry.path, SnapshotRecord)
            if record is not None:
                kept.update(record.containers.values())
                kept.update(id_ for ids in record.volumes.values() for id_ in ids)
    layers.collect(layout, kept=kept)


def sweep(layout: Layout, project: str) -> None:
    """Remove the copies that a crash left half-made; under the project's lock."""
    try:
        with os.scandir(layout.frozen("")) as entries:
            found = [e.path for e in entries if e.name.startswith(making(project))]
    except FileNotFoundError:
        return
    for path in found:
        store.remove_tree(path)


def making(project: str) -> str:
    """What the names of copies begin with as long as they are no layers."""
    return f".{project}."
