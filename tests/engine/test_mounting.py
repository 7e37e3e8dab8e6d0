"""Volumes of a service and an image -> mounts, by value."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.engine.mounting import Mounting, looks_like_a_file, mounting
from orchestrator.spec.model import VolumeMount
from tests.engine.world import LAYOUT, project, service


def mounted(
    *volumes: VolumeMount, image: tuple[str, ...] = (), inherited: dict[str, str] | None = None,
    **said: Any,
) -> Mounting:  # fmt: skip
    made = service(volumes=volumes, **said)
    return mounting(made, project=project(made), layout=LAYOUT, image_volumes=image,
                    inherited=inherited or {}, new_name=lambda: "fresh")  # fmt: skip


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/etc/nginx.conf", True), ("nginx.conf", True), ("/x/settings.toml/", True),
     ("/etc/conf.d", False), ("/data", False), ("/data-1.2", False), ("/srv/.config", False),
     ("/", False), ("/run/docker.sock", True)],
)  # fmt: skip
def test_a_file_is_known_by_its_extension(path: str, *, expected: bool) -> None:
    assert looks_like_a_file(path) is expected


def test_a_named_volume_is_filled_and_an_anonymous_one_gets_a_name() -> None:
    made = mounted(VolumeMount(type="volume", source="data", target="/a"),
                   VolumeMount(type="volume", source=None, target="/b", nocopy=True))  # fmt: skip
    assert [(m.source, m.populate) for m in made.mounts] == [
        ("/data/volumes/p_data/_data", True), ("/data/volumes/fresh/_data", False),
    ]  # fmt: skip
    assert (made.named, made.anonymous) == ({"/a": "p_data"}, {"/b": "fresh"})


def test_what_the_image_wants_is_mounted_unless_something_covers_it() -> None:
    made = mounted(VolumeMount(type="tmpfs", source=None, target="/a"), image=("/a", "/b/", "/b"))
    assert [(m.type, m.target) for m in made.mounts] == [("tmpfs", "/a"), ("volume", "/b")]


def test_anonymous_volumes_are_inherited_by_target() -> None:
    made = mounted(VolumeMount(type="volume", source=None, target="/b"), image=("/c",),
                   inherited={"/b": "old", "/c": "older", "/gone": "x"})  # fmt: skip
    assert made.anonymous == {"/b": "old", "/c": "older"}


@pytest.mark.parametrize(
    ("source", "target", "create", "expected"),
    [("/srv/data", "/data", True, True), ("/srv/data", "/data", False, False),
     ("/srv/app.conf", "/etc/app", True, False), ("/srv/app", "/etc/app.conf", True, False)],
)  # fmt: skip
def test_only_a_directory_is_made_where_a_bind_source_is_missing(
    source: str, target: str, *, create: bool, expected: bool
) -> None:
    volume = VolumeMount(type="bind", source=source, target=target, create_host_path=create)
    assert mounted(volume).mounts[0].create_source is expected


def test_a_tmpfs_is_safe_by_default_and_can_be_opened() -> None:
    made = mounted(tmpfs=("/a", "/b:exec,size=64m,mode=1777,ro"))
    assert made.mounts[0].options == ("noexec", "nosuid", "nodev")
    assert made.mounts[1].options == ("nosuid", "nodev", "size=64m", "mode=1777")
    assert made.mounts[1].read_only


def test_the_long_form_of_tmpfs_gives_size_and_octal_mode() -> None:
    volume = VolumeMount(type="tmpfs", source=None, target="/a", tmpfs_size=100, tmpfs_mode=0o1777)
    assert mounted(volume).mounts[0].options[-2:] == ("size=100", "mode=1777")
