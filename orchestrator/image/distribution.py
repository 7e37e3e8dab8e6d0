"""What images of the store are in registries: their manifests, and under which digests.

    ROOT/registries.json        `name@digest` of a manifest or index -> image id, manifest, time
    ROOT/manifests/ALGO-HEX     manifests, byte for byte as the registry has them

What belongs to an image that is gone is no more seen, and deleted with the next entry.  Talks to
nobody; who pulls and pushes tells it here.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from typing import Any

from orchestrator.dataclass import dataclass
from orchestrator.errors import ImageError
from orchestrator.image import locks, manifest
from orchestrator.image.manifest import Descriptor, Manifest

Json = dict[str, Any]  # JSON has no narrower type


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One image in one repository."""

    name: str
    """`docker.io/library/redis`."""
    digest: str
    """Of what the tag stands for: a manifest, or an index of several."""
    image: str
    """The image's id."""
    manifest: str
    """Digest of the image's own manifest."""
    media_type: str = ""
    """Of that manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A layer as a registry has it."""

    name: str
    """Of the repository."""
    blob: Descriptor
    image: str
    """The id of an image of that repository that has it."""


class Distribution:
    """The records below one store."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._path = f"{root}/registries.json"

    def entries(self, image_id: str = "") -> list[Entry]:
        """What is known, of one image or of all; the newest first."""
        found = sorted(self._read().items(), key=lambda item: -float(item[1]["time"]))
        return [
            Entry(name=key.partition("@")[0], digest=key.partition("@")[2], image=data["id"],
                  manifest=data["manifest"], media_type=data["media_type"])
            for key, data in found if image_id in ("", data["id"])
            and os.path.exists(self._record(data["id"]))
        ]  # fmt: skip

    def find(self, name: str, digest: str) -> str | None:
        """The id of the image that has that digest, its own or its index's, in a repository."""
        return next((e.image for e in self.entries()
                     if e.name == name and digest in (e.digest, e.manifest)), None)  # fmt: skip

    def add(self, entry: Entry, document: bytes) -> None:
        """Remember an image of the store and its manifest; call it inside of `store.adding`."""
        os.makedirs(f"{self._root}/manifests", exist_ok=True)
        with locks.locked(f"{self._root}/locks/index"):
            self._write(self._document(entry.manifest), document)
            known = {k: v for k, v in self._read().items() if os.path.exists(self._record(v["id"]))}
            known[f"{entry.name}@{entry.digest}"] = {
                "id": entry.image, "manifest": entry.manifest, "media_type": entry.media_type,
                "time": time.time(),
            }  # fmt: skip
            data = json.dumps({"version": 1, "names": known}, sort_keys=True)
            self._write(self._path, data.encode())
            self._drop({os.path.basename(self._document(v["manifest"])) for v in known.values()})

    def document(self, digest: str) -> bytes | None:
        """A manifest that was added, as it came."""
        try:
            with open(self._document(digest), "rb") as file:
                return file.read()
        except OSError:
            return None

    def blobs(self, diff_ids: Mapping[str, tuple[str, ...]]) -> dict[str, list[Packed]]:
        """diff id -> blobs that are known to unpack to it; `diff_ids` are those of each image,
        lowest first."""
        found: dict[str, list[Packed]] = {}
        for entry in self.entries():
            data = self.document(entry.manifest)
            if data is None or entry.image not in diff_ids:
                continue
            with contextlib.suppress(ImageError):
                parsed = manifest.parse(data, what=entry.manifest)
                if isinstance(parsed, Manifest):
                    pairs = zip(diff_ids[entry.image], parsed.layers, strict=False)
                    for diff_id, layer in pairs:
                        found.setdefault(diff_id, []).append(
                            Packed(name=entry.name, blob=layer, image=entry.image))
        return found

    # ---- files ----

    def _record(self, image_id: str) -> str:
        return f"{self._root}/images/{image_id.removeprefix('sha256:')}.json"

    def _document(self, digest: str) -> str:
        return f"{self._root}/manifests/{digest.replace(':', '-')}"

    def _drop(self, used: set[str]) -> None:
        for name in os.listdir(f"{self._root}/manifests"):
            if name not in used:
                os.unlink(f"{self._root}/manifests/{name}")

    def _read(self) -> dict[str, Json]:
        try:
            with open(self._path, "rb") as file:
                return dict(json.load(file)["names"])
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise ImageError(f"cannot read {self._path}: {exc}") from exc

    def _write(self, path: str, data: bytes) -> None:
        temporary = f"{self._root}/tmp/{os.getpid()}-{time.time_ns()}-{os.urandom(4).hex()}"
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
