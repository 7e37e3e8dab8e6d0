"""From the store into a registry: layers, configuration, manifest, several layers at a time.

The registry is asked for a blob before it is sent, then whether it has it in another repository;
what was pulled keeps its digests where the blobs can be had.  What has to be made is compressed the
same way each time, so that the same image has the same digests wherever it is pushed from.
"""

from __future__ import annotations

import json
import os
import threading
from functools import partial

from orchestrator import events
from orchestrator.dataclass import dataclass
from orchestrator.errors import ImageError, ImageNotFoundError
from orchestrator.image import digest, manifest
from orchestrator.image import reference as references
from orchestrator.image.distribution import Distribution, Entry, Packed
from orchestrator.image.manifest import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor, Manifest
from orchestrator.image.reference import Reference
from orchestrator.image.registry import crew, download, upload
from orchestrator.image.registry.client import Document, Repository, Session
from orchestrator.image.registry.report import Report
from orchestrator.image.store import Image, ImageStore, Layer

LAYERS_AT_ONCE = 4
_LEVEL = 6
_WITH_HEADER = 31
"""zlib's window for a gzip header, which then has no time in it."""
_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What came of it."""

    digest: str
    """Of the manifest."""
    size: int
    """Bytes of the manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One image on its way to one repository."""

    image: Image
    repository: Repository
    reference: Reference
    known: dict[str, list[Packed]]
    """diff id -> blobs, those that keep the image's digest first."""
    report: Report
    scratch: str


