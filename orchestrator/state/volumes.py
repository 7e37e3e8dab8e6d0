"""Volume directories: made, listed, removed; never one that a container of any project names.

    DATA/volumes/NAME/volume.json    the record
    DATA/volumes/NAME/_data          what containers see
    DATA/volumes/NAME/.removed-…     data on its way out

Removal takes `_data` away by one rename before it deletes anything, so a crash half-way leaves no
volume with half of its files: it is there or it is gone.  Knows nothing of mounts or plans.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from orchestrator.errors import StateError
from orchestrator.state import observe, store
from orchestrator.state.layout import Layout
from orchestrator.state.records import ContainerRecord, VolumeRecord


def create(layout: Layout, record: VolumeRecord) -> str:
    """Make the volume if it is not there, and give its data directory.  A volume that is there
    keeps its data and its record."""
    data = layout.volume_data(record.name)
    store.make_directory(layout.volume(record.name))
    if not os.path.isdir(data) or not _has_record(layout, record.name):
        _make_data(data)
        store.write_json(layout.volume_record(record.name), record.to_json())
    _sweep(layout, record.name)
    return data


def _has_record(layout: Layout, name: str) -> bool:
    try:
        return store.read_record(layout.volume_record(name), VolumeRecord) is not None
    except StateError:
        return False


def _make_data(path: str) -> None:
    """The umask must not decide who may look into a volume."""
    try:
        os.mkdir(path, 0o755)
        os.chmod(path, 0o755)
    except FileExistsError:
        return
    except OSError as exc:
        raise StateError(f"cannot make the directory {path}: {exc.strerror}") from exc


def remove(layout: Layout, name: str) -> None:
    """Remove the volume with its data; nothing where it is absent; StateError naming the container
    that still uses it."""
    user = next(users(layout, name), None)
    if user is not None:
        raise StateError(
            f"cannot remove volume {name}: container {user.name} uses it",
            hint=f"remove it first: pcompose -p {user.project} down",
        )
    data = layout.volume_data(name)
    try:
        os.rename(data, f"{layout.volume(name)}/.removed-{os.urandom(4).hex()}")
    except FileNotFoundError:
        pass
    except OSError as exc:
        raise StateError(f"cannot remove {data}: {exc.strerror}") from exc
    store.unlink(layout.volume_record(name))
    store.remove_tree(layout.volume(name))


def _sweep(layout: Layout, name: str) -> None:
    """What an interrupted removal left of former data."""
    for entry in os.listdir(layout.volume(name)):
        if entry.startswith(".removed-"):
            store.remove_tree(f"{layout.volume(name)}/{entry}")


def all_volumes(layout: Layout) -> dict[str, VolumeRecord]:
    """Every volume of the machine by name."""
    return {record.name: record for record in observe.volumes(layout)}


def users(layout: Layout, name: str) -> Iterator[ContainerRecord]:
    """The containers of any project, running or not, that have the volume."""
    for record in _records(layout):
        if name in record.named_volumes.values() or name in record.anonymous_volumes.values():
            yield record


def _records(layout: Layout) -> Iterator[ContainerRecord]:
    for project in store.scan(layout.projects()):
        for id_ in observe.container_ids(layout, project.name):
            record = _readable(layout, project.name, id_)
            if record is not None:
                yield record


def _readable(layout: Layout, project: str, id_: str) -> ContainerRecord | None:
    try:
        return store.read_record(layout.container_record(project, id_), ContainerRecord)
    except StateError:
        return None  # broken: it can never run again
