"""What is there: containers, images, projects.  Reads records, stores and the kernel; changes
nothing but the image store, by `load` and `import_rootfs`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.engine import images, submit
from orchestrator.engine.lifecycle import check_services, declared_if_any
from orchestrator.engine.workspace import Workspace
from orchestrator.events import Sink, ignore
from orchestrator.state import observe
from orchestrator.state.layout import Layout
from orchestrator.state.observed import ObservedContainer


def containers(
    workspace: Workspace, services: Sequence[str], *, everything: bool
) -> list[ObservedContainer]:
    """By name; running ones, or everything with stopped and one-off ones."""
    observed = workspace.observe()
    check(workspace, services, observed.containers)
    return [
        c for c in observed.containers
        if (not services or c.record.service in services)
        and (everything or c.status.state in ("running", "restarting"))
    ]  # fmt: skip


def check(
    workspace: Workspace, services: Sequence[str], found: Sequence[ObservedContainer]
) -> None:
    """UsageError for a service that neither a container nor the file has."""
    recorded = {c.record.service for c in found}
    if not recorded.issuperset(services):
        declared = declared_if_any(workspace, sink=ignore)
        check_services(services, observed=workspace.observe(), declared=declared)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRow:
    """The image of one container; empty and None where the store has lost it."""

    container: str
    reference: str
    """As written in the file."""
    repository: str
    tag: str
    id: str
    platform: str = ""
    size: int = 0
    created: float | None = None
    tagged: float | None = None


def used_images(workspace: Workspace, services: Sequence[str]) -> list[ImageRow]:
    """One row for each container, by name."""
    store = images.open_store(workspace.layout)
    found = containers(workspace, services, everything=True)
    known = {i: store.resolve(i) for i in {c.record.image_id for c in found} if i}
    rows = []
    for container in found:
        record = container.record
        image = known.get(record.image_id)
        repository, tag = _split(record.image)
        rows.append(ImageRow(
            container=record.name, reference=record.image, repository=repository, tag=tag,
            id=record.image_id, platform=image.platform if image else "",
            size=image.size if image else 0, created=image.created if image else None,
            tagged=image.tagged if image else None,
        ))  # fmt: skip
    return rows


def _split(reference: str) -> tuple[str, str]:
    from orchestrator.image import reference as references

    parsed = references.parse(reference)
    return parsed.repository, parsed.tag or ("" if parsed.digest else "latest")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """One image of the store."""

    id: str
    names: tuple[tuple[str, str], ...]
    """(repository, tag)."""
    size: int
    created: float | None
    platform: str


def stored_images() -> list[StoredImage]:
    """Every image of the store, the newest first."""
    return [
        StoredImage(id=image.id, names=tuple(image.names()), size=image.size,
                    created=image.created, platform=image.platform)
        for image in images.open_store(Layout.from_environment()).images()
    ]  # fmt: skip


def load(source: Any, *, sink: Sink) -> list[str]:  # a path, or any object with read()
    """Add what an archive holds; its references."""
    from orchestrator.image import archive

    return archive.load(images.open_store(Layout.from_environment()), source, sink=sink)


def import_rootfs(source: Any, reference: str, *, changes: Sequence[str]) -> str:  # as above
    """An image of a root file system; its id."""
    from orchestrator.image import archive

    store = images.open_store(Layout.from_environment())
    return archive.import_rootfs(store, source, reference, changes=changes).id


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectRow:
    """One project."""

    name: str
    states: tuple[tuple[str, int], ...]
    """(state, number of containers), by state."""
    config_files: tuple[str, ...]
    supervisor_pid: int
    """0: none runs."""
    keeper_pid: int

    @property
    def is_running(self) -> bool:
        return any(state in ("running", "restarting") for state, _ in self.states)


def projects() -> list[ProjectRow]:
    """Every project that has containers, by name."""
    layout = Layout.from_environment()
    found = (_project(layout, name) for name in observe.projects(layout))
    return [row for row in found if row is not None]


def _project(layout: Layout, name: str) -> ProjectRow | None:
    observed = observe.observe(layout, name)
    counts: dict[str, int] = {}
    for container in observed.containers:
        counts[container.status.state] = counts.get(container.status.state, 0) + 1
    if not counts:
        return None
    info = {}
    if os.path.exists(layout.control_socket(name)):
        info = submit.request(layout, name, "info") or {}
    return ProjectRow(
        name=name, states=tuple(sorted(counts.items())),
        config_files=tuple(observed.project.config_files) if observed.project else (),
        supervisor_pid=_pid(info.get("pid")), keeper_pid=_pid(info.get("keeper_pid")),
    )  # fmt: skip


def _pid(value: object) -> int:
    return value if isinstance(value, int) else 0
