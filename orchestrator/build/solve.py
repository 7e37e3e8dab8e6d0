"""The build of one image: its stages run, each in a thread, and the target becomes an image.

Independent stages run at the same time; a stage waits for those it needs.  Whatever fails first
stops the others and is what the caller gets.  Knows no Compose file and prints nothing.
"""

from __future__ import annotations

import os
import threading

from orchestrator.build import cache, platforms, sharing, stages
from orchestrator.build import instructions as kinds
from orchestrator.build.fault import Place, fault
from orchestrator.build.instructions import Dockerfile
from orchestrator.build.origins import Finished, Origins
from orchestrator.build.parse import parse
from orchestrator.build.request import BuildRequest, CancelledError, Drivers
from orchestrator.build.runstep import PROXIES
from orchestrator.build.stage import StageBuild
from orchestrator.build.stages import Stage, Stages
from orchestrator.build.step import State
from orchestrator.build.view import Layers
from orchestrator.dataclass import replace
from orchestrator.errors import BuildError, InternalError, PcomposeError
from orchestrator.events import Warned
from orchestrator.image import config as configs
from orchestrator.image import digest
from orchestrator.image.config import ConfigFile, ImageConfig, Platform
from orchestrator.image.steps import StepRecords
from orchestrator.image.store import Image

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NEED_NO_ARG = PROXIES | {"SOURCE_DATE_EPOCH", "BUILDKIT_INLINE_CACHE", "BUILDKIT_DOCKERFILE_CHECK"}
"""Build arguments that are for the builder itself."""
_PROGRAMS = ("/usr/bin", "/usr/lib", "/usr/sbin", "/var/lib/dpkg/status", "/var/lib/rpm")
"""What is younger after the machine's own /usr has changed."""


def build(request: BuildRequest, drivers: Drivers) -> Image:
    """The image that the request asks for.  Call it inside of the store's `adding`.  BuildError
    with the place in the Dockerfile; the store is as consistent after it as before."""
    return _Build(request, drivers).run()


