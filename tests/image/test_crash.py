"""The store survives whoever is killed in the middle, and two who do the same at once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.image import archive
from orchestrator.image.store import ImageStore
from tests.image.archives import docker_archive, layer

LOAD = (
    "import sys; from orchestrator.image import archive; from orchestrator.image.store import "
    "ImageStore; print('go', flush=True); print(archive.load(ImageStore(sys.argv[1]), sys.argv[2]))"
)
ROOT = Path(__file__).resolve().parents[2]


def loading(store: str, path: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", LOAD, store, path]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)


def files(count: int, content: bytes) -> bytes:
    return layer(*((f"d{n % 17}/f{n}", content * (n % 50)) for n in range(count)))


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("big") / "archive.tar"
    layers = [files(700, bytes([n]) * 97) for n in range(65, 69)]
    path.write_bytes(docker_archive({"big:1": layers, "big:2": layers[:2]}))
    return str(path)


def check_whole(images: ImageStore, big: str) -> None:
    """What is visible is complete, and loading again ends with everything."""
    for image in images.images():
        for lower in image.layers:
            assert sum(len(found) for _, _, found in os.walk(lower)) == 700
    assert archive.load(images, big) == ["big:1", "big:2"]
    found = images.resolve("big:1")
    assert found is not None
    assert [sum(len(n) for _, _, n in os.walk(lower)) for lower in found.layers] == [700] * 4
    assert os.listdir(f"{images.root}/tmp") == []


def test_a_load_that_is_killed_anywhere_leaves_a_store_that_works(tmp_path: Path, big: str) -> None:
    started = time.monotonic()
    with loading(str(tmp_path / "measured"), big) as process:
        process.communicate(timeout=60)
    whole = time.monotonic() - started
    chance = random.Random(7)
    images = ImageStore(str(tmp_path / "images"))
    for _ in range(8):
        process = loading(images.root, big)
        assert process.stdout is not None
        process.stdout.readline()
        with process:
            try:
                process.wait(chance.uniform(0, whole))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
        if chance.random() < 0.3 and images.resolve("big:2"):
            images.remove("big:2")
    check_whole(images, big)


def test_a_removal_that_is_killed_anywhere_leaves_a_store_that_works(
    tmp_path: Path, big: str
) -> None:
    remove = LOAD.replace("archive.load(ImageStore(sys.argv[1]), sys.argv[2])",
                          "ImageStore(sys.argv[1]).remove('big:1')")  # fmt: skip
    images = ImageStore(str(tmp_path / "images"))
    chance = random.Random(8)
    for _ in range(4):
        archive.load(images, big)
        command = [sys.executable, "-c", remove, images.root]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                process.wait(chance.uniform(0, 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
    check_whole(images, big)


def test_several_who_load_the_same_end_with_one_copy(tmp_path: Path, big: str) -> None:
    images = ImageStore(str(tmp_path / "images"))
    processes = [loading(images.root, big) for _ in range(3)]
    results = [process.communicate(timeout=60) for process in processes]
    assert [out.splitlines()[1] for out, _ in results] == [b"['big:1', 'big:2']"] * 3
    assert len(os.listdir(f"{images.root}/l")) == 4
    check_whole(images, big)
