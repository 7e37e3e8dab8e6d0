"""One step of a build that may make a layer: found in the cache, or made and put there.

Owns the state of a stage and the life of a step: ingredients, key, look-up, execution, commit.
What a step writes is the affair of the module for its instruction.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from orchestrator import events
from orchestrator.build import cache
from orchestrator.build.cache import Ingredients
from orchestrator.build.fault import Place, fault
from orchestrator.build.request import BuildRequest, CancelledError, Drivers
from orchestrator.build.view import Layers
from orchestrator.dataclass import dataclass, field, replace
from orchestrator.errors import ImageError, PcomposeError
from orchestrator.image import locks
from orchestrator.image.config import History, ImageConfig, Platform
from orchestrator.image.steps import Step, StepRecords
from orchestrator.image.store import RECIPE, Layer

_PATIENCE = 0.05
"""Seconds between two looks at a step that another build makes."""


@dataclass(slots=True, kw_only=True)
class State:
    """A stage as far as it has come."""

    chain: str
    """Stands for the layers below."""
    layers: list[Layer] = field(default_factory=list)
    """Lowest first."""
    config: ImageConfig = field(default_factory=ImageConfig)
    history: list[History] = field(default_factory=list)
    created: float | None = None
    author: str = ""
    host_usr: bool = False
    platform: Platform
    args: dict[str, str] = field(default_factory=dict)
    """ARG that have a value here."""
    has_own_command: bool = False
    """CMD was said in this stage: a new ENTRYPOINT keeps it."""

    def variables(self) -> dict[str, str]:
        """What `$NAME` is worth: of ENV and ARG, what was said last."""
        return {**dict(self.config.env), **self.args}

    def child(self) -> State:
        """The beginning of a stage that is built on this one; of its arguments, those that are no
        variables of the image."""
        own = dict(self.config.env)
        args = {name: value for name, value in self.args.items() if name not in own}
        return replace(self, layers=list(self.layers), history=list(self.history), args=args,
                       config=replace(self.config, on_build=()),
                       has_own_command=False)


class Making(Protocol):
    """What the module for an instruction provides."""

    @property
    def place(self) -> Place:
        """Where the instruction is written."""

    @property
    def text(self) -> str:
        """The instruction, for people and for the image's history."""

    def ingredients(self) -> Ingredients:
        """All that the result depends on."""

    def fill(self, directory: str) -> None:
        """Write the layer's files as an overlay's upper directory has them."""


class Nothing(Exception):  # no error: the step has changed no file
    """Raised inside of the store's `add_layer` to make none."""


