"""Building the images of services: which, in what order, under which names.

A service whose image is a context of another is built first; what does not depend on each other is
built at the same time.  Needs no lock of the project: nothing of it is changed.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Self

from orchestrator.dataclass import dataclass, field, replace
from orchestrator.engine import interruption
from orchestrator.engine.bases import Bases
from orchestrator.engine.caching import CacheExchange
from orchestrator.engine.places import spot
from orchestrator.errors import BuildError, SpecError, UsageError
from orchestrator.events import Event, Progress, Sink, Status, Warned
from orchestrator.image.registry import crew
from orchestrator.image.store import ImageStore
from orchestrator.spec.select import select

if TYPE_CHECKING:
    from orchestrator.build.request import BuildRequest, Drivers, Output, RunRequest
    from orchestrator.engine.buildfile import BuildOptions
    from orchestrator.engine.buildrun import BuildRunner
    from orchestrator.engine.caching import Exchange
    from orchestrator.engine.workspace import Workspace
    from orchestrator.image.store import Image
    from orchestrator.spec.model import Project, Service
    from orchestrator.state.layout import Layout

MOST_STEPS = 4
"""Steps that are executed at a time, unless there are more processors."""


def named(project: Project) -> Project:
    """The project where a service that is only built has a name for its image."""
    def with_name(service: Service) -> Service:
        if service.image or service.build is None:
            return service
        return replace(service, image=f"{project.name}-{service.name}")

    return replace(
        project, services={name: with_name(s) for name, s in project.services.items()},
        disabled={name: with_name(s) for name, s in project.disabled.items()},
    )  # fmt: skip


def build(
    workspace: Workspace, services: Sequence[str], options: BuildOptions, *,
    with_dependencies: bool = False, sink: Sink,
) -> dict[str, Image]:
    """Build the services that have a `build`, all or those named; service -> image."""
    project = workspace.runnable
    for name in services:
        if name not in project.services and name not in project.disabled:
            raise UsageError(f"no such service: {name}",
                             hint="declared are: " + ", ".join(sorted(project.services)))
    selected = select(project, services, with_dependencies=with_dependencies)
    chosen = [name for name, s in selected.services.items() if s.build is not None]
    if not chosen:
        sink(Warned(message="No services to build"))
    everything = replace(project, services={**project.services, **selected.services})
    return _build(workspace, everything, chosen, options, sink=sink)


def prepare(
    workspace: Workspace, services: Sequence[str], *, when: str, with_dependencies: bool,
    sink: Sink,
) -> None:
    """Before `up`: build what is to be built.  `when` is `always` (--build), `never` (--no-build)
    or `missing`."""
    project = workspace.runnable
    if when == "never" or all(s.build is None for s in (*project.services.values(),
                                                       *project.disabled.values())):
        return
    selected = select(project, services, with_dependencies=with_dependencies)
    store = ImageStore(workspace.layout.images())
    chosen = [
        name for name, s in selected.services.items() if s.build is not None
        and (when == "always" or s.pull_policy == "build" or store.resolve(s.image) is None)
    ]  # fmt: skip
    if chosen:
        from orchestrator.engine.buildfile import BuildOptions

        options = BuildOptions(environ=workspace.choice.environ)
        everything = replace(project, services={**project.services, **selected.services})
        _build(workspace, everything, chosen, options, sink=sink)


def _build(
    workspace: Workspace, project: Project, chosen: Sequence[str], options: BuildOptions, *,
    sink: Sink,
) -> dict[str, Image]:
    order = _order(project, chosen)
    built = _Builds(workspace, project, options, sink=sink).run(order)
    if options.push and chosen:
        from orchestrator.engine import pushing

        pushing.push(workspace, chosen, sink=sink)
    return built


def _order(project: Project, chosen: Iterable[str]) -> dict[str, list[str]]:
    """service -> services whose images it needs, needed ones first.  SpecError for a circle."""
    from orchestrator.engine import buildfile

    found: dict[str, list[str]] = {}

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            circle = " -> ".join((*way[way.index(name):], name))
            raise SpecError(f"services need each other's images: {circle}",
                            where=_context_place(project, name))
        if name in found:
            return
        build = project.services[name].build
        needs = (list(buildfile.image_contexts(build, prefix=buildfile.SERVICE).values())
                 if build else [])
        for other in needs:
            if other not in project.services or project.services[other].build is None:
                raise SpecError(f"services.{name}.build.additional_contexts: service {other} has "
                                "no `build`", where=_context_place(project, name))
            visit(other, (*way, name))
        found[name] = needs

    for name in chosen:
        visit(name, ())
    return found


def _context_place(project: Project, name: str) -> str:
    return spot(project, "services", name, "build", "additional_contexts")


@dataclass(slots=True, kw_only=True)
class _Outcome:
    """What became of one service's build."""

    done: threading.Event = field(default_factory=threading.Event)
    image: Image | None = None
    failure: BaseException | None = None