class _Build:
    def __init__(self, request: BuildRequest, drivers: Drivers) -> None:
        self._request, self._drivers = request, drivers
        self._records = StepRecords(drivers.store.root)
        self._platform = platforms.of_build(request.platform)
        self._states: dict[int, State] = {}
        self._failures: list[BaseException] = []
        self._done: dict[int, threading.Event] = {}
        self._stages: Stages | None = None
        self._used_args: set[str] = set()
        self._own_cancel = threading.Event()
        self._origins = Origins(request, drivers, self._records, self._finished)

    def run(self) -> Image:
        file = parse(self._request.dockerfile, file=self._request.file)
        target = self._request.target or _last_name(file)
        self._stages = planned = stages.plan(
            file, args=self._request.args, platform=platforms.automatic(self._platform, target),
            target=self._request.target, triggers=self._triggers,
            contexts=frozenset((*self._request.contexts, *self._request.images)),
        )  # fmt: skip
        platforms.check(planned.needed, self._platform)
        self._check_network()
        self._done = {stage.index: threading.Event() for stage in planned.needed}
        threads = [threading.Thread(target=self._stage, args=(stage,), name=stage.title)
                   for stage in planned.needed]  # fmt: skip
        self._run_all(threads)
        self._origins.remember()
        self._warn_of_unused(planned, file.file)
        return self._image(self._states[planned.target])

    def _run_all(self, threads: list[threading.Thread]) -> None:
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException:
            self._drivers.cancel.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
            raise
        told = [exc for exc in self._failures if not isinstance(exc, CancelledError)]
        if told or self._failures:
            raise (told or self._failures)[0]

    def _check_network(self) -> None:
        if self._request.network == "host" and "network.host" not in self._request.entitlements:
            raise BuildError("the network of the host is not granted to this build")

    # ---- stages ----

    def _triggers(self, base: str, platform: str, place: Place) -> tuple[str, ...]:
        if base in self._request.contexts:
            return ()
        wanted = platform or self._request.platform
        return self._origins.find_image(base, place, platform=wanted).config.on_build

    def _stage(self, stage: Stage) -> None:
        """The life of a stage's thread."""
        try:
            for needed in sorted(stage.needs):
                self._done[needed].wait()
            if self._failures or self._drivers.cancel.is_set():
                raise CancelledError("another stage failed")
            self._states[stage.index] = self._built(stage)
        except PcomposeError as exc:
            self._failures.append(exc)
        except BaseException as exc:  # a bug of ours must not be lost with its thread
            error = InternalError(f"internal error in stage {stage.title}: "
                                  f"{type(exc).__name__}: {exc}")
            error.__cause__ = exc
            self._failures.append(error)
        finally:
            if self._failures:
                self._drivers.cancel.set()
            self._done[stage.index].set()

    def _built(self, stage: Stage) -> State:
        assert self._stages is not None
        worker = StageBuild(
            self._request, self._drivers, stage, records=self._records, origins=self._origins,
            known=self._stages.globals, escape=self._stages.escape,
        )  # fmt: skip
        state = self._beginning(stage)
        worker.run(state)
        self._used_args |= worker.used_args
        return state

    def _beginning(self, stage: Stage) -> State:
        if stage.parent is not None:
            state = self._states[stage.parent].child()
            platforms.check_runs(stage, state.platform)
            return state
        if stage.base == stages.SCRATCH:
            return State(chain=stages.SCRATCH, config=ImageConfig(env=(("PATH", PATH),)),
                         platform=platforms.of_stage(stage, self._platform))  # fmt: skip
        if stage.base in self._request.contexts:
            raise fault(stage.place, f"FROM {stage.base}: a directory cannot be built on",
                        hint="begin with `FROM scratch` and COPY --from it")
        wanted = stage.platform or self._request.platform
        image = self._origins.find_image(stage.base, stage.place, platform=wanted)
        return self._of_image(image, platforms.of_base(stage, image.platform, wanted))

    def _of_image(self, image: Image, platform: Platform) -> State:
        store = self._drivers.store
        layers = store.layers(image)
        file = configs.parse(store.read_blob(image.id))
        chain = cache.chain_of(_machine_mark() if image.host_usr else "image",
                               [layer.diff_id for layer in layers])  # fmt: skip
        return State(
            chain=chain, layers=layers, config=replace(file.config, on_build=()),
            history=list(file.whole_history()), created=file.created, platform=platform,
            author=file.author, host_usr=image.host_usr,
        )  # fmt: skip

    def _finished(self, name: str) -> Finished | None:
        assert self._stages is not None
        number = stages.index_of(name, self._stages.needed)
        state = self._states.get(number) if number is not None else None
        if state is None:
            return None
        lowers = tuple(self._drivers.store.lower(layer) for layer in reversed(state.layers))
        return Finished(layers=Layers(lowers=lowers, host_usr=state.host_usr), chain=state.chain)

    # ---- the result ----

    def _image(self, state: State) -> Image:
        labels = {**state.config.labels, **self._request.labels}
        labels.pop(sharing.LABEL, None)  # of the base image
        diff_ids = tuple(layer.diff_id for layer in state.layers)
        if self._request.inline_cache:
            labels[sharing.LABEL] = sharing.label(sharing.within(self._drivers.used, diff_ids))
        config = replace(state.config, labels=labels)
        date = self._request.date
        file = ConfigFile(
            platform=self._platform if self._request.platform else state.platform,
            created=float(date) if date is not None else state.created,
            config=config, history=tuple(state.history), author=state.author,
            diff_ids=diff_ids,
        )  # fmt: skip
        data = configs.dump(file)
        known = self._drivers.store.resolve(digest.of_bytes(data))
        if known is not None and known.host_usr == state.host_usr:
            return known
        return self._drivers.store.add_image(data, state.layers, host_usr=state.host_usr)

    def _warn_of_unused(self, planned: Stages, file: str) -> None:
        used = self._used_args | set(planned.globals) | NEED_NO_ARG
        unused = sorted(set(self._request.own_args) - used)
        if unused:
            self._drivers.sink(Warned(
                message=f"{file}: no ARG takes the build argument {', '.join(unused)}"))


def _last_name(file: Dockerfile) -> str:
    """What the stage is called that is built without a target."""
    return next((made.name for made in reversed(file.instructions)
                 if isinstance(made, kinds.From)), "")  # fmt: skip


def _machine_mark() -> str:
    """What stands for the machine's own /usr below an image that is built on it."""
    found = ["machine"]
    for path in _PROGRAMS:
        try:
            found.append(str(os.stat(path).st_mtime_ns))
        except OSError:
            continue
    return cache.digest(found)
