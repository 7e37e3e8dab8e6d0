"""Images from files: `load` (docker save, OCI layouts) and `import_rootfs` (a file system).

Owns the two archive formats: Docker's manifest.json and the OCI image layout (image-layout.md);
where an archive has both, as those of new Docker versions, manifest.json is read since it has the
names.  Every digest that an archive states is verified; layers that are here already are not even
read.
"""

from __future__ import annotations

import os
import posixpath
import time
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator import events
from orchestrator.dataclass import dataclass
from orchestrator.errors import ImageError
from orchestrator.image import compression, digest, document, layers, manifest, sources, writing
from orchestrator.image import config as configs
from orchestrator.image import reference as references
from orchestrator.image.config import ConfigFile, History, ImageConfig
from orchestrator.image.digest import Hashing, Limited, Readable
from orchestrator.image.manifest import Descriptor, Index, Manifest
from orchestrator.image.sources import Source
from orchestrator.image.store import Image, ImageStore, Layer

COMMENT = "pcompose"
"""In the history of what is imported, where nobody says more."""
_DEEPEST_INDEX = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One layer as a file of the archive."""

    file: str
    diff_id: str
    blob: Descriptor | None
    """What the file must hash to; None: only its uncompressed content has a digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """One image of an archive."""

    names: tuple[str, ...]
    config: bytes
    parts: tuple[_Part, ...]


def load(
    store: ImageStore, path_or_stream: str | Readable, *, sink: events.Sink = events.ignore
) -> list[str]:
    """Store every image of the archive (for this machine's platform); returns their familiar
    names, or the id of one without name.  ImageError where the archive is damaged or is none."""
    loaded: list[str] = []
    with _named("load", path_or_stream), store.adding():
        scratch = store.scratch()
        try:
            with sources.opened(path_or_stream, scratch=scratch) as source:
                for found in _images(source, path_or_stream):
                    loaded += _Loader(store, source, sink).load(found)
        finally:
            store.discard(scratch)
    return loaded


@contextmanager
def _named(act: str, path_or_stream: str | Readable) -> Iterator[None]:
    """Puts the name of the archive before whatever is wrong with it."""
    what = path_or_stream if isinstance(path_or_stream, str) else "what is read"
    try:
        yield
    except ImageError as exc:
        raise ImageError(f"cannot {act} {what}: {exc.message}", hint=exc.hint) from exc


def _images(source: Source, path: str | Readable) -> list[_Found]:
    if source.size("manifest.json") is not None:
        return _docker(source)
    if source.size("index.json") is not None:
        directory = path if isinstance(path, str) and os.path.isdir(path) else ""
        return _layout(source, directory=directory)
    raise ImageError(
        "it is neither a docker archive nor an OCI layout",
        hint="a root file system becomes an image with `pcompose import FILE NAME:TAG`",
    )


def _content(source: Source, name: str) -> bytes:
    size = source.size(name)
    if size is not None and size > document.LARGEST:
        raise ImageError(f"{name} is larger than {document.LARGEST} bytes")
    stream = source.open(name)
    parts: list[bytes] = []
    while data := stream.read(digest.CHUNK):
        parts.append(data)
    return b"".join(parts)


# ---- docker save ----


def _docker(source: Source) -> list[_Found]:
    root = document.parse(_content(source, "manifest.json"), what="manifest.json")
    found = [_docker_image(source, item) for item in root.items()]
    if not found:
        raise ImageError("manifest.json lists no image")
    return found


def _docker_image(source: Source, item: document.Node) -> _Found:
    name = item.get("Config").text()
    content = _content(source, name)
    stated = references.image_id(posixpath.basename(name).removesuffix(".json"))
    if stated and digest.of_bytes(content) != stated:
        raise ImageError(f"{name} is corrupt: its content is {digest.of_bytes(content)}")
    file = configs.parse(content, what=name)
    files = item.get("Layers").texts()
    if len(files) != len(file.diff_ids):
        raise ImageError(f"{name} has {len(file.diff_ids)} layers, manifest.json {len(files)}")
    parts = zip(files, file.diff_ids, strict=True)
    return _Found(
        names=tuple(references.parse(text).familiar for text in item.get("RepoTags").texts()),
        config=content,
        parts=tuple(_Part(file=path, diff_id=diff_id, blob=None) for path, diff_id in parts),
    )


