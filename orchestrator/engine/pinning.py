"""Images pinned to a digest, for `config --resolve-image-digests` and `--lock-image-digests`.

The digest is that of the image in the store.  Nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from orchestrator.engine.images import open_store
from orchestrator.errors import ImageError
from orchestrator.image import reference as references
from orchestrator.image.store import Image, ImageStore
from orchestrator.spec.model import Project
from orchestrator.spec.node import Node
from orchestrator.spec.report import Report
from orchestrator.state.layout import Layout


def pinned(layout: Layout, project: Project) -> Project:
    """The project with a digest in every `image` and in the source of every image volume.
    SpecError names each image that is not in the store."""
    tree = project.tree
    services = tree.get("services") if tree else None
    if tree is None or services is None:
        return project
    store, report = open_store(layout), Report(project.reading_dir)
    shown = project.services or services.entries  # uninterpolated, there are no services
    changed = {
        name: _service(node, store, report) if name in shown else node
        for name, node in services.entries.items()
    }
    report.check()
    tree = tree.copy({**tree.entries, "services": services.copy(changed)})
    bound = {
        name: replace(s, image=str(node.value)) if (node := changed[name].get("image")) else s
        for name, s in project.services.items()
    }  # fmt: skip
    return replace(project, tree=tree, services=bound)


def _service(service: Node, store: ImageStore, report: Report) -> Node:
    entries = dict(service.entries)
    image, volumes = service.get("image"), service.get("volumes")
    if image is not None and image.value:
        entries["image"] = _pin(image, store, report)
    if volumes is not None:
        entries["volumes"] = volumes.copy([_volume(item, store, report) for item in volumes.items])
    return service.copy(entries)


def _volume(item: Node, store: ImageStore, report: Report) -> Node:
    kind, source = item.get("type"), item.get("source")
    if kind is None or kind.value != "image" or source is None:
        return item
    return item.copy({**item.entries, "source": _pin(source, store, report)})


def _pin(node: Node, store: ImageStore, report: Report) -> Node:
    text = str(node.value)
    try:
        reference = references.parse(text)
        image = None if reference.digest else store.resolve(text)
    except ImageError as exc:
        report.add(node, exc.message, hint=exc.hint)
        return node
    if reference.digest:
        return node.copy(reference.complete)
    if image is None:
        report.add(node, f"image {text} is not in the store, so its digest is not known",
                   hint="bring it in with `pcompose load`")  # fmt: skip
        return node
    tagged = reference.tagged()
    return node.copy(replace(tagged, digest=_digest(tagged, image)).complete)


def _digest(reference: references.Reference, image: Image) -> str:
    """The digest that the image has under this name where it came with one, else its id."""
    named = (references.parse(text) for text in image.references)
    known = [n.digest for n in named if n.digest and n.name == reference.name]
    return known[0] if known else image.id


def lock(project: Project) -> dict[str, Any]:
    """An override file with the images of a pinned project."""
    return {"services": {name: found for name in project.services
                         if (found := dict(_images(project, name)))}}  # fmt: skip


def _images(project: Project, name: str) -> Iterator[tuple[str, Any]]:
    node = project.tree.get("services", name) if project.tree else None
    if node is None:
        return
    if image := node.get("image"):
        yield "image", image.value
    volumes = node.get("volumes")
    found = [
        {key: child.value for key in ("type", "source", "target") if (child := item.get(key))}
        for item in (volumes.items if volumes else ())
        if (kind := item.get("type")) and kind.value == "image"
    ]  # fmt: skip
    if found:
        yield "volumes", found
