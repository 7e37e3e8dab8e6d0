"""Images pinned to a digest, for `config --resolve-image-digests` and `--lock-image-digests`.

The digest is that of the image in the store; a registry is asked for what is not there.  No image
is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from orchestrator.dataclass import replace
from orchestrator.engine.images import open_store
from orchestrator.errors import ImageError
from orchestrator.image import reference as references
from orchestrator.image.distribution import Distribution
from orchestrator.image.store import Image
from orchestrator.spec.model import Project
from orchestrator.spec.node import Node
from orchestrator.spec.report import Report

if TYPE_CHECKING:
    from orchestrator.engine.workspace import Workspace
    from orchestrator.image.registry.client import Session


class _Digests:
    """Where digests come from."""

    def __init__(self, workspace: Workspace, stack: ExitStack) -> None:
        self._choice, self._stack = workspace.choice, stack
        self._store = open_store(workspace.layout)
        self._session: Session | None = None

    def of(self, reference: references.Reference) -> str:
        """The digest that a name without one stands for.  ImageError."""
        image = self._store.resolve(reference.familiar)
        return self._known(reference, image) if image else self._asked(reference)

    def _known(self, reference: references.Reference, image: Image) -> str:
        """The digest that the image has under this name where it came with one, else its id."""
        named = (references.parse(text) for text in image.references)
        known = [n.digest for n in named if n.digest and n.name == reference.name]
        known += [entry.digest for entry in Distribution(self._store.root).entries(image.id)
                  if entry.name == reference.name]  # fmt: skip
        return known[0] if known else image.id

    def _asked(self, reference: references.Reference) -> str:
        from orchestrator.engine import registries

        if self._session is None:
            choice = self._choice
            self._session = self._stack.enter_context(registries.open_session(
                choice.environ, insecure=choice.insecure_registries))  # fmt: skip
        return self._session.repository(reference).current_digest(
            reference.digest or reference.tag)  # fmt: skip


def pinned(workspace: Workspace, project: Project) -> Project:
    """The project with a digest in every `image` and in the source of every image volume.
    SpecError names each image that neither the store nor its registry has."""
    tree = project.tree
    services = tree.get("services") if tree else None
    if tree is None or services is None:
        return project
    report = Report(project.reading_dir)
    shown = project.services or services.entries  # uninterpolated, there are no services
    with ExitStack() as stack:
        digests = _Digests(workspace, stack)
        changed = {
            name: _service(node, digests, report) if name in shown else node
            for name, node in services.entries.items()
        }
    report.check()
    tree = tree.copy({**tree.entries, "services": services.copy(changed)})
    bound = {
        name: replace(s, image=str(node.value)) if (node := changed[name].get("image")) else s
        for name, s in project.services.items()
    }  # fmt: skip
    return replace(project, tree=tree, services=bound)


def _service(service: Node, digests: _Digests, report: Report) -> Node:
    entries = dict(service.entries)
    image, volumes = service.get("image"), service.get("volumes")
    if image is not None and image.value:
        entries["image"] = _pin(image, digests, report)
    if volumes is not None:
        shown = [_volume(item, digests, report) for item in volumes.items]
        entries["volumes"] = volumes.copy(shown)
    return service.copy(entries)


def _volume(item: Node, digests: _Digests, report: Report) -> Node:
    kind, source = item.get("type"), item.get("source")
    if kind is None or kind.value != "image" or source is None:
        return item
    return item.copy({**item.entries, "source": _pin(source, digests, report)})


def _pin(node: Node, digests: _Digests, report: Report) -> Node:
    try:
        reference = references.parse(str(node.value))
        if reference.digest:
            return node.copy(reference.complete)
        tagged = reference.tagged()
        return node.copy(replace(tagged, digest=digests.of(tagged)).complete)
    except ImageError as exc:
        report.add(node, exc.message, hint=exc.hint)
        return node


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
