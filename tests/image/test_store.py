"""The image store: names, ids, sharing of layers, removal."""

from __future__ import annotations

import itertools
import os
import threading
from pathlib import Path

import pytest

from orchestrator.build import metadata
from orchestrator.errors import ImageError, ImageNotFoundError
from orchestrator.image import archive, store
from orchestrator.image.config import ImageConfig
from orchestrator.image.store import Image, ImageStore
from tests.image.archives import layer

BASE, TOP = layer(("base", b"12345")), layer(("top", b"123"))


def importing(
    images: ImageStore, data: bytes, name: str | None, tmp_path: Path, *changes: str
) -> Image:
    file = tmp_path / "rootfs.tar"
    file.write_bytes(data)
    config = metadata.apply_texts(ImageConfig(), changes)
    return archive.import_rootfs(images, str(file), name, config=config)


@pytest.fixture
def images(tmp_path: Path) -> ImageStore:
    return ImageStore(str(tmp_path / "images"))


def test_an_empty_store_needs_no_directory(images: ImageStore) -> None:
    assert images.resolve("redis:7") is None
    assert images.images() == []
    assert not os.path.exists(images.root)


def test_an_image_is_found_by_every_way_to_say_its_name(images: ImageStore, tmp_path: Path) -> None:
    image = importing(images, BASE, "redis", tmp_path)
    hexadecimal = image.id[7:]
    for text in ("redis", "redis:latest", "docker.io/library/redis", image.id, hexadecimal,
                 hexadecimal[:12], f"sha256:{hexadecimal[:6]}"):  # fmt: skip
        assert images.resolve(text) == image, text
    assert images.resolve("redis:7") is None
    assert image.names() == [("redis", "latest")]
    assert (image.size, image.references) == (5, ("redis:latest",))
    assert (Path(image.layers[0]) / "base").read_bytes() == b"12345"


def test_a_name_goes_before_the_beginning_of_an_id(images: ImageStore, tmp_path: Path) -> None:
    first = importing(images, BASE, None, tmp_path)
    second = importing(images, TOP, first.id[7:15], tmp_path)
    assert images.resolve(first.id[7:15]) == second


def test_an_ambiguous_beginning_is_an_error(images: ImageStore, tmp_path: Path) -> None:
    made = [importing(images, BASE, None, tmp_path, f"LABEL n={n}") for n in range(17)]
    first = sorted(image.id[7] for image in made)
    twice = next(a for a, b in itertools.pairwise(first) if a == b)
    with pytest.raises(ImageError, match="beginning of"):
        images.resolve(twice)


def test_a_name_moves_and_the_old_image_stays_without(images: ImageStore, tmp_path: Path) -> None:
    old = importing(images, BASE, "app:1", tmp_path)
    new = importing(images, TOP, "app:1", tmp_path)
    assert images.resolve("app:1") == new
    left = images.resolve(old.id)
    assert left is not None
    assert left.references == ()


def test_importing_the_same_again_changes_nothing(images: ImageStore, tmp_path: Path) -> None:
    first = importing(images, BASE, "app:1", tmp_path, "CMD run")
    second = importing(images, BASE, "app:1", tmp_path, "CMD run")
    third = importing(images, BASE, "app:1", tmp_path, "CMD other")
    assert first.id == second.id != third.id
    assert len(os.listdir(f"{images.root}/l")) == 1


def test_removal_takes_names_then_the_image_then_layers_nobody_uses(
    images: ImageStore, tmp_path: Path
) -> None:
    kept = importing(images, BASE, "kept", tmp_path)
    image = importing(images, TOP, "app:1", tmp_path)
    images.tag("app:1", "app:2")
    assert images.remove("app:1") == (["app:1"], [])
    assert images.remove("app:2") == (["app:2"], [image.id])
    assert [i.id for i in images.images()] == [kept.id]
    assert os.listdir(f"{images.root}/l") == [os.path.basename(path) for path in kept.layers]
    assert len(os.listdir(f"{images.root}/blobs/sha256")) == 1
    assert os.listdir(f"{images.root}/tmp") == []


def test_removal_by_id_asks_before_it_takes_several_names(
    images: ImageStore, tmp_path: Path
) -> None:
    image = importing(images, BASE, "a", tmp_path)
    images.tag("a", "b")
    with pytest.raises(ImageError, match="2 names"):
        images.remove(image.id)
    assert images.remove(image.id[7:19], force=True) == (["a:latest", "b:latest"], [image.id])


def test_what_is_not_there_cannot_be_tagged_or_removed(images: ImageStore) -> None:
    for act in (
        lambda: images.tag("a", "b"),
        lambda: images.untag("a"),
        lambda: images.remove("a"),
    ):
        with pytest.raises(ImageNotFoundError):
            act()


def test_a_layer_deleted_by_hand_makes_the_image_absent_and_loading_repairs_it(
    images: ImageStore, tmp_path: Path
) -> None:
    image = importing(images, BASE, "a", tmp_path)
    os.rename(image.layers[0], tmp_path / "gone")
    assert images.resolve("a") is None
    assert importing(images, BASE, "a", tmp_path).layers == image.layers


def test_leftovers_of_the_killed_are_swept(images: ImageStore, tmp_path: Path) -> None:
    importing(images, BASE, "a", tmp_path)
    left = images.scratch()
    os.makedirs(f"{left}/deep/er")
    Path(f"{left}{store.RECIPE}").touch()
    importing(images, TOP, "b", tmp_path)
    assert os.listdir(f"{images.root}/tmp") == []


def test_another_layer_with_the_same_beginning_gets_another_name(images: ImageStore) -> None:
    ids = [f"sha256:{'a' * 20}{n:044x}" for n in range(3)]
    with images.adding():
        made = [images.add_layer(i, lambda path, i=i: (i, 0)) for i in ids]  # type: ignore[misc]
    assert [len(item.name) for item in made] == [12, 24, 64]
    assert [images.layer(i) for i in ids] == made


def test_a_layer_that_is_not_what_it_claims_is_refused(images: ImageStore) -> None:
    wanted, found = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    with pytest.raises(ImageError, match="corrupt"), images.adding():
        images.add_layer(wanted, lambda path: (found, 0))
    assert images.layer(wanted) is None
    assert os.listdir(f"{images.root}/tmp") == []


def test_who_comes_second_waits_and_does_no_work(images: ImageStore) -> None:
    wanted, calls, entered, release = "sha256:" + "c" * 64, [], threading.Event(), threading.Event()

    def fill(path: str) -> tuple[str, int]:
        calls.append(path)
        entered.set()
        assert release.wait(20)
        return wanted, 0

    def work() -> None:
        with images.adding():
            images.add_layer(wanted, fill)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert entered.wait(20)
    release.set()
    for thread in threads:
        thread.join(20)
    assert len(calls) == 1


def test_a_record_of_a_later_version_is_not_guessed_at(images: ImageStore, tmp_path: Path) -> None:
    importing(images, BASE, "a", tmp_path)
    Path(f"{images.root}/references.json").write_text('{"version": 2, "references": {}}')
    with pytest.raises(ImageError, match="another version"):
        images.resolve("a")


def test_the_store_is_closed_to_others(images: ImageStore, tmp_path: Path) -> None:
    importing(images, BASE, "a", tmp_path)
    assert os.stat(images.root).st_mode & 0o777 == 0o700


def test_a_hundred_layers_fit_into_the_options_of_one_mount() -> None:
    lowers = [f"/var/lib/pcompose/images/l/{n:0{store.NAME_LENGTH}x}" for n in range(100)]
    assert len("lowerdir=" + ":".join(lowers)) < 4096
