"""Archives that the tests of images read: made here, byte by byte or by the standard library."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

Member = tuple[str, bytes | None]
"""A file with content, or a directory."""


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def info(name: str, **fields: Any) -> tarfile.TarInfo:
    """A member with the fields given; owned by who runs the test."""
    found = tarfile.TarInfo(name)
    found.uid, found.gid, found.mtime = os.getuid(), os.getgid(), 1_600_000_000
    for key, value in fields.items():
        setattr(found, key, value)
    return found


def pack(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of members with content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for member, content in members:
            if content:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def layer(*members: Member) -> bytes:
    """A tar of plain files and directories."""
    packed = []
    for name, content in members:
        kind = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
        mode = 0o755 if content is None else 0o644
        packed.append((info(name, type=kind, mode=mode), content or b""))
    return pack(*packed)


def config(layers: Sequence[bytes], **container: Any) -> bytes:
    """The config document of an image of these layers."""
    document = {
        "architecture": "amd64", "os": "linux", "created": "2024-05-06T07:08:09.123456789Z",
        "config": container, "rootfs": {"type": "layers", "diff_ids": [digest(t) for t in layers]},
    }  # fmt: skip
    return json.dumps(document).encode()


def zstd(data: bytes) -> bytes:
    """Two frames, as `pzstd` makes them."""
    module = pytest.importorskip("backports.zstd", reason="`make setup` brings it")
    return bytes(module.compress(data[:100]) + module.compress(data[100:]))


def docker_archive(images: dict[str, Sequence[bytes]], **container: Any) -> bytes:
    """What `docker save` writes: name -> layers, lowest first."""
    files: dict[str, bytes] = {}
    manifest = []
    for name, layers in images.items():
        document = config(layers, **container)
        own = {f"{digest(data)[7:]}/layer.tar": data for data in layers}
        key = f"{digest(document)[7:]}.json"
        files |= {**own, key: document}
        manifest.append({"Config": key, "RepoTags": [name] if name else None, "Layers": list(own)})
    return layer(*files.items(), ("manifest.json", json.dumps(manifest).encode()))


def descriptor(data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}


class Layout:
    """An OCI image layout on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifests: list[dict[str, Any]] = []
        (path / "blobs/sha256").mkdir(parents=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def blob(self, data: bytes) -> bytes:
        (self.path / "blobs/sha256" / digest(data)[7:]).write_bytes(data)
        return data

    def image(
        self, layers: Sequence[bytes], *, compress: Any = gzip.compress, **more: Any
    ) -> bytes:
        """Write one image; its manifest."""
        stored = [self.blob(compress(data)) for data in layers]
        kind = "application/vnd.oci.image."
        manifest = {
            "schemaVersion": 2,
            "config": descriptor(self.blob(config(layers)), f"{kind}config.v1+json"),
            "layers": [descriptor(data, f"{kind}layer.v1.tar+gzip") for data in stored],
        }
        data = self.blob(json.dumps(manifest).encode())
        self.manifests.append(descriptor(data, f"{kind}manifest.v1+json", **more))
        return data

    def finish(self) -> Path:
        """Write the index."""
        index = {"schemaVersion": 2, "manifests": self.manifests}
        (self.path / "index.json").write_text(json.dumps(index))
        return self.path

    def tar(self) -> bytes:
        """The whole layout as a tar."""
        files = [p for p in sorted(self.finish().rglob("*")) if p.is_file()]
        return layer(*((str(p.relative_to(self.path)), p.read_bytes()) for p in files))


def name(text: str) -> dict[str, dict[str, str]]:
    """The annotation that names an image in a layout."""
    return {"annotations": {"org.opencontainers.image.ref.name": text}}
