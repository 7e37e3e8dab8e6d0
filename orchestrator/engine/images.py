"""Which image each service runs on; a missing one is an error before anything is made.

Knows the store by its interface; never unpacks anything itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from orchestrator.dataclass import dataclass, replace
from orchestrator.errors import ImageNotFoundError
from orchestrator.image import host
from orchestrator.image.store import Image, ImageStore
from orchestrator.plan.replicas import hook_key
from orchestrator.state.layout import Layout

if TYPE_CHECKING:
    from orchestrator.engine.resolve import ImageFacts
    from orchestrator.spec.model import Project, Service

_SHOWN = 8


def open_store(layout: Layout) -> ImageStore:
    """The image store of this user."""
    return ImageStore(layout.images())


def find(
    store: ImageStore, project: Project, *, make_host: bool, pull: str = ""
) -> dict[str, Image]:
    """The image of every service by the service's name.  The reserved image of the machine itself
    is made where it is needed, unless `make_host` is false (a plan changes nothing): then a service
    on it, or one whose image is still to be built or pulled (unless `pull`, that of --pull, is
    never), may be left out.  ImageNotFoundError names every image that is missing, with its place.
    """
    wanted = {key: use for s in project.services.values() for key, use in uses(s).items()}
    found: dict[str, Image | None] = {}
    for use in wanted.values():
        if use.reference not in found:
            found[use.reference] = _one(store, use.reference, make_host=make_host)
    missing = [
        use for use in wanted.values() if found[use.reference] is None
        and not host.is_host(use.reference) and (make_host or not (
            use.is_built or (use.is_pulled and pull != "never")))
    ]  # fmt: skip
    if missing:
        raise _not_found(store, project, missing)
    images = {key: found[use.reference] for key, use in wanted.items()}
    return {key: image for key, image in images.items() if image is not None}


@dataclass(frozen=True, slots=True)
class Use:
    """An image that something asks for."""

    reference: str
    who: str
    path: tuple[str | int, ...]
    is_built: bool = False
    """There is a `build` that makes it."""
    is_pulled: bool = True
    """It may come from a registry."""


def uses(service: Service) -> dict[str, Use]:
    """The service's image under its name; those its pre_start hooks name under `hook_key`."""
    path = ("services", service.name)
    is_pulled = service.pull_policy != "never"
    found = {service.name: Use(service.image, f"service {service.name}", (*path, "image"),
                               is_built=service.build is not None, is_pulled=is_pulled)}
    for number, hook in enumerate(service.pre_start):
        if hook.image is not None:
            found[hook_key(service.name, number)] = Use(
                hook.image, f"pre_start[{number}] of service {service.name}",
                (*path, "pre_start", number, "image"), is_pulled=is_pulled,
            )  # fmt: skip
    for number, mount in enumerate(service.volumes):
        if mount.type == "image":
            found[mount_key(service.name, number)] = Use(
                mount.source or "", f"the mount at {mount.target} of service {service.name}",
                (*path, "volumes", number, "source"), is_pulled=is_pulled,
            )  # fmt: skip
    return found


def mount_key(service: str, number: int) -> str:
    """Under which the image of a mount is known; no service is called so."""
    return f"{service}/volumes/{number}"


def of_mounts(service: Service, images: Mapping[str, Image]) -> dict[int, tuple[str, ...]]:
    """The layers of the images it mounts, by the number of the volume."""
    return {
        number: images[mount_key(service.name, number)].layers
        for number, mount in enumerate(service.volumes) if mount.type == "image"
    }  # fmt: skip


def digested(project: Project, images: Mapping[str, Image]) -> Project:
    """The project with the ids of the images it mounts, so that another one makes the containers
    again."""

    def with_ids(service: Service) -> Service:
        volumes = tuple(
            replace(mount, digest=images[key].id)
            if mount.type == "image" and (key := mount_key(service.name, number)) in images
            else mount
            for number, mount in enumerate(service.volumes)
        )
        return service if volumes == service.volumes else replace(service, volumes=volumes)

    return replace(project, services={n: with_ids(s) for n, s in project.services.items()})


def of_hooks(service: Service, images: Mapping[str, Image]) -> dict[int, ImageFacts]:
    """What the pre_start hooks that name an image need of it, by their number."""
    return {
        number: facts(images[hook_key(service.name, number)])
        for number, hook in enumerate(service.pre_start) if hook.image is not None
    }  # fmt: skip


def _one(store: ImageStore, reference: str, *, make_host: bool) -> Image | None:
    if make_host and host.is_host(reference):
        return host.host_image(store)
    return store.resolve(reference)


def ids(images: Mapping[str, Image]) -> dict[str, str]:
    """service (or `hook_key`) -> image id."""
    return {name: image.id for name, image in images.items()}


def facts(image: Image) -> ImageFacts:
    """What a container needs of an image."""
    from orchestrator.engine.resolve import ImageFacts  # 10 ms that a plan does without

    return ImageFacts(config=image.config, layers=image.layers, host_usr=image.host_usr,
                      id=image.id)  # fmt: skip


def _not_found(store: ImageStore, project: Project, missing: Iterable[Use]) -> ImageNotFoundError:
    lines = []
    for use in missing:
        where = project.where(*use.path)
        place = f"{where}: " if where else ""
        lines.append(f"{place}no image {use.reference!r} for {use.who}")
    there = sorted({name for image in store.images() for name in image.references})
    shown = ", ".join(there[:_SHOWN])
    if len(there) > _SHOWN:
        shown += f" and {len(there) - _SHOWN} more"
    hint = "pull one with `pcompose pull`, load one with `pcompose load -i ARCHIVE` or `pcompose " \
           "import ROOTFS.tar NAME`, or use `pcompose/host`, which needs no download"
    listed = f"images here: {shown}; " if there else "there are no images here yet; "
    return ImageNotFoundError("\n".join(lines), hint=listed + hint)