class Steps:
    """Makes the steps of one stage."""

    def __init__(
        self, request: BuildRequest, drivers: Drivers, *, records: StepRecords, title: str,
        total: int, use_cache: bool,
    ) -> None:
        self._request, self._drivers, self._records = request, drivers, records
        self._title, self._total, self._use_cache = title, total, use_cache
        self._number = 0

    # ---- telling ----

    def label(self, text: str) -> str:
        """`[build 2/5] RUN make`."""
        return f"[{self._title} {self._number}/{self._total}] {text}"

    def tell(self, text: str, status: events.BuildStatus, **details: str) -> None:
        """Progress of the step we are at."""
        self._drivers.sink(events.BuildStep(
            build=self._request.name, step=self.label(text), status=status, stage=self._title,
            number=self._number, total=self._total, time=time.time(), **details))  # fmt: skip

    def output(self, text: str) -> Callable[[bytes], None]:
        """Where a command's output goes."""
        step = self.label(text)

        def write(data: bytes) -> None:
            self._drivers.sink(events.BuildOutput(
                build=self._request.name, step=step, text=data.decode("utf-8", "replace"),
                time=time.time()))  # fmt: skip

        return write

    def begin(self) -> None:
        """The next instruction's turn."""
        self._number += 1
        if self._drivers.cancel.is_set():
            raise CancelledError("the build was given up")

    # ---- making ----

    def make(self, state: State, making: Making) -> None:
        """Add the step's layer to the state."""
        slot = cache.digest([self._request.slot, self._title, self._number])
        with _placed(making.place, making.text):
            ingredients = making.ingredients()
            key = ingredients.key()
            step = self._known(key) if self._use_cache else None
            if step is None and self._use_cache and self._drivers.fetch_cache():
                step = self._known(key)
            if step is not None:
                self.tell(making.text, "Cached")
            else:
                step = self._new(key, slot, ingredients, making)
        self._drivers.used[key] = step
        self._add(state, step, making.text)

    def _known(self, key: str) -> Step | None:
        step = self._records.get(key)
        if step is not None and step.diff_id and self._drivers.store.layer(step.diff_id) is None:
            return None
        return step

    def _new(self, key: str, slot: str, ingredients: Ingredients, making: Making) -> Step:
        why = self._reason(slot, ingredients)
        with self._alone(key):
            step = self._known(key) if self._use_cache else None
            if step is not None:  # somebody else has made it meanwhile
                self.tell(making.text, "Cached")
                return step
            with self._drivers.gate:
                self._check_cancelled()
                self.tell(making.text, "Started", details=why)
                begun = time.monotonic()
                step = self._filled(making)
            self._records.put(key, step)
            cache.note(self._records, slot, ingredients)
            self.tell(making.text, "Done", details=f"{time.monotonic() - begun:.1f}s")
        return step

    def _reason(self, slot: str, ingredients: Ingredients) -> str:
        """Why it is not in the cache; what is plain is said only to who asks."""
        if not self._use_cache:
            return "no cache is wanted" if self._request.explain else ""
        why = cache.reason(self._records, slot, ingredients)
        return "" if why == cache.NEW and not self._request.explain else why

    def _check_cancelled(self) -> None:
        if self._drivers.cancel.is_set():
            raise CancelledError("the build was given up")

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """Two builds that need the same step make it once; whoever waits can still be stopped."""
        path = f"{self._drivers.store.root}/locks/step-{key[:3]}"
        lock = locks.try_lock(path, wait=False)
        while lock is None:
            self._check_cancelled()
            self._drivers.cancel.wait(_PATIENCE)
            lock = locks.try_lock(path, wait=False)
        try:
            yield
        finally:
            os.close(lock)

    def _filled(self, making: Making) -> Step:
        from orchestrator.image import packing

        date = self._request.date

        def fill(directory: str) -> tuple[str, int]:
            making.fill(directory)
            packed = packing.pack(directory, directory + RECIPE, latest=date)
            if packed.is_empty:
                raise Nothing
            return packed.diff_id, packed.size

        try:
            layer = self._drivers.store.add_layer(None, fill)
        except Nothing:
            return Step(diff_id="", name="", size=0, created=self._now(), text=making.text)
        return Step(diff_id=layer.diff_id, name=layer.name, size=layer.size, created=self._now(),
                    text=making.text)

    def _now(self) -> float:
        return float(self._request.date) if self._request.date is not None else round(time.time(),
                                                                                      3)

    def _add(self, state: State, step: Step, text: str) -> None:
        if step.diff_id:
            state.layers.append(Layer(diff_id=step.diff_id, name=step.name, size=step.size))
            state.chain = cache.chain(state.chain, step.diff_id)
            state.created = step.created
        state.history.append(History(created=step.created, created_by=text, comment="pcompose",
                                     empty_layer=not step.diff_id))  # fmt: skip

    def note(self, state: State, text: str) -> None:
        """An instruction that changed the configuration only."""
        date = self._request.date
        created = float(date) if date is not None else state.created
        state.history.append(History(created=created, created_by=text, comment="pcompose",
                                     empty_layer=True))  # fmt: skip

    def layers(self, state: State) -> Layers:
        """The directories of a state."""
        lowers = tuple(self._drivers.store.lower(layer) for layer in reversed(state.layers))
        return Layers(lowers=lowers, host_usr=state.host_usr)


@contextmanager
def _placed(place: Place, text: str) -> Iterator[None]:
    """Faults of the machine and of the store get the instruction's place."""
    try:
        yield
    except ImageError as exc:
        raise fault(place, f"{text}: {exc.message}", hint=exc.hint) from exc
    except PcomposeError:
        raise
    except OSError as exc:
        name = f" {exc.filename}" if exc.filename else ""
        raise fault(place, f"{text}:{name}: {exc.strerror or exc}") from exc
