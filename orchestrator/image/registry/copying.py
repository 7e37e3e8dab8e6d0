"""An image from one repository into another, byte for byte, with all its platforms.

Nothing of it comes into the store: what the target has, or can mount from beside it, is not moved.
"""

from __future__ import annotations

from functools import partial

from orchestrator.dataclass import replace
from orchestrator.errors import ImageError
from orchestrator.image import manifest
from orchestrator.image.manifest import Descriptor, Index
from orchestrator.image.registry import crew, download, upload
from orchestrator.image.registry.client import Repository
from orchestrator.image.registry.report import Report
from orchestrator.image.store import ImageStore

BLOBS_AT_ONCE = 4
_DEEPEST_INDEX = 4


class Copier:
    """Copies images by way of the scratch space of a store, and of its downloads, which go on
    where an earlier command was cut."""

    def __init__(self, store: ImageStore, *, report: Report, stop: crew.Stop) -> None:
        self._store, self._report, self._stop = store, report, stop

    def copy(self, source: Repository, target: Repository, tag_or_digest: str) -> Descriptor:
        """What the target has then, under its digest.  ImageNotFoundError, RegistryError."""
        return self._document(source, target, tag_or_digest, depth=0)

    def _document(
        self, source: Repository, target: Repository, tag_or_digest: str, *, depth: int
    ) -> Descriptor:
        if depth > _DEEPEST_INDEX:
            raise ImageError(f"{source.name} nests its indexes more than {_DEEPEST_INDEX} deep")
        found = source.manifest(tag_or_digest)
        parsed = manifest.parse(found.data, what=f"{source.name}@{found.digest}")
        if isinstance(parsed, Index):
            for item in parsed.manifests:
                self._document(source, target, item.digest, depth=depth + 1)
        else:
            self._blobs(source, target, [parsed.config, *parsed.layers])
        found = replace(found, media_type=found.stated_type)
        target.put_manifest(found.digest, found)
        return Descriptor(media_type=found.media_type, digest=found.digest, size=len(found.data))

    def _blobs(self, source: Repository, target: Repository, blobs: list[Descriptor]) -> None:
        unique = {blob.digest: blob for blob in blobs}
        tasks = [partial(self._blob, source, target, blob) for blob in unique.values()]
        crew.run(tasks, most=BLOBS_AT_ONCE, stop=crew.Stop(self._stop))

    def _blob(self, source: Repository, target: Repository, blob: Descriptor) -> None:
        if target.has_blob(blob.digest):
            return
        place = ""
        if source.registry.host == target.registry.host:
            place = target.begin_upload(mount=blob.digest, source=source.path)
            if not place:
                return
        with self._store.adding():
            self._by_way_of_here(source, target, blob, place)

    def _by_way_of_here(
        self, source: Repository, target: Repository, blob: Descriptor, place: str
    ) -> None:
        scratch = self._store.scratch()
        try:
            path = f"{scratch}/blob"
            download.save(source, blob, path, root=self._store.root, stop=self._stop)
            upload.send_file(target, blob, path, advance=self._report.advance, place=place,
                             stop=self._stop)  # fmt: skip
        finally:
            self._store.discard(scratch)
