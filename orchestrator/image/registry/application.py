"""Compose files between this machine and a registry, as one artifact; and the images they name."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.errors import ImageError, RegistryError
from orchestrator.image import artifact, digest, document
from orchestrator.image.artifact import File, Version
from orchestrator.image.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor
from orchestrator.image.registry import crew, upload
from orchestrator.image.registry.client import Document, Repository
from orchestrator.image.registry.transport import UnansweredError

_MOST_BYTES = 32 << 20


def fetch(repository: Repository, tag_or_digest: str) -> list[File]:
    """The files of an application.  ImageNotFoundError, RegistryError, ImageError."""
    found = repository.manifest(tag_or_digest)
    parts = artifact.parse(found.data, what=f"{repository.name}:{tag_or_digest}")
    if sum(part.blob.size for part in parts) > _MOST_BYTES:
        raise ImageError(f"{repository.name} has files of more than {_MOST_BYTES >> 20} MiB")
    return [
        File(name=part.name, role=part.role,
             data=repository.read_blob(part.blob.digest, size=part.blob.size))
        for part in parts
    ]  # fmt: skip


def send(
    repository: Repository, tag: str, files: Sequence[File], *, version: Version | None,
    maker: str, stop: crew.Stop,
) -> Document:  # fmt: skip
    """Publish the files under a tag; with no `version` as OCI 1.1, and where the registry does not
    take that, as 1.0.  RegistryError."""
    for file in files:
        if len(file.data) > document.LARGEST:
            raise ImageError(f"{file.name} has more than {document.LARGEST >> 20} MiB")
        _send_data(repository, file.data, stop)
    _send_data(repository, artifact.EMPTY, stop)
    try:
        return _put(repository, tag, files, version or "1.1", maker)
    except UnansweredError:
        raise
    except RegistryError:
        if version is not None:
            raise
        return _put(repository, tag, files, "1.0", maker)


def _put(
    repository: Repository, tag: str, files: Sequence[File], version: Version, maker: str
) -> Document:
    data = artifact.written(files, version=version, maker=maker)
    made = Document(data=data, media_type=OCI_MANIFEST, digest=digest.of_bytes(data))
    repository.put_manifest(tag, made)
    return made


def send_images(
    repository: Repository, application: Document, images: Sequence[Descriptor], *, maker: str
) -> str:
    """Publish what belongs to an application, all of it being in the repository; the digest."""
    data = artifact.with_images(application.data, images, maker=maker)
    made = Document(data=data, media_type=OCI_INDEX, digest=digest.of_bytes(data))
    repository.put_manifest(made.digest, made)
    return made.digest


def _send_data(repository: Repository, data: bytes, stop: crew.Stop) -> None:
    blob = Descriptor(media_type="", digest=digest.of_bytes(data), size=len(data))
    upload.send_data(repository, blob, data, stop=stop)
