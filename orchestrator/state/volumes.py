"""Volume directories: made, mounted, listed, removed; never one that a container of any project
names.

    DATA/volumes/NAME/volume.json    the record
    DATA/volumes/NAME/_data          what containers see
    DATA/volumes/NAME/.removed-…     data on its way out
    DATA/volumes.lock                held while a container gets its volumes, or one is removed

Removal takes `_data` away by one rename before it deletes anything, so a crash half-way leaves no
volume with half of its files: it is there or it is gone.  A volume with options (`driver_opts`) has
what they name mounted at `_data`, from its first container on until its last one is removed; what
lies there is not ours, and is never deleted.  So is one that was part of a snapshot: see
`state.layers`.  Knows nothing of plans.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator

from orchestrator.errors import StateError
from orchestrator.linux import syscalls
from orchestrator.state import driveropts, layers, observe, snapshots, store
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
    return read(layout, name) is not None


def read(layout: Layout, name: str) -> VolumeRecord | None:
    """The record of a volume; None where there is none that can be read."""
    try:
        return store.read_record(layout.volume_record(name), VolumeRecord)
    except StateError:
        return None


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
    with store.volumes_lock(layout, command="removal of a volume"):
        user = next(users(layout, name), None)
        if user is not None:
            raise StateError(
                f"cannot remove volume {name}: container {user.name} uses it",
                hint=f"remove it first: pcompose -p {user.project} down",
            )
        data, has_layers = layout.volume_data(name), os.path.exists(layout.volume_stack(name))
        layers.unmount(data)
        try:
            os.rename(data, f"{layout.volume(name)}/.removed-{os.urandom(4).hex()}")
        except FileNotFoundError:
            pass
        except OSError as exc:
            raise StateError(f"cannot remove {data}: {exc.strerror}") from exc
        store.unlink(layout.volume_record(name))
        store.unlink(layout.volume_stack(name))
        if has_layers:
            snapshots.collect(layout)
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
    for record in containers(layout):
        if name in record.named_volumes.values() or name in record.anonymous_volumes.values():
            yield record


def containers(layout: Layout) -> Iterator[ContainerRecord]:
    """The readable records of all containers of all projects."""
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


# What the options of a volume name


def mount_all(layout: Layout, names: Iterable[str]) -> None:
    """Mount what the options of these volumes name, or the layers they are made of, where it is
    not mounted; StateError."""
    for name in names:
        record = read(layout, name)
        if record is not None and record.options:
            _mount(layout, record)
        elif layers.read(layout, name) is not None:
            layers.mount(layout, name)


def _mount(layout: Layout, record: VolumeRecord) -> None:
    data = layout.volume_data(record.name)
    with store.volumes_lock(layout, command="mounting of a volume"):
        if layers.is_mounted(data):
            return
        try:
            for step in driveropts.mounts(record.options):
                syscalls.mount(step.source, data, step.fstype, step.flags, step.data)
        except (OSError, ValueError) as exc:
            layers.unmount(data)
            raise StateError(_refusal(record, exc)) from exc


def _refusal(record: VolumeRecord, exc: OSError | ValueError) -> str:
    options = ", ".join(f"{key}={value}" for key, value in sorted(record.options.items()))
    reason = exc.strerror if isinstance(exc, OSError) else exc
    if isinstance(exc, OSError) and exc.errno == errno.ENODEV:
        reason = f"this kernel has no file system {record.options.get('type')}"
    return f"cannot mount volume {record.name} ({options}): {reason}"


def unmount_unused(layout: Layout, names: Iterable[str]) -> None:
    """Undo `mount_all` for volumes that no container has any more."""
    for name in names:
        record = read(layout, name)
        if record is None or not (record.options or layers.read(layout, name)):
            continue
        with store.volumes_lock(layout, command="unmounting of a volume"):
            if next(users(layout, name), None) is None:
                layers.unmount(layout.volume_data(name))