# ---- OCI layout ----


def _layout(source: Source, *, directory: str) -> list[_Found]:
    marker = document.parse(_content(source, "oci-layout"), what="oci-layout")
    if not marker.get("imageLayoutVersion").text().startswith("1."):
        raise ImageError("it is an OCI layout of an unknown version")
    index = manifest.parse(_content(source, "index.json"), what="index.json")
    if not isinstance(index, Index):
        raise ImageError("index.json is no index")
    groups: dict[str, list[Descriptor]] = {}
    for item in index.manifests:
        groups.setdefault(_group(item), []).append(item)
    found = [_group_image(source, items, directory=directory) for items in groups.values()
             if not all(item.is_attestation for item in items)]  # fmt: skip
    if not found:
        raise ImageError("it holds no image")
    return found


def _group(item: Descriptor) -> str:
    """Descriptors of one group are one image for several platforms."""
    for annotation in manifest.NAME_ANNOTATIONS:
        if annotation in item.annotations:
            return item.annotations[annotation]
    return "" if item.platform else item.digest


def _group_image(source: Source, items: list[Descriptor], *, directory: str) -> _Found:
    wanted = manifest.host_platform()
    chosen = items[0]
    if len(items) > 1:
        chosen = manifest.choose(items, wanted=wanted, what="the archive")
    names = _layout_names(chosen, directory=directory)
    for _ in range(_DEEPEST_INDEX):
        parsed = manifest.parse(_blob(source, chosen), what=chosen.digest)
        if isinstance(parsed, Manifest):
            return _layout_image(source, parsed, names)
        chosen = manifest.choose(parsed.manifests, wanted=wanted, what=chosen.digest)
    raise ImageError(f"it nests its indexes more than {_DEEPEST_INDEX} deep")


def _layout_names(item: Descriptor, *, directory: str) -> tuple[str, ...]:
    """The name of an image: a whole reference, or a tag that belongs to the directory's name, as
    `skopeo copy docker://redis:7 oci:redis:7` writes it."""
    full, short = (item.annotations.get(key, "") for key in manifest.NAME_ANNOTATIONS)
    if full or "/" in short or ":" in short:
        return (references.parse(full or short).familiar,)
    if not short or not directory:
        return ()
    try:
        own = posixpath.basename(os.path.abspath(directory))
        return (references.parse(f"{own}:{short}").familiar,)
    except ImageError:
        return ()  # the directory has a name that no image can have


def _layout_image(source: Source, parsed: Manifest, names: tuple[str, ...]) -> _Found:
    content = _blob(source, parsed.config)
    file = configs.parse(content, what=f"config {parsed.config.digest}")
    if len(file.diff_ids) != len(parsed.layers):
        raise ImageError(
            f"image {parsed.config.digest} has {len(parsed.layers)} layers,"
            f" its config {len(file.diff_ids)}"
        )
    pairs = zip(parsed.layers, file.diff_ids, strict=True)
    parts = tuple(_Part(file=_path(blob), diff_id=diff, blob=blob) for blob, diff in pairs)
    return _Found(names=names, config=content, parts=parts)


def _path(item: Descriptor) -> str:
    return f"blobs/{item.digest.replace(':', '/')}"


def _blob(source: Source, item: Descriptor) -> bytes:
    content = _content(source, _path(item))
    hashing = Hashing(_Bytes(content), algorithm=digest.algorithm(item.digest))
    hashing.verify(item.digest, what=f"blob {item.digest}")
    if len(content) != item.size:
        raise ImageError(f"blob {item.digest} has {len(content)} bytes, not {item.size}")
    return content


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int = -1, /) -> bytes:
        data, self._data = self._data, b""
        return data


# ---- into the store ----


