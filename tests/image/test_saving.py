"""Images saved as an archive: what is loaded again is the same image, byte for byte."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from orchestrator.errors import ImageError, ImageNotFoundError
from orchestrator.image import archive, saving
from orchestrator.image.store import ImageStore
from tests.image.archives import config, digest, docker_archive, layer

BASE, TOP = layer(("etc", None), ("etc/base", b"1" * 700)), layer(("top", b"2"))


@pytest.fixture
def images(tmp_path: Path) -> ImageStore:
    store = ImageStore(str(tmp_path / "images"))
    archive.load(store, io.BytesIO(docker_archive({"app:1": [BASE, TOP]})))
    return store


def saved(images: ImageStore, *names: str) -> bytes:
    parts: list[bytes] = []
    saving.save(images, names, parts.append)
    return b"".join(parts)


def test_a_saved_image_is_loaded_as_the_same_one(images: ImageStore, tmp_path: Path) -> None:
    data = saved(images, "app:1")
    other = ImageStore(str(tmp_path / "other"))
    assert archive.load(other, io.BytesIO(data)) == ["app:1"]
    found, again = images.resolve("app:1"), other.resolve("app:1")
    assert found is not None
    assert again is not None
    assert (found.id, found.config) == (again.id, again.config)
    assert saved(other, "app:1") == data


def test_the_archive_is_an_oci_layout_and_a_docker_archive(images: ImageStore) -> None:
    images.tag("app:1", "other:2")
    with tarfile.open(fileobj=io.BytesIO(saved(images, "app:1", "other:2"))) as tar:
        def read(name: str) -> bytes:
            file = tar.extractfile(name)
            assert file is not None
            return file.read()

        assert json.loads(read("oci-layout")) == {"imageLayoutVersion": "1.0.0"}
        manifests = json.loads(read("index.json"))["manifests"]
        assert [m["annotations"]["org.opencontainers.image.ref.name"] for m in manifests] == [
            "1", "2"]
        blob = read("blobs/" + manifests[0]["digest"].replace(":", "/"))
        assert (digest(blob), len(blob)) == (manifests[0]["digest"], manifests[0]["size"])
        layers = [entry["digest"] for entry in json.loads(blob)["layers"]]
        assert layers == [digest(BASE), digest(TOP)]
        assert read("blobs/" + layers[0].replace(":", "/")) == BASE
        [docker] = json.loads(read("manifest.json"))
        assert docker["RepoTags"] == ["app:1", "other:2"]
        assert digest(read(docker["Config"])) == json.loads(blob)["config"]["digest"]


def test_what_is_not_there_or_is_the_machine_is_refused(images: ImageStore) -> None:
    with pytest.raises(ImageNotFoundError):
        saved(images, "nothing")
    known = images.resolve("app:1")
    assert known is not None
    layers = images.layers(known)
    marked = images.add_image(config([BASE, TOP], Env=["A=1"]), layers, host_usr=True)
    with pytest.raises(ImageError, match="its /usr is that of this machine"):
        saved(images, marked.id)
