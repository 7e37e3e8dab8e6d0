"""Which image each service runs on; a missing one is an error before anything is made.

Knows the store by its interface; never unpacks anything itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from orchestrator.engine.resolve import ImageFacts
from orchestrator.errors import ImageNotFoundError
from orchestrator.image import host
from orchestrator.image.store import Image, ImageStore
from orchestrator.state.layout import Layout

if TYPE_CHECKING:
    from orchestrator.spec.model import Project

_SHOWN = 8


def open_store(layout: Layout) -> ImageStore:
    """The image store of this user."""
    return ImageStore(layout.images())


def find(store: ImageStore, project: Project, *, make_host: bool) -> dict[str, Image]:
    """The image of every service by the service's name.  The reserved image of the machine itself
    is made where it is needed, unless `make_host` is false (a plan changes nothing): then a service
    on it may be left out.  ImageNotFoundError names every image that is missing, with its place."""
    found: dict[str, Image | None] = {}
    for service in project.services.values():
        if service.image not in found:
            found[service.image] = _one(store, service.image, make_host=make_host)
    missing = [name for name, service in project.services.items()
               if found[service.image] is None and not host.is_host(service.image)]  # fmt: skip
    if missing:
        raise _not_found(store, project, missing)
    images = {name: found[service.image] for name, service in project.services.items()}
    return {name: image for name, image in images.items() if image is not None}


def _one(store: ImageStore, reference: str, *, make_host: bool) -> Image | None:
    if make_host and host.is_host(reference):
        return host.host_image(store)
    return store.resolve(reference)


def ids(images: Mapping[str, Image]) -> dict[str, str]:
    """service -> image id."""
    return {name: image.id for name, image in images.items()}


def facts(image: Image) -> ImageFacts:
    """What a container needs of an image."""
    return ImageFacts(config=image.config, layers=image.layers, host_usr=image.host_usr)


def _not_found(store: ImageStore, project: Project, services: Iterable[str]) -> ImageNotFoundError:
    lines = []
    for name in services:
        image = project.services[name].image
        where = project.where("services", name, "image")
        place = f"{where}: " if where else ""
        lines.append(f"{place}no image {image!r} for service {name}")
    there = sorted({name for image in store.images() for name in image.references})
    shown = ", ".join(there[:_SHOWN])
    if len(there) > _SHOWN:
        shown += f" and {len(there) - _SHOWN} more"
    hint = "load one with `pcompose load -i ARCHIVE` or `pcompose import ROOTFS.tar NAME`, or " \
           "use `pcompose/host`, which needs no download"
    listed = f"images here: {shown}; " if there else "there are no images here yet; "
    return ImageNotFoundError("\n".join(lines), hint=listed + hint)
