"""Which images go to registries: those that the project builds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from orchestrator.engine.images import open_store
from orchestrator.engine.places import spot
from orchestrator.engine.pulling import cancelled, failed, one_at_a_time, together
from orchestrator.errors import ImageError
from orchestrator.events import Progress, Sink, Warned
from orchestrator.image import reference as references
from orchestrator.image.registry import crew
from orchestrator.spec.select import select

if TYPE_CHECKING:
    from orchestrator.engine.workspace import Choice, Workspace
    from orchestrator.image.store import ImageStore

IMAGES_AT_ONCE = 4


def push(
    workspace: Workspace, services: Sequence[str], *, ignore_failures: bool = False,
    with_dependencies: bool = False, sink: Sink,
) -> None:
    """`pcompose push`: the images of services that have a `build` and name the image, under all
    their names."""
    project = workspace.runnable
    selected = select(project, services, with_dependencies=with_dependencies)
    declared = {**workspace.project.disabled, **workspace.project.services}
    wanted: dict[str, tuple[str, str]] = {}
    skipped: dict[str, str] = {}
    for name, service in selected.services.items():
        if service.build is None:
            skipped[service.image] = "it is not built"
            continue
        if not declared[name].image:
            skipped[service.image] = "it has no name of its own"
            continue
        for reference in (service.image, *service.build.tags):
            where = spot(project, "services", name, "image")
            wanted.setdefault(reference, (where, f"service {name}"))
    for image, why in skipped.items():
        if image not in wanted:
            sink(Progress(kind="Image", name=image, text="Skipped", status="Done", details=why,
                          time=time.time()))  # fmt: skip
    push_names(workspace.choice, open_store(workspace.layout), wanted, sink=sink,
               ignore_failures=ignore_failures)  # fmt: skip


def push_names(
    choice: Choice, store: ImageStore, wanted: Mapping[str, tuple[str, str]], *,
    ignore_failures: bool = False, sink: Sink, whole: crew.Stop | None = None,
) -> None:  # fmt: skip
    """Push images by name; `wanted` says for each where it is named and for whom.  CancelledError
    once `whole`, the build of which this is a part, is over."""
    if not wanted:
        return
    from orchestrator.engine.registries import open_session
    from orchestrator.image.registry.push import Pusher

    told, stop = one_at_a_time(sink), crew.Stop(whole)
    failures: list[tuple[str, str, ImageError]] = []
    with open_session(choice.environ, insecure=choice.insecure_registries) as session:
        pusher = Pusher(store, session, sink=told, stop=stop)

        def one(reference: str) -> None:
            try:
                pusher.push(references.parse(reference))
            except ImageError as exc:
                if stop.is_set():
                    raise crew.StoppedError from exc
                if ignore_failures:
                    told(Warned(message=exc.message))
                else:
                    failures.append((*wanted[reference], exc))

        tasks: list[Callable[[], None]] = [partial(one, reference) for reference in wanted]
        with cancelled():
            together(tasks, most=IMAGES_AT_ONCE, stop=stop, session=session)
    if failures:
        raise failed(failures)
