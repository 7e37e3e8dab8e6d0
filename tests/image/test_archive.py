"""Loading docker archives and OCI layouts, importing root file systems."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator import events
from orchestrator.errors import ImageError
from orchestrator.image import archive, compression, layers, writing
from orchestrator.image.config import ImageConfig
from orchestrator.image.store import ImageStore
from tests.image.archives import (
    Layout,
    config,
    digest,
    docker_archive,
    info,
    layer,
    name,
    pack,
    zstd,
)

BASE, TOP = layer(("base", b"12345")), layer(("etc", None), ("etc/top", b"123"))


@pytest.fixture
def images(tmp_path: Path) -> ImageStore:
    return ImageStore(str(tmp_path / "images"))


def write(tmp_path: Path, data: bytes) -> str:
    (tmp_path / "archive").write_bytes(data)
    return str(tmp_path / "archive")


COMPRESSIONS = [
    bytes, gzip.compress, bz2.compress, lzma.compress, zstd,
    lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:]),
    lambda data: lzma.compress(data[:700]) + bytes(8) + lzma.compress(data[700:]),
]  # fmt: skip
compressions = pytest.mark.parametrize("compress", COMPRESSIONS)
Compress = Callable[[bytes], bytes]


@compressions
def test_a_docker_archive_is_loaded_from_a_file_or_a_pipe(
    images: ImageStore, tmp_path: Path, compress: Compress
) -> None:
    data = compress(docker_archive({"web:1": [BASE, TOP]}, Cmd=["run"], Env=["A=b"]))
    assert archive.load(images, write(tmp_path, data)) == ["web:1"]
    image = images.resolve("web:1")
    assert image is not None
    assert image.config.command == ("run",)
    assert (Path(image.layers[0]) / "etc/top").read_bytes() == b"123"  # top first
    assert image.created == pytest.approx(1714979289.123456)
    images.remove("web:1")
    assert archive.load(images, io.BytesIO(data)) == ["web:1"]
    assert images.resolve("web:1") is not None


@pytest.mark.parametrize("compress", [lzma.compress, zstd, gzip.compress, bz2.compress])
def test_any_number_of_streams_may_follow_each_other(compress: Compress) -> None:
    stream = compression.opened(io.BytesIO(compress(b"x") * 3000), what="it")
    assert b"".join(iter(lambda: stream.read(1000), b"")) == b"x" * 3000


def test_several_images_share_their_layers(images: ImageStore, tmp_path: Path) -> None:
    data = docker_archive({"a:1": [BASE], "b:2": [BASE, TOP], "": [TOP]})
    loaded = archive.load(images, write(tmp_path, data))
    assert loaded[:2] == ["a:1", "b:2"]
    assert loaded[2].startswith("sha256:")
    assert len(os.listdir(f"{images.root}/l")) == 2
    assert os.listdir(f"{images.root}/tmp") == []


def test_progress_names_the_image_and_counts_layers(images: ImageStore, tmp_path: Path) -> None:
    seen: list[events.Event] = []
    archive.load(images, write(tmp_path, docker_archive({"a": [BASE, TOP]})), sink=seen.append)
    shown = [(e.name, e.text, e.current, e.total) for e in seen if isinstance(e, events.Progress)]
    assert shown == [("a:latest", "Loading", 0, 2), ("a:latest", "Loading", 1, 2),
                     ("a:latest", "Loaded", 2, 2)]  # fmt: skip


def test_old_archives_that_link_equal_layers_are_followed(
    images: ImageStore, tmp_path: Path
) -> None:
    document = config([BASE, BASE])
    manifest = [{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["1/layer.tar", "2/layer.tar"]}]
    link = info("2/layer.tar", type=tarfile.SYMTYPE, linkname="../1/layer.tar")
    data = pack(
        (info("1/layer.tar"), BASE),
        (link, b""),
        (info("c.json"), document),
        (info("manifest.json"), json.dumps(manifest).encode()),
    )
    assert archive.load(images, write(tmp_path, data)) == ["a:1"]


@compressions
def test_a_layout_is_loaded_as_directory_and_as_tar(
    images: ImageStore, tmp_path: Path, compress: Compress
) -> None:
    layout = Layout(tmp_path / "redis")
    layout.image([BASE, TOP], compress=compress, **name("ghcr.io/a/redis:7"))
    assert archive.load(images, str(layout.finish())) == ["ghcr.io/a/redis:7"]
    images.remove("ghcr.io/a/redis:7")
    assert archive.load(images, write(tmp_path, layout.tar())) == ["ghcr.io/a/redis:7"]


def test_a_bare_tag_belongs_to_the_name_of_the_directory(
    images: ImageStore, tmp_path: Path
) -> None:
    layout = Layout(tmp_path / "redis")
    layout.image([BASE], **name("7"))
    assert archive.load(images, str(layout.finish())) == ["redis:7"]


def test_of_several_platforms_this_one_is_taken(images: ImageStore, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "x")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    platforms = [{"os": "linux", "architecture": "other"}, {"os": "linux", "architecture": machine},
                 {"os": "unknown", "architecture": "unknown"}]  # fmt: skip
    for data, platform in zip((TOP, BASE, TOP), platforms, strict=True):
        layout.image([data], platform=platform, **name("a:1"))
    archive.load(images, str(layout.finish()))
    image = images.resolve("a:1")
    assert image is not None
    assert os.listdir(image.layers[0]) == ["base"]


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("which", range(4))
def test_every_spoiled_blob_of_a_layout_is_noticed(
    images: ImageStore, tmp_path: Path, which: int
) -> None:
    layout = Layout(tmp_path / "x")
    layout.image([BASE, TOP], **name("a:1"))
    blobs = sorted((layout.finish() / "blobs/sha256").iterdir())
    spoil(blobs[which])
    with pytest.raises(ImageError):
        archive.load(images, str(layout.path))
    assert images.images() == []


def test_a_spoiled_layer_of_a_docker_archive_is_noticed(images: ImageStore, tmp_path: Path) -> None:
    data = docker_archive({"a": [BASE]}).replace(b"12345", b"12346")
    with pytest.raises(ImageError, match="corrupt"):
        archive.load(images, write(tmp_path, data))
    assert images.images() == []
    assert os.listdir(f"{images.root}/tmp") == []


BAD_MANIFESTS = [
    b"", b"{", b"{}", b"[]", b"[1]", b"null", b'"x"', b"[" * 100_000, b'[{"Config": 1}]',
    b'[{"Config": "../../etc/passwd", "Layers": []}]', b'[{"Config": "a\\u0000b", "Layers": []}]',
    b'[{"Config": "c", "Layers": "x"}]', b'[{"Config": "c", "Layers": ["../x"]}]',
    b'[{"Config": "c", "RepoTags": ["UPPER"], "Layers": []}]', b"\xff\xfe", b"1" * 10_000,
    b'{"a":' * 80 + b"1" + b"}" * 80,
]  # fmt: skip


@pytest.mark.parametrize("manifest", BAD_MANIFESTS)
def test_a_hostile_manifest_is_refused(images: ImageStore, tmp_path: Path, manifest: bytes) -> None:
    data = layer(("manifest.json", manifest), ("c", config([BASE])))
    with pytest.raises(ImageError):
        archive.load(images, write(tmp_path, data))


def test_a_layout_cannot_lead_out_of_its_directory(images: ImageStore, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "x")
    layout.image([BASE], **name("a:1"))
    layout.finish()
    for blob in (layout.path / "blobs/sha256").iterdir():
        shutil.move(blob, tmp_path / blob.name)
        blob.symlink_to(f"../../../{blob.name}")
    with pytest.raises(ImageError, match="no file"):
        archive.load(images, str(layout.path))


def test_a_document_that_is_manifest_and_index_is_refused(
    images: ImageStore, tmp_path: Path
) -> None:
    layout = Layout(tmp_path / "x")
    manifest = json.loads(layout.image([BASE]))
    layout.manifests.clear()
    both = layout.blob(json.dumps({**manifest, "manifests": []}).encode())
    layout.manifests.append({"digest": digest(both), "size": len(both), "mediaType": ""})
    with pytest.raises(ImageError, match="at once"):
        archive.load(images, str(layout.finish()))


@pytest.mark.parametrize(
    "data", [b"", b"x" * 5000, layer(("bin/sh", b"")), gzip.compress(b"x")[:-3]]
)
def test_what_is_no_archive_is_said_to_be_none(
    images: ImageStore, tmp_path: Path, data: bytes
) -> None:
    with pytest.raises(ImageError):
        archive.load(images, write(tmp_path, data))


def test_a_missing_file_is_an_image_error(images: ImageStore, tmp_path: Path) -> None:
    for act in (archive.load, lambda s, p: archive.import_rootfs(s, p, "a")):
        with pytest.raises(ImageError, match="No such file"):
            act(images, str(tmp_path / "nothing"))


# ---- import ----


@compressions
def test_a_root_file_system_becomes_an_image(
    images: ImageStore, tmp_path: Path, compress: Compress
) -> None:
    config = ImageConfig(command=("/bin/app",), env=(("A", "1"),), exposed_ports=("80/tcp",))
    data = compress(TOP)
    image = archive.import_rootfs(images, io.BytesIO(data), "app:1", config=config)
    assert (image.config.command, image.config.env) == (("/bin/app",), (("A", "1"),))
    assert (Path(image.layers[0]) / "etc/top").read_bytes() == b"123"
    assert images.layer(digest(TOP)) is not None


def test_a_directory_is_imported_as_it_is(images: ImageStore, tmp_path: Path) -> None:
    source = tmp_path / "root"
    (source / "a/b").mkdir(parents=True, mode=0o755)
    (source / "a/b" / ("n" * 150)).write_bytes(b"x" * 3000)
    (source / "a/link").symlink_to("b/" + "t" * 120)
    os.link(source / "a/b" / ("n" * 150), source / "hard")
    os.utime(source / "hard", ns=(1, 1_234_567_890_123_456_789))
    image = archive.import_rootfs(images, str(source), "a")
    found = Path(image.layers[0])
    assert os.readlink(found / "a/link") == "b/" + "t" * 120
    assert (found / "hard").stat().st_mtime_ns == 1_234_567_890_123_456_789
    assert (found / "hard").stat().st_ino == (found / "a/b" / ("n" * 150)).stat().st_ino
    again = archive.import_rootfs(images, str(source), "b")
    assert again.layers == image.layers


def test_what_is_packed_is_read_by_other_programs_alike(tmp_path: Path) -> None:
    source = tmp_path / "root"
    source.mkdir()
    (source / ("ü" * 60)).write_bytes(b"1")
    (source / "big-id").write_bytes(b"2" * 513)
    os.utime(source / "big-id", ns=(-1, -1_500_000_000))
    packed = writing.Packed(str(source))
    with tarfile.open(fileobj=packed, mode="r|") as found:  # type: ignore[call-overload]
        times = {member.name: member.mtime for member in found}
    assert set(times) == {".", "ü" * 60, "big-id"}
    assert times["big-id"] == -1.5
    (tmp_path / "l").mkdir()
    layers.unpack(writing.Packed(str(source)), str(tmp_path / "l"))
    assert (tmp_path / "l/big-id").stat().st_mtime_ns == -1_500_000_000


def test_an_import_by_digest_is_refused(images: ImageStore) -> None:
    with pytest.raises(ImageError, match="cannot import"):
        archive.import_rootfs(images, io.BytesIO(BASE), "a@sha256:" + "0" * 64)
