"""What `image` does with the store: look at images, name them, remove and save them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from orchestrator.build import cachemount
from orchestrator.dataclass import dataclass, replace
from orchestrator.engine import inventory
from orchestrator.engine.inventory import StoredImage
from orchestrator.errors import ImageError, ImageNotFoundError
from orchestrator.events import Sink, ignore
from orchestrator.image import config as configs
from orchestrator.image import host, reference
from orchestrator.image.config import ConfigFile
from orchestrator.image.distribution import Distribution
from orchestrator.image.steps import StepRecords
from orchestrator.image.store import Image, ImageStore
from orchestrator.state import volumes
from orchestrator.state.layout import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDetails:
    """One image and all that its configuration says."""

    image: Image
    file: ConfigFile
    document: dict[str, Any]  # JSON has no narrower type
    """The configuration as it is stored."""
    sizes: tuple[int, ...]
    """Bytes of each layer, lowest first."""
    digests: tuple[str, ...]
    """`redis@sha256:…`, as registries know it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What `prune` has removed."""

    images: tuple[str, ...]
    """Names and ids."""
    steps: int
    """Records of the build cache."""
    size: int
    """Bytes of layers that are gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one kind of thing takes of the disk, in bytes of content."""

    kind: str
    count: int
    active: int
    """Those in use by containers or builds."""
    size: int
    reclaimable: int
    """What `prune` can give back."""


class Images:
    """The images of this user's store."""

    def __init__(self, layout: Layout | None = None) -> None:
        self._layout = layout or Layout.from_environment()
        self._store = ImageStore(self._layout.images())

    def rows(
        self, filters: Sequence[str] = (), *, until: float | None = None
    ) -> list[StoredImage]:
        """The images that fit all of the filters (`KEY=VALUE`, see `imagechoice`) and were made
        before `until`, the newest first."""
        from orchestrator.engine import imagechoice

        return inventory.stored_images(imagechoice.parse(filters, until=until))

    def load(self, source: Any, *, sink: Sink = ignore) -> list[str]:  # a path, or with read()
        """Add the images of an archive (a path, or a binary stream); their references."""
        return inventory.load(source, sink=sink)

    def import_rootfs(
        self, source: Any, reference: str, *, changes: Sequence[str] = (),  # as above
        comment: str = "",
    ) -> str:
        """Make an image of a root file system tar (a path, or a binary stream); its id."""
        return inventory.import_rootfs(source, reference, changes=changes, comment=comment)

    def bootstrap(
        self, name: str, *, packages: Sequence[str] = (), mirror: str | None = None,
        sink: Sink = ignore,
    ) -> str:  # fmt: skip
        """Make `debian:bookworm` and the like from packages, with mmdebstrap; the image's id."""
        from orchestrator.engine import bootstrapping

        return bootstrapping.bootstrap(name, packages=packages, mirror=mirror, sink=sink)

    def _known(self, name: str) -> Image:
        image = self._store.resolve(name)
        if image is None:
            raise ImageNotFoundError(f"no such image: {name}")
        return image

    def details(self, name: str) -> ImageDetails:
        """All that is known of an image, by name or id."""
        import json

        image = self._known(name)
        data = self._store.read_blob(image.id)
        return ImageDetails(
            image=image, file=configs.parse(data), document=json.loads(data),
            sizes=tuple(layer.size for layer in self._store.layers(image)),
            digests=tuple(sorted({
                f"{reference.parse(entry.name).repository}@{entry.digest}"
                for entry in Distribution(self._store.root).entries(image.id)})),
        )  # fmt: skip

    def tag(self, name: str, reference: str) -> None:
        """Give an image one more name, taking it from the image that had it."""
        if host.is_host(reference):
            raise ImageError(f"{reference} is reserved for the image of this machine")
        self._store.tag(name, reference)

    def users(self) -> dict[str, list[str]]:
        """image id -> names of the containers that are made of it, running or not."""
        found: dict[str, list[str]] = {}
        for record in volumes.containers(self._layout):
            hooks = record.spec.get("pre_start") or ()
            ids = {record.image_id, *(hook.get("image_id") for hook in hooks)}
            for id_ in ids - {"", None}:
                found.setdefault(str(id_), []).append(record.name)
        return found

    def remove(self, name: str, *, force: bool = False) -> tuple[list[str], list[str]]:
        """Take a name away, and with the last one the image; (names, ids) that are gone.
        ImageError where the image would go and a container needs it."""
        image = self._known(name)
        needed = self.users().get(image.id, [])
        would_go = len(image.references) < 2 or not _is_name(image, name)
        if needed and would_go:
            raise ImageError(f"image {name} is used by container {', '.join(sorted(needed))}",
                             hint="remove the container first: pcompose rm, or down")
        return self._store.remove(name, force=force)

    def prunable(
        self, *, everything: bool = False, filters: Sequence[str] = (), until: float | None = None
    ) -> list[Image]:
        """Images that no container needs: those without a name, or with `everything` all; of them
        those that fit the filters, as `rows` has them."""
        from orchestrator.engine import imagechoice

        choice = imagechoice.parse(filters, until=until, known=imagechoice.PRUNE_FILTERS)
        if choice.dangling is not None:
            everything, choice = not choice.dangling, replace(choice, dangling=None)
        needed = self.users()
        found = [image for image in self._store.images()
                 if image.id not in needed and (everything or not image.references)]
        return imagechoice.chosen(found, choice, resolve=self._store.resolve)

    def prune(self, images: Sequence[Image], *, cache: bool = False) -> Pruned:
        """Remove these images, and with `cache` what builds remember."""
        before = self._store.size()
        gone: list[str] = []
        for image in images:
            try:
                names, ids = self._store.remove(image.id, force=True)
            except ImageNotFoundError:
                continue  # somebody else was quicker
            gone += [*names, *ids]
        steps = 0
        if cache:
            steps = self._store.forget_steps()
            cachemount.forget(self._store.root)
        self._store.drop_unused()
        return Pruned(images=tuple(gone), steps=steps, size=before - self._store.size())

    def usage(self) -> list[Usage]:
        """What images, the build cache and cache mounts take; a layer that images share, or an
        image and the cache, is counted once, for the images."""
        needed = self.users()
        images = self._store.images()
        sizes = [{layer.name: layer.size for layer in self._store.layers(i)} for i in images]
        used = {n: s for i, found in zip(images, sizes, strict=True) if i.id in needed
                for n, s in found.items()}
        known = {name: size for found in sizes for name, size in found.items()}
        steps = [step for _, step, _ in StepRecords(self._store.root).all()]
        only = {step.name: step.size for step in steps if step.name and step.name not in known}
        total, busy = sum(known.values()), sum(i.id in needed for i in images)
        caches = cachemount.sizes(self._store.root)
        free = sum(size for size, is_held in caches if not is_held)
        return [
            Usage(kind="Images", count=len(images), active=busy, size=total,
                  reclaimable=total - sum(used.values())),
            Usage(kind="Build cache", count=len(steps), active=0, size=sum(only.values()),
                  reclaimable=sum(only.values())),
            Usage(kind="Cache mounts", count=len(caches), active=sum(h for _, h in caches),
                  size=sum(size for size, _ in caches), reclaimable=free),
        ]  # fmt: skip

    def save(self, names: Sequence[str], write: Callable[[bytes], object]) -> None:
        """An archive for `load` here, in docker, podman and skopeo; given out in pieces."""
        from orchestrator.image import saving

        saving.save(self._store, names, write)

    def save_to(self, names: Sequence[str], path: str) -> None:
        """The archive as a file, whole or not at all."""
        save_file(self._store, names, path)


def save_file(store: ImageStore, names: Sequence[str], path: str) -> None:
    """An archive of the images as a file, whole or not at all."""
    from orchestrator.image import saving

    temporary = f"{path}.{os.getpid()}.part"
    try:
        with open(temporary, "xb") as file:
            saving.save(store, names, file.write)
        os.rename(temporary, path)
    except OSError as exc:
        raise ImageError(f"cannot write {path}: {exc.strerror}") from exc
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def _is_name(image: Image, text: str) -> bool:
    if reference.image_id(text) or text.startswith("sha256:"):
        return False
    return reference.parse(text).tagged().familiar in image.references
