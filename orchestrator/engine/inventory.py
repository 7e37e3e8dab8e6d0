"""Images: which the containers use, which the store has, and how more get in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.dataclass import dataclass, field
from orchestrator.engine.images import open_store
from orchestrator.engine.lookup import containers
from orchestrator.engine.workspace import Workspace
from orchestrator.events import Sink
from orchestrator.state.layout import Layout

if TYPE_CHECKING:
    from orchestrator.engine.imagechoice import Choice


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
    store = open_store(workspace.layout)
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
    digests: Mapping[str, str] = field(default_factory=dict)
    """repository -> what it is there, as the registry said."""


def stored_images(choice: Choice | None = None) -> list[StoredImage]:
    """The images of the store that are meant, the newest first."""
    from orchestrator.engine import imagechoice
    from orchestrator.image import reference as references
    from orchestrator.image.distribution import Distribution

    store = open_store(Layout.from_environment())
    found = store.images()
    if choice is not None:
        found = imagechoice.chosen(found, choice, resolve=store.resolve)
    digests: dict[str, dict[str, str]] = {}
    for entry in Distribution(store.root).entries():
        repository = references.parse(entry.name).repository
        digests.setdefault(entry.image, {}).setdefault(repository, entry.digest)
    return [
        StoredImage(id=image.id, names=tuple(image.names()), size=image.size,
                    created=image.created, platform=image.platform,
                    digests=digests.get(image.id, {}))
        for image in found
    ]  # fmt: skip


def load(source: Any, *, sink: Sink) -> list[str]:  # a path, or any object with read()
    """Add what an archive holds; its references."""
    from orchestrator.image import archive

    return archive.load(open_store(Layout.from_environment()), source, sink=sink)


def import_rootfs(
    source: Any, reference: str, *, changes: Sequence[str], comment: str  # as above
) -> str:
    """An image of a root file system; its id."""
    from orchestrator.build import metadata
    from orchestrator.image import archive
    from orchestrator.image.config import ImageConfig

    config = metadata.apply_texts(ImageConfig(), changes)
    store = open_store(Layout.from_environment())
    return archive.import_rootfs(store, source, reference, config=config,
                                 comment=comment or archive.COMMENT).id  # fmt: skip
