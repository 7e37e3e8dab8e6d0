"""Images of the store -> one tar that is an OCI image layout and a docker archive at once.

The counterpart of image.archive: what is written here, it loads, as do docker, podman and skopeo.
Blobs are written as they are made, so nothing is needed on the disk beside the archive.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from orchestrator.dataclass import dataclass
from orchestrator.errors import ImageError, ImageNotFoundError
from orchestrator.image import config as configs
from orchestrator.image import digest, reference, writing
from orchestrator.image.store import Image, ImageStore
from orchestrator.image.tar import BLOCK

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
Json = dict[str, Any]  # JSON has no narrower type
Write = Callable[[bytes], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Saved:
    """One image and the names it is saved under."""

    image: Image
    names: tuple[str, ...]
    config: bytes
    diff_ids: tuple[str, ...]


def save(store: ImageStore, names: Sequence[str], write: Write) -> None:
    """Write the images to `write`, which gets the archive in pieces.  ImageError before the first
    piece for an image that is not there or cannot be taken away."""
    saved = _chosen(store, names)
    sizes = {diff_id: store.layer_size(diff_id) for one in saved for diff_id in one.diff_ids}
    documents = _documents(saved, sizes)
    for name, data in documents.items():
        _member(write, name, data)
    for diff_id, size in sizes.items():
        write(_header(_blob(diff_id), size))
        for data in store.read_layer(diff_id):
            write(data)
        write(bytes(-size % BLOCK))
    write(bytes(2 * BLOCK))


def _chosen(store: ImageStore, names: Sequence[str]) -> list[_Saved]:
    """Every image once, with the names it was asked by."""
    asked: dict[str, list[str]] = {}
    images: dict[str, Image] = {}
    for name in names:
        image = store.resolve(name)
        if image is None:
            raise ImageNotFoundError(f"no such image: {name}")
        if image.host_usr:
            raise ImageError(f"{name} cannot be saved: its /usr is that of this machine",
                             hint="build it on an image that has all its files")
        images[image.id] = image
        found = asked.setdefault(image.id, [])
        if not reference.id_prefix(name):
            found.append(reference.parse(name).tagged().familiar)
    saved = []
    for id_, image in images.items():
        config = store.read_blob(id_)
        saved.append(_Saved(image=image, names=tuple(asked[id_]), config=config,
                            diff_ids=configs.parse(config).diff_ids))
    return saved


def _documents(saved: Sequence[_Saved], sizes: Mapping[str, int]) -> dict[str, bytes]:
    """All members but the layers, by name."""
    found: dict[str, bytes] = {"oci-layout": _json({"imageLayoutVersion": "1.0.0"})}
    manifests: list[Json] = []
    for one in saved:
        manifest = _json(_manifest(one, sizes))
        found[_blob(one.image.id)] = one.config
        found[_blob(digest.of_bytes(manifest))] = manifest
        manifests += _descriptors(one, manifest)
    found["index.json"] = _json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": manifests})
    found["manifest.json"] = _json([
        {"Config": _blob(one.image.id), "RepoTags": list(one.names) or None,
         "Layers": [_blob(diff_id) for diff_id in one.diff_ids]}
        for one in saved
    ])  # fmt: skip
    return found


def _manifest(one: _Saved, sizes: Mapping[str, int]) -> Json:
    return {
        "schemaVersion": 2, "mediaType": _MANIFEST,
        "config": {"mediaType": _CONFIG, "digest": one.image.id, "size": len(one.config)},
        "layers": [{"mediaType": _LAYER, "digest": diff_id, "size": sizes[diff_id]}
                   for diff_id in one.diff_ids],
    }  # fmt: skip


def _descriptors(one: _Saved, manifest: bytes) -> Iterator[Json]:
    """An entry of the index for each name."""
    common: Json = {"mediaType": _MANIFEST, "digest": digest.of_bytes(manifest),
                    "size": len(manifest)}
    for name in one.names or ("",):
        if not name:
            yield common
            continue
        whole = reference.parse(name)
        yield {**common, "annotations": {
            "io.containerd.image.name": whole.canonical,
            "org.opencontainers.image.ref.name": whole.tag or "latest",
        }}


def _json(data: object) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()


def _blob(name: str) -> str:
    return f"blobs/{name.replace(':', '/')}"


def _header(name: str, size: int) -> bytes:
    raw = name.encode()
    records = [(b"path", raw)] if len(raw) > writing.LONGEST_NAME else []
    if size >= writing.MOST_BYTES:
        records.append((b"size", b"%d" % size))
    return (writing.extended(records) if records else b"") + writing.fields(
        raw[:writing.LONGEST_NAME], b"0", mode=0o644, uid=0, gid=0, mtime=0,
        size=size if size < writing.MOST_BYTES else 0,
    )  # fmt: skip


def _member(write: Write, name: str, data: bytes) -> None:
    write(_header(name, len(data)))
    write(data + bytes(-len(data) % BLOCK))
