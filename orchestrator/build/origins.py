"""Where files come from: the context, named contexts, stages and images, each opened as a tree.

Owns the meaning of a name in `--from` and `from=`: a stage before a named context before an image.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from orchestrator.build import cache, ignore
from orchestrator.build.contents import Contents
from orchestrator.build.copystep import Origin
from orchestrator.build.fault import Place, fault
from orchestrator.build.ignore import Rules
from orchestrator.build.request import BuildRequest, Drivers
from orchestrator.build.runstep import Source
from orchestrator.build.tree import Tree
from orchestrator.build.view import Layers, Scratch, mounted
from orchestrator.dataclass import dataclass
from orchestrator.errors import BuildError, ImageError
from orchestrator.image.steps import StepRecords
from orchestrator.image.store import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A stage or an image that files can be taken of."""

    layers: Layers
    chain: str


class Origins:
    """All that a build can copy from."""

    def __init__(
        self, request: BuildRequest, drivers: Drivers, records: StepRecords,
        stage: Callable[[str], Finished | None],
    ) -> None:
        """`stage` knows the stages that are done, by name or number."""
        self._request, self._drivers, self._records = request, drivers, records
        self._stage = stage
        self._rules = self._read_rules()
        self._contents: dict[str, Contents] = {}

    def _read_rules(self) -> Rules:
        if self._request.ignore is None:
            return Rules()
        try:
            return ignore.read(self._request.ignore)
        except ValueError as exc:
            raise BuildError(f"{self._request.ignore_file}: {exc}") from exc

    # ---- looking up ----

    def copy_origin(self, name: str, place: Place) -> Origin:
        """The origin of a COPY; an empty name is the build's context."""
        if not name:
            return Origin(open=lambda: self._context(place), title="the build context",
                          missing=self._why_missing)
        finished = self._finished(name, place)
        if finished is None:
            directory = self._request.contexts[name]
            return Origin(open=lambda: self._directory(directory, Rules(), name),
                          title=f"the context {name}", missing=lambda _: None)
        return Origin(open=lambda: self._merged(finished.layers, name), title=name,
                      chain=finished.chain, missing=lambda _: None)

    def source(self, name: str, place: Place) -> Source:
        """The origin of a bind mount."""
        origin = self.copy_origin(name, place)
        finished = self._finished(name, place) if name else None
        return Source(open=origin.open, layers=finished.layers if finished else None,
                      chain=finished.chain if finished else "")

    def _finished(self, name: str, place: Place) -> Finished | None:
        """None: it is a named context that is a directory."""
        stage = self._stage(name)
        if stage is not None:
            return stage
        if name in self._request.contexts:
            return None
        return self.image(self.find_image(name, place, platform=self._request.platform))

    def find_image(self, name: str, place: Place, *, platform: str) -> Image:
        """The image that a name means here; empty is a platform that runs here."""
        known = self._request.images.get(name)
        if known is not None:
            return known
        try:
            return self._drivers.find_image(name, platform)
        except ImageError as exc:
            raise fault(place, exc.message, hint=exc.hint) from exc

    def image(self, image: Image) -> Finished:
        """An image as something to copy from."""
        return Finished(layers=Layers(lowers=image.layers, host_usr=image.host_usr),
                        chain=image.id)

    # ---- opening ----

    def _context(self, place: Place) -> AbstractContextManager[Tree]:
        if self._request.context is None:
            raise fault(place, "this build has no context to copy from",
                        hint="give `context:` in the service's `build`")
        return self._directory(self._request.context, self._rules, "the build context")

    def _why_missing(self, source: str) -> str | None:
        path = os.path.normpath("/" + source).lstrip("/")
        context = self._request.context or ""
        if self._rules.ignores(path) and os.path.lexists(f"{context}/{path}"):
            return f"it is there, but {self._request.ignore_file} leaves it out"
        return None

    @contextmanager
    def _directory(self, path: str, rules: Rules, name: str) -> Iterator[Tree]:
        try:
            root = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as exc:
            raise BuildError(f"cannot open {name} {path}: {exc.strerror}") from exc
        try:
            yield Tree(root, name=name, rules=rules, keeps_owners=False,
                       contents=self._known(path))
        finally:
            os.close(root)

    @contextmanager
    def _merged(self, layers: Layers, name: str) -> Iterator[Tree]:
        store = self._drivers.store
        scratch = Scratch(path=store.scratch())
        try:
            with mounted(layers, scratch) as root:
                yield Tree(root, name=name, keeps_owners=True)
        finally:
            store.discard(scratch.path)

    # ---- what was read before ----

    def _known(self, path: str) -> Contents:
        found = self._contents.get(path)
        if found is None:
            memo = self._records.memo(_memo(path)) or {}
            found = self._contents[path] = Contents(memo.get("files"))
        return found

    def remember(self) -> None:
        """Keep the digests of files that were read, for the next build."""
        for path, contents in self._contents.items():
            if contents.changed and not path.startswith(f"{self._drivers.store.root}/"):
                self._records.remember(_memo(path), {"files": contents.fresh})


def _memo(path: str) -> str:
    return cache.digest(["contents", os.path.realpath(path)])
