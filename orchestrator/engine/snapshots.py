"""Snapshots: what a project's volumes and containers have in them, kept under a name and brought
back.

Volumes are frozen, not copied (`state.layers`); what a container has written outside of them, which
is little, is.  Whoever uses them is stopped meanwhile, in order and with time to finish, so that a
database is found as after an orderly stop; for a restore they are killed, because what they would
still write is thrown away.  Those that ran are started again, in order.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from orchestrator.dataclass import dataclass
from orchestrator.engine import translate
from orchestrator.engine.lookup import check, selected
from orchestrator.engine.reconcile import Change
from orchestrator.errors import StateError, UsageError
from orchestrator.events import Progress
from orchestrator.plan import teardown
from orchestrator.plan.policy import DownPolicy
from orchestrator.runtime import populate
from orchestrator.state import layers, snapshots, store, volumes
from orchestrator.state.records import SnapshotRecord
from orchestrator.supervisor import protocol

if TYPE_CHECKING:
    from orchestrator.engine.workspace import Workspace
    from orchestrator.events import Sink
    from orchestrator.state.layout import Layout
    from orchestrator.state.observed import Observed, ObservedContainer

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_PARTS = ("upper", "upper-usr")
"""What a container has written: above its image, and above the machine's /usr."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The containers and volumes of a snapshot."""

    containers: tuple[ObservedContainer, ...]
    volumes: dict[str, str]
    """Key in the record -> name of the volume."""


def save(
    workspace: Workspace, name: str, services: Sequence[str], *, sink: Sink
) -> SnapshotRecord:
    """Keep what is now under a name; one of that name is replaced."""
    _check_name(name)
    with Change(workspace, command="snapshot save", sink=sink) as change:
        layout, observed = workspace.layout, workspace.observe()
        subject = _subject(workspace, observed, services)
        with _standing_still(change, observed, subject, timeout=None):
            copies = _Copies(layout, workspace.name)
            copies.make(subject.containers)
            with store.volumes_lock(layout, command="snapshot save"):
                record = SnapshotRecord(
                    name=name, project=workspace.name, created_at=time.time(),
                    volumes={key: list(layers.freeze(layout, volume))
                             for key, volume in subject.volumes.items()},
                    containers=copies.put_in_place(),
                )  # fmt: skip
                path = layout.snapshot(workspace.name, name)
                store.write_json(path, record.to_json())
                snapshots.collect(layout)
    sink(Progress(kind="Snapshot", name=name, text="Saved", status="Done"))
    return record


def restore(
    workspace: Workspace, name: str, services: Sequence[str], *, sink: Sink,
    origin: str | None = None,
) -> None:  # fmt: skip
    """Bring it back; `origin` is the project that has saved it, where that is another one."""
    with Change(workspace, command="snapshot restore", sink=sink) as change:
        layout, observed = workspace.layout, workspace.observe()
        record = read(layout, origin or workspace.name, name)
        subject = _subject(workspace, observed, services)
        with _standing_still(change, observed, subject, timeout=0.0):
            _put_back(layout, record, subject)
    sink(Progress(kind="Snapshot", name=name, text="Restored", status="Done"))


def _put_back(layout: Layout, record: SnapshotRecord, subject: Subject) -> None:
    with store.volumes_lock(layout, command="snapshot restore"):
        for key, volume in subject.volumes.items():
            if key in record.volumes:
                layers.replace(layout, volume, tuple(record.volumes[key]))
        for container in subject.containers:
            copy = record.containers.get(_slot(container))
            if copy is not None:
                _replace_upper(layout, container, layout.frozen(copy))
        snapshots.collect(layout)


def read(layout: Layout, project: str, name: str) -> SnapshotRecord:
    """The snapshot; UsageError where there is none of that name."""
    _check_name(name)
    record = store.read_record(layout.snapshot(project, name), SnapshotRecord)
    if record is None:
        known = ", ".join(record.name for record in snapshots.of_project(layout, project))
        raise UsageError(f'project "{project}" has no snapshot {name!r}',
                         hint=f"it has {known}" if known else "make one: pcompose snapshot save")
    return record


def all_of(layout: Layout, project: str) -> list[SnapshotRecord]:
    """The readable snapshots of a project, by name."""
    return snapshots.of_project(layout, project)


def remove(layout: Layout, project: str, names: Sequence[str]) -> None:
    """Forget them; layers that no volume and no other snapshot has go too."""
    for name in names:
        read(layout, project, name)
    with store.volumes_lock(layout, command="snapshot rm"):
        for name in names:
            store.unlink(layout.snapshot(project, name))
        snapshots.collect(layout)
    _remove_empty(layout.snapshots(project))


def remove_all(layout: Layout, project: str) -> None:
    """Forget all of a project, and its copies that a crash left half-made."""
    remove(layout, project, [record.name for record in snapshots.of_project(layout, project)])
    snapshots.sweep(layout, project)


def _remove_empty(directory: str) -> None:
    try:
        os.rmdir(directory)
    except OSError:
        return


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be the name of a snapshot",
                         hint="letters, digits, `_`, `.` and `-`")  # fmt: skip


def _slot(container: ObservedContainer) -> str:
    return f"{container.record.service}/{container.record.index}"


