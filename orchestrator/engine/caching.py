"""`cache_from` and `cache_to` of a build: directories, registries, and the image itself."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.dataclass import dataclass
from orchestrator.errors import ImageError
from orchestrator.events import Sink, Warned
from orchestrator.image import reference as references

if TYPE_CHECKING:
    from orchestrator.engine.workspace import Workspace
    from orchestrator.image.registry import crew
    from orchestrator.image.steps import Step
    from orchestrator.image.store import Image, ImageStore

FILE = "cache.tar"
_KINDS = ("local", "registry", "inline")
_KEYS = {
    "local": ("src", "dest", "mode"), "registry": ("ref", "mode"), "inline": (),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """Where a cache goes to or comes from."""

    kind: str
    """`local`, `registry` or `inline`."""
    place: str = ""
    """A directory, or the name of an image."""
    is_whole: bool = False
    """`mode=max`: the steps of all stages."""
    is_lenient: bool = False
    """`ignore-error=true`."""


def parse(text: str, *, to: bool, directory: str) -> Exchange:
    """`type=local,dest=DIR`, `type=registry,ref=NAME`, `type=inline`, or a name alone; relative
    directories are below `directory`.  ValueError says what is wrong."""
    if "=" not in text.partition(",")[0]:
        return Exchange(kind="registry", place=_name(text))
    said = dict(part.partition("=")[::2] for part in text.split(","))
    kind, mode = said.pop("type", "registry"), said.pop("mode", "min")
    lenient = said.pop("ignore-error", "false")
    if kind not in _KINDS or (kind == "inline" and not to):
        raise ValueError(f"`{kind}` is no kind of cache that is known here: local, registry"
                         + (", inline" if to else ""))
    if mode not in ("min", "max") or lenient not in ("true", "false"):
        raise ValueError(f"`{text}`: mode is min or max, ignore-error true or false")
    unknown = sorted(set(said) - set(_KEYS[kind]))
    if unknown:
        raise ValueError(f"a {kind} cache has no `{unknown[0]}`")
    key = {"local": "dest" if to else "src", "registry": "ref", "inline": ""}[kind]
    if key and not said.get(key):
        raise ValueError(f"a {kind} cache needs `{key}=`")
    place = said.get(key, "")
    return Exchange(
        kind=kind, is_whole=mode == "max", is_lenient=lenient == "true",
        place=os.path.join(directory, place) if kind == "local" else place and _name(place),
    )  # fmt: skip


def _name(text: str) -> str:
    try:
        return references.parse(text).tagged().familiar
    except ImageError as exc:
        raise ValueError(exc.message) from exc


class CacheExchange:
    """The caches of one command's builds."""

    def __init__(
        self, workspace: Workspace, store: ImageStore, *, sink: Sink, names: frozenset[str],
        stop: crew.Stop,
    ) -> None:
        """`names` are those of images that are built, which stay."""
        self._workspace, self._store, self._sink = workspace, store, sink
        self._stop = stop
        self._names = {_name(name) for name in names}
        self._lock = threading.Lock()
        self._brought: dict[str, str] = {}

    def fetcher(self, sources: Sequence[Exchange]) -> Callable[[], bool]:
        """Brings the caches in when it is first called; whether there are any."""
        def fetch() -> bool:
            with self._lock:
                for source in sources:
                    if source.place not in self._brought:
                        self._brought[source.place] = ""
                        self._bring(source)
            return bool(sources)

        return fetch

    def _bring(self, source: Exchange) -> None:
        """One that cannot be used costs time and no more: a warning."""
        from orchestrator.build import sharing

        try:
            reference = self._loaded(source)
            image = self._known(reference)
            self._brought[source.place] = reference
            sharing.adopt(self._store, image)
        except ImageError as exc:
            self._sink(Warned(message=f"cache_from {source.place}: {exc.message}"))

    def _loaded(self, source: Exchange) -> str:
        from orchestrator.engine import pulling
        from orchestrator.image import archive

        if source.kind == "local":
            [reference] = archive.load(self._store, f"{source.place}/{FILE}")
            return reference
        pulling.pull_names(self._workspace.choice, self._store, [source.place], sink=self._sink,
                           whole=self._stop)  # fmt: skip
        return source.place

    def _known(self, reference: str) -> Image:
        image = self._store.resolve(reference)
        if image is None:
            raise ImageError(f"no such image: {reference}")
        return image

    def give(self, targets: Sequence[Exchange], steps: Mapping[str, Step], image: Image) -> None:
        """Take out what a build was made of.  ImageError where it cannot be, unless lenient."""
        from orchestrator.build import sharing

        diff_ids = tuple(layer.diff_id for layer in self._store.layers(image))
        for target in targets:
            if target.kind == "inline":
                continue  # the image has it in itself
            wanted = steps if target.is_whole else sharing.within(steps, diff_ids)
            try:
                self._given(target, sharing.image_of(self._store, wanted))
            except ImageError as exc:
                if not target.is_lenient:
                    raise exc.about(f"cache_to {target.place}") from exc
                self._sink(Warned(message=f"cache_to {target.place}: {exc.message}"))

    def _given(self, target: Exchange, cache: Image) -> None:
        from orchestrator.engine import pushing
        from orchestrator.engine.imagestore import save_file

        reference = target.place
        if target.kind == "local":
            reference = f"localhost/pcompose-cache:{cache.id[7:19]}"
        self._store.tag(cache.id, reference)
        self._brought[f"to {target.place}"] = reference
        if target.kind == "local":
            os.makedirs(target.place, exist_ok=True)
            save_file(self._store, [reference], f"{target.place}/{FILE}")
        else:
            pushing.push_names(self._workspace.choice, self._store, {reference: ("", "cache_to")},
                               sink=self._sink, whole=self._stop)  # fmt: skip

    def tidy(self) -> None:
        """Take the images of caches away, whose layers the records of steps keep.  Not inside of
        the store's `adding`."""
        for reference in {*self._brought.values()} - {"", *self._names}:
            if self._store.resolve(reference) is not None:
                self._store.remove(reference)
