"""From a registry into the store: manifest, configuration, layers, several at a time.

A layer that is here already is not even asked for, whoever brought it; whoever wants one that
another process is unpacking waits for it.  Each layer counts from the moment it is whole; the
image gets its name last.
"""

from __future__ import annotations

import threading
from functools import partial

from orchestrator import events
from orchestrator.dataclass import dataclass, replace
from orchestrator.errors import ImageError, ImageNotFoundError, RegistryError
from orchestrator.image import compression, digest, layers, manifest
from orchestrator.image import config as configs
from orchestrator.image.config import ConfigFile, Platform
from orchestrator.image.distribution import Distribution, Entry
from orchestrator.image.manifest import Descriptor, Index, Manifest
from orchestrator.image.reference import Reference
from orchestrator.image.registry import crew, download
from orchestrator.image.registry.client import Document, Repository, Session
from orchestrator.image.registry.download import Download
from orchestrator.image.registry.report import Report
from orchestrator.image.store import Image, ImageStore, Layer

LAYERS_AT_ONCE = 4
"""Layers of all images together that are on their way at a time."""
_DEEPEST_INDEX = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An image to be pulled."""

    reference: Reference
    platform: Platform | None = None
    """None: this machine's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What came of it."""

    image: Image
    digest: str
    """Of the manifest or index that the name stands for."""
    is_new: bool
    """Whether the name stands for another image than before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What the registry says the image is."""

    repository: Repository
    top: Document
    own: Document
    config: bytes
    file: ConfigFile
    layers: tuple[Descriptor, ...]