def _subject(workspace: Workspace, observed: Observed, services: Sequence[str]) -> Subject:
    """The containers of the services, and the project's own volumes that they have.  UsageError
    where a volume is not ours to freeze."""
    check(workspace, services, observed.containers)
    containers = tuple(selected(observed, services))
    if not containers:
        raise UsageError(f'no containers for project "{workspace.name}"',
                         hint="a snapshot is of what `pcompose up` has made")  # fmt: skip
    found: dict[str, str] = {}
    for container in containers:
        for volume in container.record.named_volumes.values():
            record = observed.volumes.get(volume)
            if record is not None and record.project == workspace.name:
                if record.options:
                    raise UsageError(f"volume {volume} is mounted from elsewhere (driver_opts): it "
                                     "cannot be part of a snapshot")  # fmt: skip
                found[record.key] = volume
        for target, volume in container.record.anonymous_volumes.items():
            found[f"{_slot(container)}:{target}"] = volume
    return Subject(containers=containers, volumes=found)


@contextmanager
def _standing_still(
    change: Change, observed: Observed, subject: Subject, *, timeout: float | None
) -> Iterator[None]:
    """No container that has one of the volumes runs inside of the block; who ran runs after it,
    and where all went well is ready."""
    users = _users(change, observed, subject)
    running = tuple(sorted({c.record.service for c in users if c.is_running}))
    if running:
        policy = DownPolicy(services=running, timeout=timeout)
        plan = teardown.stop(observed, policy)
        change.execute([translate.teardown_job(node, observed) for node in plan])
    try:
        yield
    except BaseException:
        _start(change, running, ready=False)
        raise
    _start(change, running, ready=True)


def _users(
    change: Change, observed: Observed, subject: Subject
) -> list[ObservedContainer]:
    """Containers of the project; StateError where one of another project runs with a volume."""
    names = set(subject.volumes.values())
    ids = {container.record.id for container in subject.containers}
    mine = [c for c in observed.containers
            if c.record.id in ids or names.intersection(c.record.volumes())]  # fmt: skip
    for name in names:
        for record in volumes.users(change.layout, name):
            if record.project != change.workspace.name:
                raise StateError(f"volume {name} is used by container {record.name} too",
                                 hint=f"take it down first: pcompose -p {record.project} down")
    return mine


def _start(change: Change, services: tuple[str, ...], *, ready: bool) -> None:
    if not services:
        return
    observed = change.workspace.observe()
    plan = teardown.start(observed, services=services)
    jobs: list[protocol.Job] = [translate.teardown_job(node, observed) for node in plan]
    if ready:
        after = tuple(job.number for job in jobs)
        for name in services:
            jobs.append(protocol.WaitFor(
                number=len(jobs) + 1, after=after, condition="ready", service=name, dependent="",
                containers=tuple(c.record.id for c in observed.of_service(name)),
            ))  # fmt: skip
    change.execute(jobs)


class _Copies:
    """What containers have written, on its way into `frozen`."""

    def __init__(self, layout: Layout, project: str) -> None:
        self._layout, self._project = layout, project
        self._prefix = snapshots.making(project)
        self._made: dict[str, str] = {}

    def make(self, containers: Sequence[ObservedContainer]) -> None:
        """Copy; no lock is needed, nobody else knows of them."""
        snapshots.sweep(self._layout, self._project)
        os.makedirs(self._layout.frozen(""), mode=0o700, exist_ok=True)
        for container in containers:
            id_ = os.urandom(8).hex()
            directory = f"{self._layout.frozen('')}/{self._prefix}{id_}"
            os.mkdir(directory, 0o700)
            source = self._layout.container(container.record.project, container.record.id)
            for part in _PARTS:
                if os.path.isdir(f"{source}/{part}"):
                    _copy(f"{source}/{part}", f"{directory}/{part}")
            self._made[_slot(container)] = id_

    def put_in_place(self) -> dict[str, str]:
        """Under the lock that the record is written under; slot -> layer."""
        base = self._layout.frozen("")
        for id_ in self._made.values():
            os.rename(f"{base}/{self._prefix}{id_}", f"{base}/{id_}")
        return self._made


def _copy(source: str, target: str) -> None:
    """A directory with everything that is in it."""
    os.mkdir(target, 0o700)
    _with_both(source, target, populate.copy_whole)


def _with_both(source: str, target: str, action: Callable[[int, int], None]) -> None:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
    reading, writing = os.open(source, flags), os.open(target, flags)
    try:
        action(reading, writing)
    except OSError as exc:
        raise StateError(f"cannot copy {source}: {exc}") from exc
    finally:
        os.close(reading)
        os.close(writing)


def _replace_upper(layout: Layout, container: ObservedContainer, copy: str) -> None:
    """Each directory is whole at any moment: the new one is made beside it."""
    directory = layout.container(container.record.project, container.record.id)
    for part in _PARTS:
        now, new = f"{directory}/{part}", f"{directory}/{part}.new"
        for path in (new, f"{directory}/{part}.old"):
            if os.path.lexists(path):
                store.remove_tree(path)
        if not os.path.isdir(f"{copy}/{part}"):
            continue
        _copy(f"{copy}/{part}", new)
        if os.path.isdir(now):
            os.rename(now, f"{directory}/{part}.old")
        os.rename(new, now)
        if os.path.lexists(f"{directory}/{part}.old"):
            store.remove_tree(f"{directory}/{part}.old")