class _Loader:
    """Stores one image after the other and tells how it goes."""

    def __init__(self, store: ImageStore, source: Source, sink: events.Sink) -> None:
        self._store = store
        self._source = source
        self._sink = sink

    def load(self, found: _Found) -> list[str]:
        image_id = digest.of_bytes(found.config)
        name = found.names[0] if found.names else image_id[7:19]
        stored: list[Layer] = []
        for count, part in enumerate(found.parts):
            self._tell(name, "Loading", current=count, total=len(found.parts))
            stored.append(self._store.add_layer(part.diff_id, self._filler(part)))
        image = self._store.add_image(found.config, stored)
        for reference in found.names:
            self._store.tag(image.id, reference)
        self._tell(name, "Loaded", current=len(found.parts), total=len(found.parts))
        return list(found.names) or [image.id]

    def _filler(self, part: _Part) -> LayerFiller:
        return LayerFiller(self._source, part)

    def _tell(self, name: str, text: str, *, current: int, total: int) -> None:
        done = text == "Loaded"
        self._sink(events.Progress(
            kind="Image", name=name, text=text, status="Done" if done else "Working",
            current=current, total=total, time=time.time(),
        ))  # fmt: skip


class LayerFiller:
    """Fills a directory from one layer file of an archive."""

    def __init__(self, source: Source, part: _Part) -> None:
        self._source = source
        self._part = part

    def __call__(self, directory: str) -> tuple[str, int]:
        part, algorithm = self._part, digest.algorithm(self._part.diff_id)
        stream = self._source.open(part.file)
        if part.blob is None:
            return _unpack(stream, directory, what=part.file, algorithm=algorithm)
        if self._source.size(part.file) != part.blob.size:
            raise ImageError(f"layer {part.blob.digest} has not the {part.blob.size} bytes stated")
        limited = Limited(stream, part.blob.size, what=f"layer {part.blob.digest}")
        hashing = Hashing(limited, algorithm=digest.algorithm(part.blob.digest))
        found = _unpack(hashing, directory, what=part.file, algorithm=algorithm)
        hashing.verify(part.blob.digest, what=f"layer {part.blob.digest}")
        return found


def _unpack(
    stream: Readable, directory: str, *, what: str, algorithm: str = "sha256"
) -> tuple[str, int]:
    return layers.unpack(compression.opened(stream, what=what), directory, algorithm=algorithm)


# ---- import ----


def import_rootfs(
    store: ImageStore, path_or_stream: str | Readable, reference: str | None, *,
    config: ImageConfig | None = None, comment: str = COMMENT, sink: events.Sink = events.ignore,
) -> Image:
    """An image of one layer from a root file system: a tar (compressed or not) or a directory.

    The same content with the same configuration under the same name stays the image it was.
    """
    if reference is not None and references.parse(reference).digest:
        raise ImageError(f"cannot import as {reference}", hint="a digest cannot be chosen")
    config = config or ImageConfig()
    name = references.parse(reference).familiar if reference else "rootfs"
    sink(events.Progress(kind="Image", name=name, text="Importing", status="Working",
                         time=time.time()))  # fmt: skip
    with _named("import", path_or_stream), store.adding():
        layer = store.add_layer(None, lambda target: _fill_rootfs(path_or_stream, target))
        image = _same(store, reference, layer, config, comment) or (
            _new_image(store, layer, config, comment))
        if reference is not None:
            image = store.tag(image.id, reference)
    sink(events.Progress(kind="Image", name=name, text="Imported", status="Done",
                         time=time.time()))  # fmt: skip
    return image


def _fill_rootfs(path_or_stream: str | Readable, target: str) -> tuple[str, int]:
    if isinstance(path_or_stream, str) and os.path.isdir(path_or_stream):
        return layers.unpack(writing.Packed(path_or_stream), target)
    with sources.file_or_stream(path_or_stream) as stream:
        return _unpack(stream, target, what="the root file system")


def _same(
    store: ImageStore, reference: str | None, layer: Layer, config: ImageConfig, comment: str
) -> Image | None:
    known = store.resolve(reference) if reference else None
    if known is None or known.config != config:
        return None
    file = configs.parse(store.read_blob(known.id))
    is_same = file.diff_ids == (layer.diff_id,) and file.history == (_history(comment),)
    return known if is_same else None


def _history(comment: str) -> History:
    return History(created_by="import", comment=comment)  # the same on two machines


def _new_image(store: ImageStore, layer: Layer, config: ImageConfig, comment: str) -> Image:
    now = round(time.time(), 3)
    file = ConfigFile(
        platform=manifest.host_platform(), created=now, config=config, diff_ids=(layer.diff_id,),
        history=(_history(comment),),
    )  # fmt: skip
    return store.add_image(configs.dump(file), [layer])
