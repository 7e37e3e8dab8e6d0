"""Images that skopeo and podman take from us, and we from them: the same digests each time."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from orchestrator.image import archive, saving
from orchestrator.image.store import ImageStore
from tests.image.archives import docker_archive, layer
from tests.image.podman import Podman

pytestmark = pytest.mark.kernel
needs_skopeo = pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo")
needs_podman = pytest.mark.skipif(shutil.which("podman") is None, reason="needs podman")
LAYERS = (layer(("etc", None), ("etc/base", b"1" * 700)), layer(("top", b"2"), ("a/.wh.b", b"")))


@pytest.fixture
def images(tmp_path: Path) -> ImageStore:
    store = ImageStore(str(tmp_path / "images"))
    archive.load(store, archive_of(tmp_path, docker_archive({"app:1": LAYERS}, Cmd=["/top"])))
    return store


def archive_of(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "given.tar"
    path.write_bytes(data)
    return str(path)


def saved(images: ImageStore, path: Path) -> str:
    with path.open("wb") as file:
        saving.save(images, ["app:1"], file.write)
    return str(path)


def run(*words: str, **options: Any) -> str:
    done: subprocess.CompletedProcess[str]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120,
                          **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def known(images: ImageStore) -> str:
    image = images.resolve("app:1")
    assert image is not None
    return image.id


@needs_skopeo
@pytest.mark.parametrize("how", ["docker-archive", "oci-archive"])
def test_skopeo_reads_what_we_save(images: ImageStore, tmp_path: Path, how: str) -> None:
    path = saved(images, tmp_path / "ours.tar")
    name = "app:1" if how == "docker-archive" else "1"
    raw = run("skopeo", "inspect", "--raw", f"{how}:{path}:{name}")
    assert json.loads(raw)["config"]["digest"] == known(images)


@needs_skopeo
@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("oci-archive:{}:1", "oci:{}:app:1", []),
        ("oci-archive:{}:1", "oci-archive:{}:app:1", []),
        ("oci-archive:{}:1", "oci:{}:app:1", ["--dest-compress-format", "zstd"]),
        ("docker-archive:{}:app:1", "docker-archive:{}:app:1", []),
    ],
)
def test_what_skopeo_makes_of_it_comes_back_as_the_same_image(
    images: ImageStore, tmp_path: Path, source: str, target: str, words: list[str]
) -> None:
    # between archives of one family: skopeo writes the config anew for the other one
    if words and shutil.which("zstd") is None:
        pytest.skip("needs zstd")
    path, theirs = saved(images, tmp_path / "ours.tar"), str(tmp_path / "theirs")
    run("skopeo", "copy", *words, source.format(path), target.format(theirs))
    other = ImageStore(str(tmp_path / "other"))
    archive.load(other, theirs)
    assert [image.id for image in other.images()] == [known(images)]


@needs_podman
def test_podman_takes_it_and_gives_it_back(images: ImageStore, tmp_path: Path) -> None:
    path = saved(images, tmp_path / "ours.tar")
    with Podman() as podman:
        podman("load", "-i", path)
        assert podman.id_of("app:1") == known(images)
        podman("save", "--format", "oci-archive", "-o", f"{tmp_path}/back.tar", "app:1")
    other = ImageStore(str(tmp_path / "other"))
    archive.load(other, f"{tmp_path}/back.tar")
    assert [image.id for image in other.images()] == [known(images)]
