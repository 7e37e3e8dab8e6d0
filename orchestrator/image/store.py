"""The images of this machine: config files, unpacked layers, names.

    ROOT/blobs/sha256/HEX     config files; the digest of one is the image's id
    ROOT/images/HEX.json      image record: its layers, lowest first; exists only when they all do
    ROOT/references.json      complete reference -> image id and the time it was given
    ROOT/l/NAME               an unpacked layer, an overlay lower directory; shared between images
    ROOT/layers/NAME.recipe   how to make the layer's tar again, see image.recipe
    ROOT/layers/NAME.json     its diff id and size; without it, what has the name is a leftover
    ROOT/registries.json      what images are in registries, see image.distribution
    ROOT/downloads/…            parts of blobs, see image.registry.download
    ROOT/steps/…                what builds have made, see image.steps
    ROOT/tmp/…                being made; what lies there while nobody adds is a leftover
    ROOT/locks/…              see image.locks

NAME is the beginning of the diff id, short because a hundred layers must fit into the mount
options of one overlay.  A layer counts from the moment its description is there; until its content
is known to be on the disk, the description holds the boot it is true for.  An image record comes
after its layers, a name after its image: killed at any point, or without power, what is visible is
whole.  Removal goes the other way round.

The store knows no archive format and no container: whether an image is in use is asked elsewhere.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from orchestrator.dataclass import dataclass
from orchestrator.errors import ImageError, ImageNotFoundError
from orchestrator.image import config as configs
from orchestrator.image import digest, locks, removal
from orchestrator.image import reference as references
from orchestrator.image.config import ImageConfig
from orchestrator.image.distribution import Distribution
from orchestrator.image.steps import StepRecords
from orchestrator.linux import procfs

VERSION = 1
NAME_LENGTH = 12
"""Hexadecimal digits of a diff id that name its layer, unless another layer has that name."""
_NAME_LENGTHS = (NAME_LENGTH, 24, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """An unpacked layer."""

    diff_id: str
    name: str
    size: int
    """Bytes of file content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image that can be run."""

    id: str
    """`sha256:…`."""
    references: tuple[str, ...]
    """Familiar names, `redis:7`; empty for an image without name."""
    config: ImageConfig
    layers: tuple[str, ...]
    """Absolute lower directories, top first."""
    size: int
    """Bytes of file content of all layers."""
    created: float | None
    """Seconds since the epoch, as the image says."""
    platform: str
    """`linux/amd64`."""
    tagged: float | None
    """When the newest of its names was given, seconds since the epoch."""
    host_usr: bool = False
    """The runtime must put the machine's /usr into it (`pcompose/host`)."""

    def names(self) -> list[tuple[str, str]]:
        """(repository, tag) of every name, as tables show them."""
        parsed = [references.parse(text) for text in self.references]
        return [(item.repository, item.tag or "<none>") for item in parsed]


Fill = Callable[[str], tuple[str, int]]
"""Fills an empty directory with a layer's content; returns its diff id and size.  It may leave the
recipe of the layer's tar beside the directory, at its path + RECIPE."""
RECIPE = ".recipe"


