"""A layer's tar is made again from its directory, byte for byte."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from orchestrator.errors import ImageError
from orchestrator.image import archive
from orchestrator.image import config as configs
from orchestrator.image.store import ImageStore
from tests.image.archives import digest, info, layer, pack


def loaded(tmp_path: Path, data: bytes) -> ImageStore:
    images = ImageStore(str(tmp_path / "images"))
    archive.import_rootfs(images, io.BytesIO(data), "a")
    return images


FILE = (info("usr/lib/file"), b"x" * 1000)
LINKS = (
    (info("lib", type=tarfile.SYMTYPE, linkname="usr/lib"), b""),
    (info("lib/through-a-link"), b"y"),
    (info("hard", type=tarfile.LNKTYPE, linkname="usr/lib/file"), b""),
    (info("long" * 60), b"z" * 70_000),
)
CASES = {
    "pax": pack(FILE, *LINKS, format=tarfile.PAX_FORMAT),
    "gnu": pack(FILE, *LINKS, format=tarfile.GNU_FORMAT),
    "whiteouts": layer(("a", None), ("a/.wh.b", b""), ("c/.wh..wh..opq", b"odd content")),
    "no end": layer(("a", b"1"))[:1024],
    "more after the end": layer(("a", b"1")) + b"after" * 1000,
    "nothing": bytes(1024),
}


@pytest.mark.kernel
@pytest.mark.parametrize("case", CASES)
def test_the_tar_comes_back_as_it_was(tmp_path: Path, case: str) -> None:
    data = CASES[case]
    assert b"".join(loaded(tmp_path, data).read_layer(digest(data))) == data


@pytest.mark.parametrize("version", ["0.0", "0.1", "1.0"])
def test_sparse_files_come_back_sparse(tmp_path: Path, version: str) -> None:
    with open(tmp_path / "sparse", "wb") as file:
        for place in range(0, 8 << 20, 1 << 20):
            file.seek(place)
            file.write(b"content")
    command = ["tar", "--format=posix", f"--sparse-version={version}", "--sparse", "-C",
               str(tmp_path), "-cf", "-", "sparse"]  # fmt: skip
    data = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    assert b"".join(loaded(tmp_path, data).read_layer(digest(data))) == data


def test_a_directory_that_was_imported_has_a_tar_too(tmp_path: Path) -> None:
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/file").write_bytes(b"content" * 500)
    images = ImageStore(str(tmp_path / "images"))
    image = archive.import_rootfs(images, str(tmp_path / "root"), "a")
    [name] = [os.path.basename(path) for path in image.layers]
    [diff_id] = configs.parse(images.read_blob(image.id)).diff_ids
    assert diff_id[7:].startswith(name)
    assert digest(b"".join(images.read_layer(diff_id))) == diff_id


def test_a_tar_that_overwrites_itself_is_not_promised(tmp_path: Path) -> None:
    data = pack((info("a"), b"first"), (info("a"), b"second"))
    images = loaded(tmp_path, data)
    with pytest.raises(ImageError, match="cannot be made again"):
        list(images.read_layer(digest(data)))


@pytest.mark.parametrize("content", [b"X" * 1000, b"short", None])
def test_a_layer_somebody_changed_is_noticed(tmp_path: Path, content: bytes | None) -> None:
    data = pack(FILE)
    images = loaded(tmp_path, data)
    image = images.resolve("a")
    assert image is not None
    file = Path(image.layers[0]) / "usr/lib/file"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ImageError):
        list(images.read_layer(digest(data)))
