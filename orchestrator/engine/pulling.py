"""Which images are fetched from registries, and when: `pull`, `pull_policy`, `--pull`.

An image that two services use is pulled once.  Needs no lock of the project: nothing of it is
changed.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from orchestrator.dataclass import dataclass
from orchestrator.engine import images, interruption
from orchestrator.engine.places import spot
from orchestrator.errors import ImageError, ImageNotFoundError
from orchestrator.events import Event, Progress, Sink, Warned
from orchestrator.image import host
from orchestrator.image import platform as platforms
from orchestrator.image import reference as references
from orchestrator.image.registry import crew
from orchestrator.spec.select import select

if TYPE_CHECKING:
    from orchestrator.engine.workspace import Choice, Workspace
    from orchestrator.image.config import Platform
    from orchestrator.image.registry.client import Session
    from orchestrator.image.store import ImageStore
    from orchestrator.spec.model import Service

IMAGES_AT_ONCE = 8
_UNITS = {"w": 604_800.0, "d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_AGE = re.compile(r"([0-9]+)([wdhms])")


def longest_age(policy: str) -> float | None:
    """Seconds after which `daily`, `weekly` and `every_1d12h` want the image again; None: it is
    another policy."""
    if policy in ("daily", "weekly"):
        return _UNITS["d" if policy == "daily" else "w"]
    if not policy.startswith("every_"):
        return None
    return sum(int(count) * _UNITS[unit] for count, unit in _AGE.findall(policy[6:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Due:
    """An image that is to be pulled."""

    reference: str
    platform: str
    where: str
    """`file:line:col` of the first who wants it."""
    who: str
    is_optional: bool = False
    """Where it cannot be pulled, it is built."""


def prepare(
    workspace: Workspace, services: Sequence[str], *, policy: str, with_dependencies: bool,
    sink: Sink,
) -> None:
    """Before `up`, `create` and `run`: pull what the services want pulled.  `policy` is that of
    --pull (always, missing, never), or empty: what each service says."""
    project = workspace.runnable
    selected = select(project, services, with_dependencies=with_dependencies)
    store = images.open_store(workspace.layout)
    now = time.time()
    due: dict[tuple[str, str], _Due] = {}
    for service in selected.services.values():
        own = _policy(service, policy)
        for key, use in images.uses(service).items():
            if key == service.name and (own == "build" or _is_built_only(workspace, service)):
                continue
            platform = _platform(workspace, service)
            if is_due(store, use.reference, own, platform=platform, now=now):
                due.setdefault((use.reference, platform), _Due(
                    reference=use.reference, platform=platform, where=spot(project, *use.path),
                    who=use.who, is_optional=use.is_built,
                ))  # fmt: skip
    _pull_all(workspace.choice, store, list(due.values()), sink=sink)


def pull(
    workspace: Workspace, services: Sequence[str], *, policy: str = "",
    ignore_buildable: bool = False, ignore_failures: bool = False,
    with_dependencies: bool = False, sink: Sink,
) -> None:
    """`pcompose pull`: the images of the services, fresh.  `policy` is that of --policy: always,
    or missing."""
    project = workspace.runnable
    selected = select(project, services, with_dependencies=with_dependencies)
    store = images.open_store(workspace.layout)
    due: dict[tuple[str, str], _Due] = {}
    for service in selected.services.values():
        is_built = service.build is not None and (
            ignore_buildable or service.pull_policy == "build" or _is_built_only(workspace, service)
        )
        why_not = "it is built" if is_built else _reason_to_skip(store, service, policy)
        if why_not:
            if why_not != "host":
                _tell(sink, service.image, "Skipped", details=why_not)
            continue
        platform = _platform(workspace, service)
        for use in images.uses(service).values():
            if not host.is_host(use.reference):
                due.setdefault((use.reference, platform), _Due(
                    reference=use.reference, platform=platform, who=use.who,
                    where=spot(project, *use.path), is_optional=use.is_built,
                ))  # fmt: skip
    _pull_all(workspace.choice, store, list(due.values()), sink=sink,
              ignore_failures=ignore_failures)  # fmt: skip


def pull_names(
    choice: Choice, store: ImageStore, names: Sequence[str], *, platform: str = "", sink: Sink,
    whole: crew.Stop | None = None,
) -> None:
    """Images by name, fresh, whatever any project says.  CancelledError once `whole`, the build of
    which this is a part, is over."""
    due = [_Due(reference=references.parse(name).tagged().familiar, where="", who="",
                platform=platform or choice.environ.get(platforms.VARIABLE, "")) for name in names]
    with cancelled():
        _pull_all(choice, store, due, sink=sink, whole=whole)


def _policy(service: Service, given: str) -> str:
    return given or service.pull_policy or ("" if service.build is not None else "missing")


def _is_built_only(workspace: Workspace, service: Service) -> bool:
    """Whether the files give the image no name, so that no registry can have it."""
    declared = {**workspace.project.disabled, **workspace.project.services}.get(service.name)
    return service.build is not None and (declared is None or not declared.image)


def is_due(
    store: ImageStore, reference: str, policy: str, *, platform: str, now: float
) -> bool:
    """Whether an image is to be pulled at `now`, seconds since the epoch."""
    if policy == "never" or host.is_host(reference):
        return False
    known = store.resolve(reference)
    if known is None or (platform and not platforms.fits(platform, known.platform)):
        return True
    if references.parse(reference).digest:
        return False  # what a digest stands for does not change
    age = longest_age(policy)
    if age is not None:
        return now - (known.tagged or 0) > age
    return policy == "always"


def _reason_to_skip(store: ImageStore, service: Service, policy: str) -> str:
    """Why `pull` leaves a service out; empty: it does not."""
    own = service.pull_policy or ""
    if host.is_host(service.image):
        return "host"
    if own == "never":
        return "pull_policy is never"
    wants_missing = policy == "missing" or (not policy and own == "missing")
    is_here = store.resolve(service.image) is not None
    if not wants_missing or not is_here:
        return ""
    parsed = references.parse(service.image)
    is_latest = not parsed.digest and parsed.tagged().tag == references.DEFAULT_TAG
    return "" if is_latest and not policy else "it is here already"


def _platform(workspace: Workspace, service: Service) -> str:
    return service.platform or workspace.choice.environ.get(platforms.VARIABLE, "")


def _parsed(platform: str) -> Platform | None:
    from orchestrator.image.config import Platform

    if not platform:
        return None
    system, architecture, variant = platforms.parts(platform)
    if not architecture:
        from orchestrator.image.manifest import host_platform

        architecture = host_platform().architecture
    return Platform(os=system, architecture=architecture, variant=variant)


# ---- the work ----


def _pull_all(
    choice: Choice, store: ImageStore, due: Sequence[_Due], *, sink: Sink,
    ignore_failures: bool = False, whole: crew.Stop | None = None,
) -> None:
    """Pull them side by side; what cannot be pulled is told in one go."""
    if not due:
        return
    from orchestrator.engine.registries import open_session
    from orchestrator.image.registry.pull import Puller, Wanted

    told = one_at_a_time(sink)
    failures: list[tuple[str, str, ImageError]] = []
    stop = crew.Stop(whole)
    with open_session(choice.environ, insecure=choice.insecure_registries) as session:
        puller = Puller(store, session, sink=told, stop=stop)

        def one(item: _Due) -> None:
            try:
                puller.pull(Wanted(reference=references.parse(item.reference),
                                   platform=_parsed(item.platform)))  # fmt: skip
            except ImageError as exc:
                if stop.is_set():
                    raise crew.StoppedError from exc
                if item.is_optional or ignore_failures:
                    _tell(told, item.reference, "Warning", details=exc.message)
                    return
                failures.append((item.where, item.who, exc))

        tasks: list[Callable[[], None]] = [partial(one, item) for item in due]
        limit = choice.parallel if choice.parallel > 0 else IMAGES_AT_ONCE
        together(tasks, most=limit, stop=stop, session=session)
    if failures:
        raise failed(failures)


def together(
    tasks: Sequence[Callable[[], None]], *, most: int, stop: crew.Stop, session: Session
) -> None:  # fmt: skip
    """Do them side by side, until they are done or whoever asked for them has had enough.
    StoppedError where somebody has set `stop`."""
    def end() -> None:
        stop.set()
        session.transport.close()

    with interruption.noticed(end):
        crew.run(tasks, most=most, stop=stop, interrupt=session.transport.close)


@contextmanager
def cancelled() -> Iterator[None]:
    """What was stopped inside is told in the words of builds."""
    try:
        yield
    except crew.StoppedError:
        from orchestrator.build.request import CancelledError

        raise CancelledError("the build is over") from None


def failed(failures: Sequence[tuple[str, str, ImageError]]) -> ImageError:
    """One error for all; each is where the image is named, for whom, and why not."""
    lines = [f"{f'{where}: ' if where else ''}{exc.message}{f' (for {who})' if who else ''}"
             for where, who, exc in failures]  # fmt: skip
    hints = dict.fromkeys(exc.hint for _, _, exc in failures if exc.hint)
    hint = "; ".join(hints) or None
    if all(isinstance(exc, ImageNotFoundError) for _, _, exc in failures):
        return ImageNotFoundError("\n".join(lines), hint=hint or "is the name right? images from "
                                  "elsewhere come in by `pcompose load` and `import`")
    return type(failures[0][2])("\n".join(lines), hint=hint)


def one_at_a_time(sink: Sink) -> Sink:
    """The sink for several threads: renderers know one."""
    lock = threading.Lock()

    def locked(event: Event) -> None:
        with lock:
            sink(event)

    return locked


def _tell(sink: Sink, reference: str, text: str, *, details: str) -> None:
    if text == "Warning":
        sink(Warned(message=details))
    sink(Progress(kind="Image", name=reference, text=text, details=details if text != "Warning"
                  else "", status="Warning" if text == "Warning" else "Done", time=time.time()))