class ImageStore:
    """The store below one directory; made on first use, shared by any number of processes."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)

    # ---- looking ----

    def resolve(self, reference: str) -> Image | None:
        """The image of a name, a whole id or the unique beginning of an id; None: not here."""
        names = self._references()
        found = self._find(reference, names)
        return self._image(found, names) if found else None

    def images(self) -> list[Image]:
        """Every image, the newest first."""
        names = self._references()
        found = [self._image(f"sha256:{key}", names) for key in self._record_keys()]
        return sorted(
            (image for image in found if image), key=lambda i: (-(i.created or 0), i.references)
        )

    def _find(self, text: str, names: dict[str, dict[str, Any]]) -> str | None:
        whole = references.image_id(text)
        if whole:
            return whole
        prefix = references.id_prefix(text)
        if not text.startswith("sha256:"):
            parsed = references.parse(text)
            entry = names.get(parsed.canonical)
            if entry:
                return str(entry["id"])
            if parsed.digest:  # a pinned name, as `config --resolve-image-digests` writes it
                found = Distribution(self.root).find(parsed.name, parsed.digest)
                return found or self._find_prefix(text, parsed.digest.removeprefix("sha256:"))
        return self._find_prefix(text, prefix) if prefix else None

    def _find_prefix(self, text: str, prefix: str) -> str | None:
        matches = [key for key in self._record_keys() if key.startswith(prefix)]
        if len(matches) > 1:
            raise ImageError(
                f"`{text}` is the beginning of {len(matches)} image ids", hint="give more digits"
            )
        return f"sha256:{matches[0]}" if matches else None

    def _record_keys(self) -> list[str]:
        try:
            return sorted(n[:-5] for n in os.listdir(f"{self.root}/images") if n.endswith(".json"))
        except FileNotFoundError:
            return []

    def _image(self, image_id: str, names: dict[str, dict[str, Any]]) -> Image | None:
        record = self._read(self._record_path(image_id))
        if record is None:
            return None
        lowers = tuple(f"{self.root}/l/{layer['name']}" for layer in reversed(record["layers"]))
        if not all(map(os.path.isdir, lowers)):
            return None  # somebody deleted a layer by hand: loading the image again repairs it
        file = configs.parse(self.read_blob(image_id), what=f"config of image {image_id}")
        own = {key: entry for key, entry in names.items() if entry["id"] == image_id}
        return Image(
            id=image_id,
            references=tuple(sorted(references.parse(key).familiar for key in own)),
            config=file.config,
            layers=lowers,
            size=sum(layer["size"] for layer in record["layers"]),
            created=file.created,
            platform=str(file.platform),
            tagged=max((entry["time"] for entry in own.values()), default=None),
            host_usr=record.get("host_usr", False),
        )

    def read_blob(self, blob: str) -> bytes:
        """The content of a stored blob."""
        try:
            with open(self._blob_path(blob), "rb") as file:
                return file.read()
        except OSError as exc:
            raise ImageError(f"cannot read {blob} from the image store: {exc.strerror}") from exc

    def layer_size(self, diff_id: str) -> int:
        """Bytes of the uncompressed tar of a layer.  ImageError where it cannot be made again."""
        from orchestrator.image import recipe

        layer = self.layer(diff_id)
        if layer is None or not os.path.exists(self._recipe_path(layer.name)):
            raise ImageError(f"the archive of layer {diff_id} cannot be made again")
        with self._as_image_error():
            return recipe.size(self._recipe_path(layer.name))

    def read_layer(self, diff_id: str) -> Iterator[bytes]:
        """The uncompressed tar of a layer, in pieces, as it was when it came; ImageError where it
        cannot be made again, at the latest after the last piece."""
        import hashlib

        from orchestrator.image import recipe  # brings ctypes, 2 ms

        layer = self.layer(diff_id)
        if layer is None or not os.path.exists(self._recipe_path(layer.name)):
            raise ImageError(f"the archive of layer {diff_id} cannot be made again")
        hashed = hashlib.new(digest.algorithm(diff_id))
        with self._as_image_error():
            recipe_path, directory = self._recipe_path(layer.name), f"{self.root}/l/{layer.name}"
            for data in recipe.replay(recipe_path, directory):
                hashed.update(data)
                yield data
        if f"{hashed.name}:{hashed.hexdigest()}" != diff_id:
            raise ImageError(f"layer {diff_id} was changed in {directory}")

    # ---- names ----

    def tag(self, image: str, reference: str) -> Image:
        """Give the image (a name or id) the name `reference`, taking it from who had it."""
        target = references.parse(reference)
        with self.adding():
            found = self._known(image)
            self._set_name(target.canonical, found.id)
        return self._known(found.id)

    def untag(self, reference: str) -> None:
        """Take a name away; the image stays."""
        key = references.parse(reference).canonical
        with self.adding(), locks.locked(self._lock("index")):
            names = self._references()
            if names.pop(key, None) is None:
                raise ImageNotFoundError(f"no such image: {reference}")
            self._write_references(names)

    def remove(self, reference: str, *, force: bool = False) -> tuple[list[str], list[str]]:
        """`docker image rm`: by name takes the name and, with the last one, the image; by id takes
        the image, refused with several names unless `force`.  Returns (names, ids) removed."""
        with self._alone():
            image = self._known(reference)
            by_id = references.id_prefix(reference) and not self._is_name(reference)
            if by_id and len(image.references) > 1 and not force:
                raise ImageError(
                    f"image {image.id[7:19]} has {len(image.references)} names",
                    hint="remove the names one by one, or force it",
                )
            gone = image.references if by_id else (references.parse(reference).familiar,)
            return self._remove(image, gone)

    def _is_name(self, text: str) -> bool:
        whole = references.image_id(text) or text.startswith("sha256:")
        return not whole and references.parse(text).canonical in self._references()

    def _remove(self, image: Image, gone: tuple[str, ...]) -> tuple[list[str], list[str]]:
        with locks.locked(self._lock("index")):
            names = self._references()
            for name in gone:
                del names[references.parse(name).canonical]
            self._write_references(names)
        if set(image.references) - set(gone):
            return list(gone), []
        os.unlink(self._record_path(image.id))
        os.unlink(self._blob_path(image.id))
        self._drop_unused_layers()
        return list(gone), [image.id]

    def drop_unused(self) -> None:
        """Delete layers that neither an image nor a build step has."""
        with self._alone():
            self._drop_unused_layers()

    def size(self) -> int:
        """Bytes of file content of all layers that are here."""
        try:
            names = os.listdir(f"{self.root}/l")
        except FileNotFoundError:
            return 0
        return sum(int(data["size"]) for name in names if (data := self._description(name)))

    def forget_steps(self) -> int:
        """Forget what build steps have made; how many there were.  Layers go with `drop_unused`."""
        with self._alone():
            return StepRecords(self.root).forget()

    def _drop_unused_layers(self) -> None:
        records = [self._read(self._record_path(f"sha256:{key}")) for key in self._record_keys()]
        used = {layer["name"] for record in records if record for layer in record["layers"]}
        used |= StepRecords(self.root).layer_names()
        for entry in os.listdir(f"{self.root}/layers"):
            if entry.split(".")[0] not in used:
                os.unlink(f"{self.root}/layers/{entry}")
        for name in set(os.listdir(f"{self.root}/l")) - used:
            self._put_away(name)
        self._sweep()

    def _known(self, reference: str) -> Image:
        image = self.resolve(reference)
        if image is None:
            raise ImageNotFoundError(f"no such image: {reference}")
        return image

    # ---- adding ----

    @contextmanager
    def adding(self) -> Iterator[None]:
        """Around all that adds layers and the image that refers to them: nothing is removed, and
        leftovers of those who were killed are swept first.  OSError becomes ImageError."""
        with self._as_image_error():
            self._make()
            alone = locks.try_lock(self._lock("use"), wait=False)
            if alone is not None:
                try:
                    self._sweep()
                finally:
                    os.close(alone)
            with locks.locked(self._lock("use"), shared=True):
                yield

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._as_image_error():
            self._make()
            with locks.locked(self._lock("use")):
                yield

    @contextmanager
    def _as_image_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            where = f" {exc.filename}" if exc.filename else ""
            raise ImageError(f"image store {self.root}: {exc.strerror}{where}") from exc

    def _make(self) -> None:
        for part in ("blobs/sha256", "images", "l", "layers", "tmp", "locks"):
            os.makedirs(f"{self.root}/{part}", exist_ok=True)
        # set-user-id programs of images must be out of reach of the machine's users
        os.chmod(self.root, 0o700)

    def _sweep(self) -> None:
        for entry in list(os.scandir(f"{self.root}/tmp")):
            if entry.is_dir(follow_symlinks=False):
                removal.remove_tree(entry.path)
            else:
                os.unlink(entry.path)

    def scratch(self) -> str:
        """A new empty directory on the store's file system; swept if its maker dies."""
        path = f"{self.root}/tmp/{os.getpid()}-{time.time_ns()}-{os.urandom(4).hex()}"
        os.mkdir(path, 0o700)
        return path

    def discard(self, path: str) -> None:
        """Delete a directory that `scratch` made, and a recipe beside it."""
        removal.remove_tree(path)
        if os.path.exists(path + RECIPE):
            os.unlink(path + RECIPE)

    def layers(self, image: Image) -> list[Layer]:
        """The layers of an image, lowest first."""
        record = self._read(self._record_path(image.id))
        if record is None:
            raise ImageNotFoundError(f"no such image: {image.id}")
        return [Layer(**layer) for layer in record["layers"]]

    def lower(self, layer: Layer) -> str:
        """The directory of an unpacked layer."""
        return f"{self.root}/l/{layer.name}"

    def layer(self, diff_id: str) -> Layer | None:
        """The unpacked layer of that digest, if it is here."""
        for length in _NAME_LENGTHS:
            name = diff_id.partition(":")[2][:length]
            data = self._description(name)
            if data is None or not os.path.isdir(f"{self.root}/l/{name}"):
                return None
            if data["diff_id"] == diff_id:
                if data["boot"] not in ("", procfs.boot_id()):
                    return None  # made before a loss of power and perhaps never written out
                return Layer(diff_id=diff_id, name=name, size=data["size"])
        return None

    def add_layer(self, diff_id: str | None, fill: Fill) -> Layer:
        """The layer, made by `fill` unless it is here; whoever comes second waits for the first.
        Without a known `diff_id` the content is made, and dropped if it was here already."""
        if diff_id is None:
            return self._place_layer(*self._filled(fill))
        with locks.locked(self._lock(diff_id.partition(":")[2][:2])):
            found = self.layer(diff_id)
            if found:
                return found
            directory, actual, size = self._filled(fill)
            if actual != diff_id:
                self.discard(directory)
                raise ImageError(f"layer is corrupt: expected {diff_id}, found {actual}")
            return self._install(directory, diff_id, size)

    def _filled(self, fill: Fill) -> tuple[str, str, int]:
        directory = self.scratch()
        try:
            os.chmod(directory, 0o755)
            actual, size = fill(directory)
        except BaseException:
            self.discard(directory)
            raise
        return directory, actual, size

    def _place_layer(self, directory: str, diff_id: str, size: int) -> Layer:
        with locks.locked(self._lock(diff_id.partition(":")[2][:2])):
            found = self.layer(diff_id)
            if found is None:
                return self._install(directory, diff_id, size)
        self.discard(directory)
        return found

    def _install(self, directory: str, diff_id: str, size: int) -> Layer:
        name = self._free_name(diff_id)
        layer = Layer(diff_id=diff_id, name=name, size=size)
        self._put_away(name)
        os.rename(directory, f"{self.root}/l/{name}")
        if os.path.exists(directory + RECIPE):
            os.rename(directory + RECIPE, self._recipe_path(name))
        self._describe(layer, boot=procfs.boot_id())
        return layer

    def _describe(self, layer: Layer, *, boot: str) -> None:
        data = {"diff_id": layer.diff_id, "size": layer.size, "boot": boot}
        self._write(self._layer_path(layer.name), data, durable=False)

    def _description(self, name: str) -> dict[str, Any] | None:  # our own JSON
        try:
            return self._read(self._layer_path(name))
        except ImageError:
            return None  # cut off by a loss of power; the layer is made again

    def _free_name(self, diff_id: str) -> str:
        # 48 bits can be forged: a name that another layer has is never taken for this one
        names = [diff_id.partition(":")[2][:length] for length in _NAME_LENGTHS]
        return next(name for name in names if self._owner(name) in (None, diff_id))

    def _owner(self, name: str) -> str | None:
        data = self._description(name)
        return data["diff_id"] if data else None

    def _put_away(self, name: str) -> None:
        """Out of sight in one step: half-deleted must never be taken for whole."""
        if os.path.isdir(f"{self.root}/l/{name}"):
            away = self.scratch()
            os.rename(f"{self.root}/l/{name}", f"{away}/{name}")
            self.discard(away)

    def _make_durable(self, layers: list[Layer]) -> None:
        """See that the content of layers is on the disk, all at once, before a record says so."""
        found = [(layer, self._description(layer.name)) for layer in layers]
        fresh = [layer for layer, data in found if data is None or data["boot"]]
        if not fresh:
            return
        from orchestrator.linux import syscalls

        fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            syscalls.syncfs(fd)
        finally:
            os.close(fd)
        for layer in fresh:
            self._describe(layer, boot="")

    def add_image(self, file: bytes, layers: list[Layer], *, host_usr: bool = False) -> Image:
        """Store an image of these layers, lowest first, and its config document."""
        image_id = digest.of_bytes(file)
        parsed = configs.parse(file)
        if list(parsed.diff_ids) != [layer.diff_id for layer in layers]:
            raise ImageError(f"image {image_id[7:19]}: its config lists other layers than it has")
        self._make_durable(layers)
        self._write_bytes(self._blob_path(image_id), file)
        record = {
            "version": VERSION,
            "id": image_id,
            "layers": [
                {"diff_id": layer.diff_id, "name": layer.name, "size": layer.size}
                for layer in layers
            ],
            "host_usr": host_usr,
        }
        self._write(self._record_path(image_id), record)
        return self._known(image_id)

    def _set_name(self, key: str, image_id: str) -> None:
        with locks.locked(self._lock("index")):
            names = self._references()
            names[key] = {"id": image_id, "time": time.time()}
            self._write_references(names)

    # ---- files ----

    def _lock(self, name: str) -> str:
        return f"{self.root}/locks/{name}"

    def _recipe_path(self, name: str) -> str:
        return f"{self.root}/layers/{name}.recipe"

    def _layer_path(self, name: str) -> str:
        return f"{self.root}/layers/{name}.json"

    def _record_path(self, image_id: str) -> str:
        return f"{self.root}/images/{image_id.removeprefix('sha256:')}.json"

    def _blob_path(self, blob: str) -> str:
        return f"{self.root}/blobs/{blob.replace(':', '/')}"

    def _references(self) -> dict[str, dict[str, Any]]:
        data = self._read(f"{self.root}/references.json")
        return data["references"] if data else {}

    def _write_references(self, names: dict[str, dict[str, Any]]) -> None:
        self._write(
            f"{self.root}/references.json", {"version": VERSION, "references": names}
        )

    def _read(self, path: str) -> dict[str, Any] | None:  # our own JSON
        try:
            with open(path, "rb") as file:
                data = json.load(file)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as exc:
            raise ImageError(f"cannot read {path}: {exc}") from exc
        if not isinstance(data, dict) or data.get("version", VERSION) != VERSION:
            raise ImageError(f"{path} was written by another version of pcompose")
        return data

    def _write(self, path: str, data: dict[str, Any], *, durable: bool = True) -> None:
        self._write_bytes(path, json.dumps(data, sort_keys=True).encode(), durable=durable)

    def _write_bytes(self, path: str, data: bytes, *, durable: bool = True) -> None:
        temporary = f"{self.root}/tmp/{os.getpid()}-{time.time_ns()}-{os.urandom(4).hex()}"
        with open(temporary, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.rename(temporary, path)
