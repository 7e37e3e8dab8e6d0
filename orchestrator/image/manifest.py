"""Image manifests and indexes of the OCI image specification and of Docker's schema 2.

Owns their JSON and the choice of a platform; who fetches the documents is not known here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from orchestrator.dataclass import dataclass, field
from orchestrator.errors import ImageError
from orchestrator.image import config as configs
from orchestrator.image import digest, document
from orchestrator.image.config import MOST_LAYERS, Platform

NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")

_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
ACCEPTED = (*_MANIFESTS, *_INDEXES)
"""Media types of what `parse` reads."""
OCI_INDEX = _INDEXES[0]
OCI_MANIFEST, OCI_CONFIG, OCI_LAYER = _MANIFESTS[0], _CONFIGS[0], (
    "application/vnd.oci.image.layer.v1.tar+gzip"
)
_LAYERS = re.compile(
    r"application/vnd\.(?:oci\.image\.layer\.v1\.tar|docker\.image\.rootfs\.diff\.tar)"
    r"(?:[.+](?:gzip|zstd))?"
)
_MOST_MANIFESTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """A reference to a blob."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = field(default_factory=dict)
    platform: Platform | None = None

    @property
    def is_index(self) -> bool:
        return self.media_type in _INDEXES

    @property
    def is_layer(self) -> bool:
        """Whether it is a layer of a kind that is known and lies in the registry itself: Docker's
        foreign layers name other places to fetch them from, which are never asked."""
        return _LAYERS.fullmatch(self.media_type) is not None

    @property
    def is_attestation(self) -> bool:
        """BuildKit puts statements about an image beside it, for a platform that is none."""
        return self.platform is not None and self.platform.os == "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One image for one platform."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    """Lowest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Several manifests."""

    manifests: tuple[Descriptor, ...]


def parse(data: bytes, *, what: str) -> Manifest | Index:
    """The manifest or index in `data`; ImageError where it is neither, or both."""
    root = document.parse(data, what=what)
    if root.get("schemaVersion").value == 1 and not root.get("fsLayers").is_absent:
        raise ImageError(
            f"{what} is a manifest of schema 1, given up in 2017", hint="push or save it again"
        )
    is_index = not root.get("manifests").is_absent
    if is_index and not (root.get("layers").is_absent and root.get("config").is_absent):
        # CVE-2021-41190: what is both means different images to different readers
        raise ImageError(f"{what} claims to be a manifest and an index at once")
    _check_type(root, _INDEXES if is_index else _MANIFESTS, what=what)
    return _index(root) if is_index else _manifest(root, what=what)


def _check_type(root: document.Node, known: tuple[str, ...], *, what: str) -> None:
    media_type = root.get("mediaType").text("")
    if media_type and media_type not in known:
        raise ImageError(f"{what} has the unknown media type {media_type!r}")


def _index(root: document.Node) -> Index:
    manifests = root.get("manifests").items()
    if len(manifests) > _MOST_MANIFESTS:
        raise root.fault(f"an index of at most {_MOST_MANIFESTS} manifests")
    return Index(manifests=tuple(descriptor(item) for item in manifests))


def _manifest(root: document.Node, *, what: str) -> Manifest:
    config = descriptor(root.get("config"))
    if config.media_type not in _CONFIGS:
        raise ImageError(f"{what} is no container image but {config.media_type!r}")
    layers = tuple(descriptor(item) for item in root.get("layers").items())
    if len(layers) > MOST_LAYERS:
        raise ImageError(f"{what} has {len(layers)} layers, more than {MOST_LAYERS}")
    return Manifest(config=config, layers=layers)


def descriptor(node: document.Node) -> Descriptor:
    """The descriptor that a document has at `node`.  ImageError where it is none."""
    found = node.get("digest").text()
    if not digest.is_digest(found):
        raise node.get("digest").fault("a sha256 or sha512 digest")
    platform = node.get("platform")
    return Descriptor(
        media_type=node.get("mediaType").text(""),
        digest=found,
        size=node.get("size").number(),
        annotations=node.get("annotations").mapping(),
        platform=None if platform.is_absent else configs.parse_platform(platform),
    )


def host_platform() -> Platform:
    """The platform of this machine."""
    names = {
        "x86_64": ("amd64", ""), "aarch64": ("arm64", "v8"), "armv7l": ("arm", "v7"),
        "armv6l": ("arm", "v6"), "i686": ("386", ""),
    }  # fmt: skip
    machine = os.uname().machine
    architecture, variant = names.get(machine, (machine, ""))
    return Platform(architecture=architecture, variant=variant)


def choose(descriptors: Iterable[Descriptor], *, wanted: Platform, what: str) -> Descriptor:
    """The descriptor for the wanted platform: the same variant first, then one without, then any;
    one that does not say its platform only if it is alone.  ImageError lists what there is."""
    images = [item for item in descriptors if not item.is_attestation]
    if len(images) == 1 and images[0].platform is None:
        return images[0]
    fitting = [
        item for item in images
        if item.platform and (item.platform.os, item.platform.architecture)
        == (wanted.os, wanted.architecture)
    ]  # fmt: skip
    if not fitting:
        there = ", ".join(str(item.platform) for item in images if item.platform) or "nothing"
        raise ImageError(f"{what} has no image for {wanted}", hint=f"it has {there}")
    order = (wanted.variant, "")
    return min(fitting, key=lambda item: _rank(item, order))


def _rank(item: Descriptor, order: tuple[str, ...]) -> int:
    variant = item.platform.variant if item.platform else ""
    return order.index(variant) if variant in order else len(order)
