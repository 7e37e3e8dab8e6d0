"""`image bootstrap`: what mmdebstrap is asked for, and what becomes of its failure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.engine import bootstrapping
from orchestrator.engine.bootstrapping import Base
from orchestrator.errors import ImageError, UsageError
from orchestrator.events import ignore
from orchestrator.image.store import ImageStore
from tests.image.archives import layer


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("debian:bookworm", Base(distribution="debian", suite="bookworm", is_slim=False)),
        ("debian:12-slim", Base(distribution="debian", suite="bookworm", is_slim=True)),
        ("debian:sid", Base(distribution="debian", suite="sid", is_slim=False)),
        ("ubuntu:24.04", Base(distribution="ubuntu", suite="noble", is_slim=False)),
    ],
)
def test_names_of_images_are_suites(name: str, base: Base) -> None:
    assert bootstrapping.base_of(name) == base


@pytest.mark.parametrize("name", ["redis:7", "debian:99", "debian:../x", "debian:--variant"])
def test_what_nobody_can_make_is_refused(name: str) -> None:
    with pytest.raises((UsageError, ImageError)):
        bootstrapping.base_of(name)


def test_the_command_line_has_packages_and_mirror() -> None:
    base = Base(distribution="debian", suite="bookworm", is_slim=True)
    argv = bootstrapping.command(base, packages=["curl", "g++"], mirror="http://deb/")
    assert argv[-4:] == ["--include=curl,g++", "bookworm", "-", "http://deb/"]
    assert any("path-exclude=/usr/share/man" in word for word in argv)
    with pytest.raises(UsageError, match="cannot be the name of a package"):
        bootstrapping.command(base, packages=["--hook"], mirror=None)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageStore:
    """A store, and an empty directory that is searched first for programs."""
    monkeypatch.setenv("PCOMPOSE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    (tmp_path / "bin").mkdir()
    (tmp_path / "root.tar").write_bytes(layer(("etc", None), ("etc/os", b"made")))
    return ImageStore(str(tmp_path / "data" / "images"))


def program(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bin" / "mmdebstrap"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_it_writes_is_the_image(store: ImageStore, tmp_path: Path) -> None:
    program(tmp_path, f"cat {tmp_path}/root.tar")
    made = bootstrapping.bootstrap("debian:bookworm", sink=ignore)
    found = store.resolve("debian:bookworm")
    assert found is not None
    assert (found.id, found.config.command) == (made, ("bash",))
    assert Path(found.layers[0], "etc/os").read_text() == "made"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("writes", ["cat {}/root.tar", "head -c 700 {}/root.tar", ":"])
def test_one_that_fails_makes_no_image(store: ImageStore, tmp_path: Path, writes: str) -> None:
    program(tmp_path, f"{writes.format(tmp_path)}; echo 'E: no mirror' >&2; exit 3")
    with pytest.raises(ImageError, match="mmdebstrap failed:\nE: no mirror"):
        bootstrapping.bootstrap("debian:bookworm", sink=ignore)
    assert store.images() == []
    assert os.listdir(f"{store.root}/tmp") == []