class Puller:
    """Pulls into one store; its `pull` may be called by several threads at once."""

    def __init__(
        self, store: ImageStore, session: Session, *, sink: events.Sink,
        stop: crew.Stop | None = None,
    ) -> None:
        self._store, self._session, self._sink = store, session, sink
        self._distribution = Distribution(store.root)
        self._directory = f"{store.root}/{download.DIRECTORY}"
        self.stop = stop or crew.Stop()
        self._gate = threading.BoundedSemaphore(LAYERS_AT_ONCE)

    def pull(self, wanted: Wanted) -> Pulled:
        """Bring one image in.  ImageNotFoundError, RegistryError and ImageError name it."""
        name = wanted.reference.tagged().familiar
        report = Report(name, self._sink, doing="Pulling")
        report.begin()
        try:
            pulled = self._pull(wanted, report)
        except ImageError as exc:
            report.fail()
            raise exc.about(f"cannot pull {name}") from exc
        report.end("Pulled", details="" if pulled.is_new else "up to date")
        return pulled

    def _pull(self, wanted: Wanted, report: Report) -> Pulled:
        reference = wanted.reference.tagged()
        known = self._store.resolve(reference.familiar)
        with self._store.adding():
            download.sweep(self._directory)
            current = self._unchanged(reference, known, wanted)
            if current is not None:
                return Pulled(image=current[0], digest=current[1], is_new=False)
            plan = self._ask(reference, wanted.platform or manifest.host_platform())
            image = self._store.add_image(plan.config, self._layers(plan, report))
            return self._named(reference, plan, image, known)

    def _named(
        self, reference: Reference, plan: _Plan, image: Image, known: Image | None
    ) -> Pulled:
        entry = Entry(name=reference.name, digest=plan.top.digest, image=image.id,
                      manifest=plan.own.digest, media_type=plan.own.media_type)  # fmt: skip
        self._distribution.add(entry, plan.own.data)
        image = self._store.tag(image.id, reference.familiar)
        return Pulled(image=image, digest=plan.top.digest,
                      is_new=known is None or known.id != image.id)  # fmt: skip

    # ---- what is it? ----

    def _unchanged(
        self, reference: Reference, known: Image | None, wanted: Wanted
    ) -> tuple[Image, str] | None:
        """The image that is here, if the registry says that the name still stands for it: a HEAD
        costs nothing where pulls are counted."""
        platform = wanted.platform or manifest.host_platform()
        if known is None or not _fits(known.platform, platform):
            return None
        there = {e.digest for e in self._distribution.entries(known.id) if e.name == reference.name}
        if not there:
            return None
        repository = self._session.repository(reference)
        found = reference.digest or repository.manifest_digest(reference.tag)
        if found not in there:
            return None
        self._store.tag(known.id, reference.familiar)  # its age begins anew
        return known, found

    def _ask(self, reference: Reference, platform: Platform) -> _Plan:
        """The manifest of the first endpoint that has one: mirrors, then the origin."""
        endpoints = self._session.hosts.endpoints(reference.domain)
        for endpoint in endpoints:
            repository = Repository(self._session.registry(endpoint), reference.path)
            try:
                return self._plan(repository, reference, platform)
            except (RegistryError, ImageNotFoundError) as exc:
                if not endpoint.is_mirror:
                    raise
                self._sink(events.Warned(message=f"mirror {endpoint.url}: {exc.message}"))
        raise AssertionError("the origin is the last endpoint")

    def _plan(self, repository: Repository, reference: Reference, platform: Platform) -> _Plan:
        top = own = repository.manifest(reference.digest or reference.tag)
        what = f"{repository.name}@{top.digest}"
        for _ in range(_DEEPEST_INDEX):
            parsed = manifest.parse(own.data, what=what)
            if isinstance(parsed, Manifest):
                return self._image_plan(repository, top, own, parsed)
            own = self._chosen(repository, parsed, platform)
        raise ImageError(f"{what} nests its indexes more than {_DEEPEST_INDEX} deep")

    def _chosen(self, repository: Repository, index: Index, platform: Platform) -> Document:
        item = manifest.choose(index.manifests, wanted=platform, what=repository.name)
        found = repository.manifest(item.digest)
        if len(found.data) != item.size:
            raise ImageError(f"{item.digest} has {len(found.data)} bytes, not {item.size}")
        return found

    def _image_plan(
        self, repository: Repository, top: Document, own: Document, parsed: Manifest
    ) -> _Plan:
        config = repository.read_blob(parsed.config.digest, size=parsed.config.size)
        file = configs.parse(config, what=f"config {parsed.config.digest}")
        if len(file.diff_ids) != len(parsed.layers):
            raise ImageError(f"its manifest has {len(parsed.layers)} layers, its config "
                             f"{len(file.diff_ids)}")  # fmt: skip
        for layer in parsed.layers:
            if not layer.is_layer:
                raise ImageError(
                    f"its layer {layer.digest} is of the kind {layer.media_type!r}, which is not "
                    "fetched", hint="layers that lie elsewhere, or are encrypted, are refused")
        own = replace(own, media_type=own.stated_type)
        return _Plan(repository=repository, top=top, own=own, config=config, file=file,
                     layers=parsed.layers)  # fmt: skip

    # ---- layers ----

    def _layers(self, plan: _Plan, report: Report) -> list[Layer]:
        """All layers, lowest first; those that are missing are fetched side by side."""
        pairs = list(zip(plan.file.diff_ids, plan.layers, strict=True))
        found = {diff_id: self._store.layer(diff_id) for diff_id, _ in pairs}
        missing = {diff_id: blob for diff_id, blob in pairs if found[diff_id] is None}
        report.total = sum(blob.size for blob in missing.values())

        stop = crew.Stop(self.stop)  # a fault of this image ends no other one

        def fetch(diff_id: str, blob: Descriptor) -> None:
            # who waits for nobody any more may go on for a moment: nothing is swept until it ends
            with self._gate, self._store.adding():
                fill = partial(self._fill, plan.repository, diff_id, blob, report, stop)
                try:
                    found[diff_id] = self._store.add_layer(diff_id, fill)
                except _SpoiledError:
                    found[diff_id] = self._store.add_layer(diff_id, fill)
                report.settle(blob.size)

        tasks = [partial(fetch, diff_id, blob) for diff_id, blob in missing.items()]
        crew.run(tasks, most=LAYERS_AT_ONCE, stop=stop)
        return [layer for diff_id, _ in pairs if (layer := found[diff_id]) is not None]

    def _fill(
        self, repository: Repository, diff_id: str, blob: Descriptor, report: Report,
        stop: crew.Stop, directory: str,
    ) -> tuple[str, int]:  # fmt: skip
        with Download(repository, blob, directory=self._directory, stop=stop,
                      advance=report.advance) as stream:  # fmt: skip
            try:
                plain = compression.opened(stream, what=f"layer {blob.digest}")
                found = layers.unpack(plain, directory, algorithm=digest.algorithm(diff_id))
                while stream.read(digest.CHUNK):
                    pass  # what the reader had no use for has to be right, too
            except ImageError as exc:
                if not isinstance(exc, RegistryError):
                    stream.forget()  # whatever it is, the next one shall not begin with it
                if stream.is_spoiled:
                    raise _SpoiledError(exc.message, hint=exc.hint) from exc
                raise
        return found


class _SpoiledError(ImageError):
    """What an earlier pull has left of a layer was no good: it is worth another try."""


def _fits(has: str, wanted: Platform) -> bool:
    system, architecture = (*has.split("/"), "")[:2]
    return (system, architecture) == (wanted.os, wanted.architecture)
