"""Compose files as an artifact of a registry, in the form that docker compose publishes and reads.

Each file is a layer; its annotations say what it is for, and how those that refer to it call it.
Owns the manifest and what names a file may have; knows neither registries nor Compose.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Literal

from orchestrator.dataclass import dataclass, replace
from orchestrator.errors import ImageError
from orchestrator.image import digest, document, manifest
from orchestrator.image.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor

ARTIFACT_TYPE = "application/vnd.docker.compose.project"
COMPOSE_FILE = "application/vnd.docker.compose.file+yaml"
ENV_FILE = "application/vnd.docker.compose.envfile"
_EMPTY = "application/vnd.oci.empty.v1+json"
_EMPTY_COMPOSE = "application/vnd.docker.compose.config.empty.v1+json"
_PREFIX = "com.docker.compose"
EMPTY = b"{}"
"""The configuration of an artifact that has none."""
MOST_FILES = 200

Role = Literal["compose", "extends", "env"]
Version = Literal["1.0", "1.1"]
_NAME = re.compile(r"[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]{0,199}")


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of an application."""

    name: str
    role: Role
    """`compose`: one of those that are merged, in their order; `extends` and `env` are referred to
    by the others."""
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A file that is still in its registry."""

    name: str
    role: Role
    blob: Descriptor


def written(files: Sequence[File], *, version: Version, maker: str) -> bytes:
    """The manifest of the files; OCI 1.0 has no artifactType, there the configuration says what it
    is.  `maker` is the version of who publishes.  The same files have the same digest."""
    root: dict[str, object] = {"schemaVersion": 2, "mediaType": OCI_MANIFEST}
    if version == "1.1":
        root["artifactType"] = ARTIFACT_TYPE
    kind = _EMPTY if version == "1.1" else _EMPTY_COMPOSE
    root["config"] = _described(EMPTY, kind)
    root["layers"] = [_layer(file, maker) for file in files]
    return json.dumps(root, separators=(",", ":")).encode()


def with_images(artifact: bytes, images: Sequence[Descriptor], *, maker: str) -> bytes:
    """The index of the images that an application needs, which refers to its artifact."""
    listed = [{"mediaType": i.media_type, "digest": i.digest, "size": i.size} for i in images]
    subject = {**_described(artifact, OCI_MANIFEST), "artifactType": ARTIFACT_TYPE}
    root = {
        "schemaVersion": 2, "mediaType": OCI_INDEX, "artifactType": ARTIFACT_TYPE,
        "manifests": listed, "subject": subject, "annotations": {f"{_PREFIX}.version": maker},
    }  # fmt: skip
    return json.dumps(root, separators=(",", ":")).encode()


def _layer(file: File, maker: str) -> dict[str, object]:
    annotations = {f"{_PREFIX}.version": maker}
    if file.role == "env":
        annotations[f"{_PREFIX}.envfile"] = file.name
    else:
        annotations[f"{_PREFIX}.file"] = file.name
    if file.role == "extends":
        annotations[f"{_PREFIX}.extends"] = "true"
    kind = ENV_FILE if file.role == "env" else COMPOSE_FILE
    return {**_described(file.data, kind), "annotations": annotations}


def _described(data: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest.of_bytes(data), "size": len(data)}


def parse(data: bytes, *, what: str) -> list[Part]:
    """The files of a manifest.  ImageError where it is no application, or where a file would lie
    anywhere else than beside the others (CVE-2025-62725)."""
    root = document.parse(data, what=what)
    layers = [manifest.descriptor(item) for item in root.get("layers").items()]
    kind = root.get("artifactType").text("") or root.get("config").get("mediaType").text("")
    if kind not in (ARTIFACT_TYPE, _EMPTY_COMPOSE):
        raise ImageError(f"{what} is no Compose application but {kind or 'an index'!r}",
                         hint="`pcompose publish` makes one")
    if len(layers) > MOST_FILES:
        raise ImageError(f"{what} has {len(layers)} files, more than {MOST_FILES}")
    parts = [part for layer in layers if (part := _part(layer, what)) is not None]
    if not any(part.role == "compose" for part in parts):
        raise ImageError(f"{what} has no Compose file in it")
    return _distinct(parts, what)


def _part(layer: Descriptor, what: str) -> Part | None:
    said = layer.annotations
    if layer.media_type == ENV_FILE:
        role: Role = "env"
    elif layer.media_type == COMPOSE_FILE:
        role = "extends" if f"{_PREFIX}.extends" in said else "compose"
    else:
        return None
    name = said.get(f"{_PREFIX}.{'envfile' if role == 'env' else 'file'}", "")
    if role != "compose" and not _NAME.fullmatch(name):
        raise ImageError(f"{what} wants to have a file called {name[:80]!r}, which is refused")
    return Part(name=name, role=role, blob=layer)


def _distinct(parts: Sequence[Part], what: str) -> list[Part]:
    """The same with names that all differ: nobody refers to those that are merged."""
    taken = [part.name for part in parts if part.role != "compose"]
    if len(set(taken)) < len(taken):
        raise ImageError(f"{what} has two files of the same name")
    found, known = [], set(taken)
    for number, part in enumerate(parts):
        if part.role == "compose" and (part.name in known or not _NAME.fullmatch(part.name)):
            part = replace(part, name=f"compose-{number}.yaml")
            if part.name in known:
                raise ImageError(f"{what} has two files of the same name")
        known.add(part.name)
        found.append(part)
    return found