class _Builds:
    """The builds of one command."""

    def __init__(
        self, workspace: Workspace, project: Project, options: BuildOptions, *, sink: Sink
    ) -> None:
        self._workspace, self._project, self._options = workspace, project, options
        self._store = ImageStore(workspace.layout.images())
        self._sink_lock = threading.Lock()
        self._told = sink
        names = {name for s in project.services.values() if s.build is not None
                 for name in (s.image, *s.build.tags)}
        self._stop = crew.Stop()
        self._caches = CacheExchange(workspace, self._store, sink=self._sink, stop=self._stop,
                                     names=frozenset(names))
        self._exchanges: dict[str, tuple[list[Exchange], list[Exchange]]] = {}
        self._bases = Bases(workspace, self._store, sink=self._sink, stop=self._stop)
        self._outcomes: dict[str, _Outcome] = {}
        self._secrets: dict[str, str] = {}

    def _sink(self, event: Event) -> None:
        with self._sink_lock:  # renderers know one thread only
            self._told(event)

    def run(self, order: dict[str, list[str]]) -> dict[str, Image]:
        """Build them all; the first failure is raised once everything has stopped."""
        with self._secret_files(order), self._store.adding(), self._fetched() as fetch:
            requests = self._requests(order, fetch)
            if self._options.check_only:
                return {}
            with _Runner() as runner:
                self._run_all(order, requests, runner)
        self._caches.tidy()
        return self._result()

    @contextmanager
    def _fetched(self) -> Iterator[Callable[[str], str]]:
        """Brings contexts from elsewhere, which are there until the builds are over."""
        from orchestrator.build.remote import Remotes

        remotes = Remotes(store=self._store)
        try:
            yield remotes.directory
        finally:
            remotes.close()

    def _requests(
        self, order: Iterable[str], fetch: Callable[[str], str]
    ) -> dict[str, BuildRequest]:
        """What each build is asked for; everything that is wrong with files is found here, before
        anything is built."""
        from orchestrator.engine import buildchecks, buildfile

        checker = buildchecks.Checker(self._store, is_strict=self._options.check_only,
                                      sink=self._sink)  # fmt: skip
        around = buildfile.Surroundings(
            project=self._project, options=self._options, secrets=self._secrets,
            cwd=self._workspace.load_options.cwd, fetch=fetch,
        )  # fmt: skip
        problems: list[tuple[str, str, str | None]] = []
        found = {}
        for name in order:
            try:
                service = self._project.services[name]
                made = found[name] = buildfile.request(service, around)
                self._exchanges[name] = (buildfile.exchanges(service, around, to=False),
                                         buildfile.exchanges(service, around, to=True))
                problems += checker.problems(made)
            except SpecError as error:
                problems += error.problems
        if problems:
            raise BuildError(problems[0][1], problems=tuple(dict.fromkeys(problems)))
        return found

    def _run_all(
        self, order: dict[str, list[str]], requests: dict[str, BuildRequest], runner: _Runner
    ) -> None:
        self._outcomes = {name: _Outcome() for name in order}
        drivers = self._drivers(runner)
        threads = [
            threading.Thread(target=self._one, args=(requests[name], name, needs, drivers))
            for name, needs in order.items()
        ]
        try:
            with interruption.noticed(self._stop.set):
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
        except BaseException:
            self._stop.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
            raise

    def _result(self) -> dict[str, Image]:
        from orchestrator.build.request import CancelledError

        failures = [o.failure for o in self._outcomes.values() if o.failure is not None]
        told = [f for f in failures if not isinstance(f, CancelledError)]
        if failures:
            raise (told or failures)[0]
        return {name: o.image for name, o in self._outcomes.items() if o.image is not None}

    def _drivers(self, runner: _Runner) -> Drivers:
        from orchestrator.build.request import Drivers

        steps = max(MOST_STEPS, os.cpu_count() or 1)
        return Drivers(
            store=self._store, find_image=self._bases.find, run=runner,
            sink=self._sink, gate=threading.BoundedSemaphore(steps), cancel=self._stop,
        )  # fmt: skip

    def _one(
        self, request: BuildRequest, name: str, needs: Sequence[str], drivers: Drivers
    ) -> None:
        """The life of one build's thread."""
        outcome = self._outcomes[name]
        try:
            for other in needs:
                self._outcomes[other].done.wait()
            if not any(self._outcomes[other].failure for other in needs):
                outcome.image = self._built(request, self._project.services[name], drivers)
        except BaseException as exc:
            outcome.failure = exc
            drivers.cancel.set()
        finally:
            outcome.done.set()

    def _built(self, request: BuildRequest, service: Service, drivers: Drivers) -> Image:
        from orchestrator.build import solve
        from orchestrator.engine import buildfile

        assert service.build is not None
        find = partial(self._bases.find, fresh=service.build.pull or self._options.pull)
        sources, targets = self._exchanges[service.name]
        drivers = replace(drivers, find_image=find, used={},
                          fetch_cache=self._caches.fetcher(sources))
        known = {name: find(reference, request.platform)
                 for name, reference in buildfile.image_contexts(service.build).items()}
        built = buildfile.image_contexts(service.build, prefix=buildfile.SERVICE)
        for name, other in built.items():
            image = self._outcomes[other].image
            assert image is not None, "it is waited for"
            known[name] = image
        request = replace(request, images=known)
        self._tell(service, "Building", "Working")
        try:
            image = solve.build(request, drivers)
        except BaseException:
            self._tell(service, "Error", "Error")
            raise
        for reference in (service.image, *service.build.tags):
            known_image = self._store.resolve(reference)
            if known_image is None or known_image.id != image.id:
                self._store.tag(image.id, reference)
        self._tell(service, "Built", "Done")
        self._caches.give(targets, drivers.used, image)
        return image

    def _tell(self, service: Service, text: str, status: Status) -> None:
        self._sink(Progress(kind="Image", name=service.image, text=text, status=status,
                            time=time.time()))  # fmt: skip

    @contextmanager
    def _secret_files(self, order: Iterable[str]) -> Iterator[None]:
        """The secrets that builds ask for as files of ours, in memory where the run directory is,
        and away when the builds are over."""
        builds = [b for name in order if (b := self._project.services[name].build) is not None]
        wanted = sorted({grant.source for b in builds for grant in b.secrets})
        if not wanted:
            yield
            return
        import shutil
        import tempfile

        os.makedirs(self._workspace.layout.run, exist_ok=True)
        directory = tempfile.mkdtemp(prefix="build-", dir=self._workspace.layout.run)
        try:
            self._write_secrets(wanted, directory, self._workspace.layout)
            yield
        finally:
            shutil.rmtree(directory)

    def _write_secrets(self, wanted: Iterable[str], directory: str, layout: Layout) -> None:
        from orchestrator.engine.material import Contents

        contents = Contents(self._project, layout)
        for number, source in enumerate(wanted):
            path = f"{directory}/{number}"
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as file:
                file.write(contents.read("secrets", source))
            self._secrets[source] = path


class _Runner:
    """The real runner, made when the first command is to be run: most builds run none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._real: BuildRunner | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._real is not None:
            self._real.__exit__(*exc)

    def __call__(self, request: RunRequest, *, output: Output, cancel: threading.Event) -> int:
        from orchestrator.engine.buildrun import BuildRunner

        with self._lock:
            if self._real is None:
                self._real = BuildRunner()
        return self._real(request, output=output, cancel=cancel)
