"""From records and the kernel's word to `Observed`.  Needs no supervisor and changes nothing.

A status that says `running` is believed only while a process of that pid and start time lives.
Directories may vanish while we look (a `down` next door): what has gone was never there.
"""

from __future__ import annotations

import _socket
import os
from collections.abc import Iterator

from orchestrator.dataclass import replace
from orchestrator.errors import StateError
from orchestrator.linux import procfs
from orchestrator.names import is_project_name
from orchestrator.state import store
from orchestrator.state.layout import Layout
from orchestrator.state.observed import Observed, ObservedContainer, ObservedNetwork
from orchestrator.state.records import (
    ContainerRecord,
    ContainerStatus,
    NetworkRecord,
    ProjectRecord,
    VolumeRecord,
)


def observe(layout: Layout, project: str) -> Observed:
    """Everything of `project`, and the networks and volumes of the machine."""
    boot = procfs.boot_id()
    found, broken = [], []
    for id_ in container_ids(layout, project):
        try:
            container = observe_container(layout, project, id_, boot_id=boot)
        except StateError:
            container = None
        if container is not None:
            found.append(container)
        elif os.path.isdir(layout.container(project, id_)):
            broken.append(id_)
    found.sort(key=lambda c: (c.record.name, c.record.created_at, c.record.id))
    return Observed(
        project=_project(layout, project),
        name=project,
        containers=tuple(found),
        networks={n.record.name: n for n in networks(layout)},
        volumes={v.name: v for v in volumes(layout)},
        broken=tuple(broken),
        files=frozenset(filter(os.path.isfile, {file for c in found for file in c.files})),
    )


def projects(layout: Layout) -> list[str]:
    """Names of the projects that have a record or containers."""
    return [e.name for e in store.scan(layout.projects()) if _is_project(layout, e)]


def _is_project(layout: Layout, entry: os.DirEntry[str]) -> bool:
    if not is_project_name(entry.name) or not entry.is_dir(follow_symlinks=False):
        return False
    if os.path.exists(layout.project_record(entry.name)):
        return True
    return bool(container_ids(layout, entry.name))


def container_ids(layout: Layout, project: str) -> list[str]:
    """The names of a project's container directories, readable or not."""
    entries = store.scan(layout.containers(project))
    return [e.name for e in entries if e.is_dir(follow_symlinks=False)]


def observe_container(
    layout: Layout, project: str, id_: str, *, boot_id: str
) -> ObservedContainer | None:
    """One container with its true status; None where it has no record, StateError where the
    record is not one of this project and id."""
    path = layout.container_record(project, id_)
    record = store.read_record(path, ContainerRecord)
    if record is None:
        return None
    if record.id != id_ or record.project != project:
        raise StateError(f"cannot read {path}: it speaks of another container")
    return ObservedContainer(
        record=record, status=true_status(layout, project, id_, boot_id=boot_id)
    )


def true_status(layout: Layout, project: str, id_: str, *, boot_id: str) -> ContainerStatus:
    """The status on disk, corrected by what the kernel says."""
    try:
        status = store.read_record(layout.container_status(project, id_), ContainerStatus)
    except StateError as exc:
        # only a power cut tears a status, and that ended the process too
        return ContainerStatus(state="exited", error=exc.message)
    if status is None:
        return ContainerStatus(state="created")
    if status.state == "running" and not is_alive(status, boot_id=boot_id):
        return _exited(layout, project, id_, status)
    if status.state == "restarting" and status.boot_id != boot_id:
        return replace(status, state="exited")
    return status


def is_alive(status: ContainerStatus, *, boot_id: str) -> bool:
    """Whether the process that the status names lives, in this boot."""
    if status.boot_id != boot_id or status.pid <= 0:
        return False
    return procfs.start_time(status.pid) == status.start_time


def _exited(layout: Layout, project: str, id_: str, status: ContainerStatus) -> ContainerStatus:
    """`status` as it would read had a supervisor seen the exit; the keeper's note is believed if
    it is about the same process."""
    gone = replace(status, state="exited", exit_code=None, health="", ports=[])
    try:
        note = store.read_json(layout.container_exit(project, id_))
    except StateError:
        note = None
    if note is None or (note.get("pid"), note.get("start_time")) != (status.pid, status.start_time):
        return gone
    code, time = note.get("exit_code"), note.get("time")
    return replace(
        gone,
        exit_code=code if isinstance(code, int) else None,
        oom_killed=note.get("oom_killed") is True,
        finished_at=float(time) if isinstance(time, int | float) else status.finished_at,
    )


def networks(layout: Layout) -> Iterator[ObservedNetwork]:
    """Every network of the machine that has a readable record."""
    for entry in store.scan(layout.networks()):
        name = entry.name.removesuffix(".json")
        if name == entry.name:
            continue
        try:
            record = store.read_record(entry.path, NetworkRecord)
        except StateError:
            continue  # the bridge is made again under the same name, and the record with it
        if record is not None and record.name == name:
            yield ObservedNetwork(record=record, exists=interface_exists(record.bridge))


def interface_exists(name: str) -> bool:
    """Whether there is an interface of that name in our network namespace.  Not by sysfs: a /sys
    shows the namespace of whoever mounted it."""
    try:
        _socket.if_nametoindex(name)
    except (OSError, ValueError):
        return False
    return True


def volumes(layout: Layout) -> Iterator[VolumeRecord]:
    """Every volume of the machine that has a readable record and its data directory."""
    for entry in store.scan(layout.volumes()):
        try:
            record = store.read_record(layout.volume_record(entry.name), VolumeRecord)
        except StateError:
            continue  # its data is kept: `volumes.create` writes a new record over it
        if record is None or record.name != entry.name:
            continue
        if os.path.isdir(layout.volume_data(entry.name)):
            yield record


def _project(layout: Layout, project: str) -> ProjectRecord | None:
    try:
        record = store.read_record(layout.project_record(project), ProjectRecord)
    except StateError:
        return None  # written again by the next up; containers and networks name the project too
    return record if record is not None and record.name == project else None
