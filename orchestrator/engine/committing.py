"""`commit`: an image of what a container has become.

The container's upper directory is one more layer over those of its image; what the service says of
environment, command and the like is the configuration, as it is with docker.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from orchestrator.dataclass import dataclass, replace
from orchestrator.engine import copying
from orchestrator.engine.images import open_store
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import ImageNotFoundError
from orchestrator.events import Progress, Sink
from orchestrator.image import config as configs
from orchestrator.image.config import History, ImageConfig
from orchestrator.image.store import RECIPE, ImageStore

if TYPE_CHECKING:
    from orchestrator.image.store import Layer
    from orchestrator.state.observed import ObservedContainer


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitOptions:
    """What the command line says."""

    reference: str | None = None
    index: int = 0
    author: str = ""
    message: str = ""
    changes: Sequence[str] = ()


def commit(workspace: Workspace, service: str, options: CommitOptions, *, sink: Sink) -> str:
    """The id of the new image; a running container stands still meanwhile."""
    container = copying.containers(workspace, service, copying.Options(index=options.index))[0]
    record = container.record
    store = open_store(workspace.layout)
    image = store.resolve(record.image_id) if record.image_id else None
    if image is None:
        raise ImageNotFoundError(f"the image of {record.name}, {record.image}, is no longer here")
    config = _configured(image.config, record.config, options.changes)
    working = Progress(kind="Container", name=record.name, text="Committing", status="Working")
    sink(working)
    with store.adding():
        with _standing_still(workspace, container, sink=sink):
            layer = _layer(store, container)
        base = configs.parse(store.read_blob(image.id))
        now = round(time.time(), 3)
        layers = [*store.layers(image), *([layer] if layer else [])]
        history = [*base.whole_history(), History(
            created=now, created_by=f"commit of {record.name}", comment=options.message,
            empty_layer=layer is None)]  # fmt: skip
        file = replace(base, created=now, config=config, author=options.author or base.author,
                       diff_ids=tuple(one.diff_id for one in layers), history=tuple(history))
        made = store.add_image(configs.dump(file), layers, host_usr=image.host_usr)
        if options.reference is not None:
            store.tag(made.id, options.reference)
    sink(replace(working, text=f"Committed as {made.id}", status="Done"))
    return made.id


def _configured(
    config: ImageConfig, service: dict[str, Any], changes: Sequence[str]  # a tree of JSON
) -> ImageConfig:
    """The image's configuration, what the service says, and what is asked for on top."""
    from orchestrator.build import metadata

    environment = {k: v for k, v in service.get("environment", {}).items() if v is not None}
    config = replace(
        config, env=tuple({**dict(config.env), **environment}.items()),
        working_dir=service.get("working_dir", config.working_dir),
        user=service.get("user", config.user),
    )  # fmt: skip
    if service.get("entrypoint") is not None:
        config = replace(config, entrypoint=tuple(service["entrypoint"]), command=())
    if service.get("command") is not None:
        config = replace(config, command=tuple(service["command"]))
    return metadata.apply_texts(config, changes)


@contextmanager
def _standing_still(
    workspace: Workspace, container: ObservedContainer, *, sink: Sink
) -> Iterator[None]:
    """Whoever goes on could change under our hands what is read, or lead us out of it."""
    from orchestrator.engine import lifecycle

    services = [container.record.service]
    if not container.is_running or container.status.paused:
        yield
        return
    lifecycle.pause(workspace, services, sink=sink)
    try:
        yield
    finally:
        lifecycle.unpause(workspace, services, sink=sink)


def _layer(store: ImageStore, container: ObservedContainer) -> Layer | None:
    """What the container has written; None where it has written nothing."""
    rootfs = container.record.spec["rootfs"]
    upper, usr = rootfs["upper"], f"{rootfs['upper']}-usr"

    def fill(directory: str) -> tuple[str, int]:
        from orchestrator.build.view import merge_usr
        from orchestrator.image import packing

        _copy(store, upper, directory)
        if rootfs.get("host_usr") and os.path.isdir(usr):
            inside = f"{directory}-usr"
            os.mkdir(inside, 0o755)
            _copy(store, usr, inside)
            merge_usr(inside, directory)  # which moves it, unless it is empty
            for leftover in (inside, inside + RECIPE):
                _remove(leftover)
        packed = packing.pack(directory, directory + RECIPE)
        if packed.is_empty:
            raise _NothingError
        return packed.diff_id, packed.size

    if not os.path.isdir(upper):
        return None  # it never started
    try:
        return store.add_layer(None, fill)
    except _NothingError:
        return None


def _remove(path: str) -> None:
    if os.path.isdir(path):
        os.rmdir(path)
    elif os.path.exists(path):
        os.unlink(path)


class _NothingError(Exception):
    """The layer would be empty."""


def _copy(store: ImageStore, source: str, target: str) -> None:
    """The upper directory as a directory of the store, by way of the tar that it is."""
    from orchestrator.image import layers, packing, recipe
    from orchestrator.image.treetar import Stream

    scratch = store.scratch()
    try:
        packing.pack(source, f"{scratch}/recipe", is_ours=False)
        layers.unpack(Stream(recipe.replay(f"{scratch}/recipe", source)), target)
    finally:
        store.discard(scratch)