class Pusher:
    """Pushes out of one store; its `push` may be called by several threads at once."""

    def __init__(
        self, store: ImageStore, session: Session, *, sink: events.Sink,
        stop: crew.Stop | None = None,
    ) -> None:
        self._store, self._session, self._sink = store, session, sink
        self._distribution = Distribution(store.root)
        self.stop = stop or crew.Stop()
        self._gate = threading.BoundedSemaphore(LAYERS_AT_ONCE)
        self._silent: set[str] = set()
        """Registries that a blob could not be had from: they are asked once."""

    def push(self, reference: Reference) -> Pushed:
        """Send the image of that name.  ImageNotFoundError, RegistryError, ImageError name it."""
        name = reference.tagged().familiar
        report = Report(name, self._sink, doing="Pushing")
        report.begin()
        try:
            pushed = self._push(reference.tagged(), report)
        except ImageError as exc:
            report.fail()
            raise exc.about(f"cannot push {name}") from exc
        report.end("Pushed", details=pushed.digest[:19])
        return pushed

    def _push(self, reference: Reference, report: Report) -> Pushed:
        image = self._store.resolve(reference.familiar)
        if image is None:
            raise ImageNotFoundError("there is no image of that name here",
                                     hint="build it, or give it the name: pcompose image tag")
        if image.host_usr:
            raise ImageError("it is made of this machine's own files, which stay here")
        if reference.digest:
            raise ImageError("a digest is not chosen by who pushes", hint="push a tag")
        repository = self._session.repository(reference, is_pushed=True)
        with self._store.adding():
            scratch = self._store.scratch()
            try:
                return self._send(_Job(image=image, repository=repository, reference=reference,
                                       known=self._known(image, reference), report=report,
                                       scratch=scratch))  # fmt: skip
            finally:
                self._store.discard(scratch)

    def _send(self, job: _Job) -> Pushed:
        layers = self._store.layers(job.image)
        job.report.total = sum(layer.size for layer in layers)
        found: dict[str, Descriptor] = {}

        def one(layer: Layer) -> None:
            with self._gate, self._store.adding():
                found[layer.diff_id] = self._layer(job, layer)
                job.report.settle(layer.size)

        unique = {layer.diff_id: layer for layer in layers}
        crew.run([partial(one, layer) for layer in unique.values()], most=LAYERS_AT_ONCE,
                 stop=crew.Stop(self.stop))  # fmt: skip
        blobs = [found[layer.diff_id] for layer in layers]
        document = self._document(job, blobs)
        job.repository.put_manifest(job.reference.tag, document)
        self._distribution.add(Entry(
            name=job.reference.name, digest=document.digest, image=job.image.id,
            manifest=document.digest, media_type=document.media_type,
        ), document.data)  # fmt: skip
        return Pushed(digest=document.digest, size=len(document.data))

    # ---- layers ----

    def _known(self, image: Image, reference: Reference) -> dict[str, list[Packed]]:
        """What is known of blobs, those of this image's own manifests first."""
        entries = self._distribution.entries()
        ids = dict.fromkeys(e.image for e in entries)
        images = {id_: found for id_ in ids if (found := self._store.resolve(id_)) is not None}
        diff_ids = {id_: tuple(layer.diff_id for layer in self._store.layers(found))
                    for id_, found in images.items()}  # fmt: skip
        known = self._distribution.blobs(diff_ids)
        for packed in known.values():
            packed.sort(key=lambda p: (p.image != image.id, p.name != reference.name))
        return known

    def _layer(self, job: _Job, layer: Layer) -> Descriptor:
        """See that the registry has a layer; the blob that it has."""
        known = job.known.get(layer.diff_id, [])
        for blob in {p.blob.digest: p.blob for p in known}.values():
            if job.repository.has_blob(blob.digest):
                return blob
        place = ""
        for packed in known:
            source, blob = references.parse(packed.name), packed.blob
            if source.domain == job.reference.domain and source.path != job.reference.path:
                place = job.repository.begin_upload(mount=blob.digest, source=source.path)
                if not place:
                    return blob
        path = f"{job.scratch}/{layer.name}"
        blob = self._fetched(known, path) or self._compressed(layer, path)
        if not job.repository.has_blob(blob.digest):
            upload.send_file(job.repository, blob, path, advance=job.report.advance, place=place,
                             stop=self.stop)  # fmt: skip
        os.unlink(path)
        return blob

    def _fetched(self, known: list[Packed], path: str) -> Descriptor | None:
        """A blob from where it came from, so that the image keeps its digest; None: it cannot be
        had."""
        for packed in known:
            source, blob = references.parse(packed.name), packed.blob
            if source.domain in self._silent:
                continue
            try:
                download.save(self._session.repository(source), blob, path,
                              root=self._store.root, stop=self.stop)  # fmt: skip
            except (ImageError, OSError):
                self._silent.add(source.domain)
                continue
            return blob
        return None

    def _compressed(self, layer: Layer, path: str) -> Descriptor:
        import zlib
        from hashlib import sha256

        packer, hashed, size = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WITH_HEADER), sha256(), 0
        with open(path, "wb") as file:
            def put(data: bytes) -> int:
                hashed.update(data)
                return file.write(data)

            for data in self._store.read_layer(layer.diff_id):
                if self.stop.is_set():
                    raise crew.StoppedError
                size += put(packer.compress(data))
            size += put(packer.flush())
        return Descriptor(media_type=OCI_LAYER, digest=f"sha256:{hashed.hexdigest()}", size=size)

    # ---- documents ----

    def _document(self, job: _Job, blobs: list[Descriptor]) -> Document:
        """The manifest, and its configuration sent: one that is known, if all its blobs are those
        that the registry has, else a new one."""
        own = self._distribution.entries(job.image.id)
        for entry in sorted(own, key=lambda e: e.name != job.reference.name):
            data = self._distribution.document(entry.manifest)
            if data is None:
                continue
            parsed = manifest.parse(data, what=entry.manifest)
            if isinstance(parsed, Manifest) and [b.digest for b in parsed.layers] == (
                [b.digest for b in blobs]
            ):
                self._put_config(job, parsed.config)
                return Document(data=data, media_type=entry.media_type, digest=entry.manifest)
        config = Descriptor(media_type=OCI_CONFIG, digest=job.image.id,
                            size=len(self._store.read_blob(job.image.id)))  # fmt: skip
        self._put_config(job, config)
        data = _manifest(config, blobs)
        return Document(data=data, media_type=OCI_MANIFEST, digest=digest.of_bytes(data))

    def _put_config(self, job: _Job, config: Descriptor) -> None:
        upload.send_data(job.repository, config, self._store.read_blob(job.image.id),
                         stop=self.stop)  # fmt: skip


def _manifest(config: Descriptor, layers: list[Descriptor]) -> bytes:
    """An OCI manifest, the same bytes for the same image."""

    def entry(blob: Descriptor) -> dict[str, object]:
        media_type = blob.media_type
        if media_type.startswith(_DOCKER_LAYER):
            packed = media_type.removeprefix(_DOCKER_LAYER).strip(".+")
            media_type = "application/vnd.oci.image.layer.v1.tar" + (f"+{packed}" if packed else "")
        return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}

    root = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": entry(config),
            "layers": [entry(blob) for blob in layers]}  # fmt: skip
    return json.dumps(root, separators=(",", ":")).encode()
