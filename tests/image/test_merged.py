"""What overlayfs would show, asked without mounting; layers are given top first."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.image import merged


def layer(root: Path, name: str, *files: str) -> str:
    for file in files:
        path = root / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (root / name).mkdir(exist_ok=True)
    return str(root / name)


def test_a_path_of_any_layer_is_seen(tmp_path: Path) -> None:
    layers = [layer(tmp_path, "top", "bin/a"), layer(tmp_path, "low", "bin/b")]
    assert merged.exists(layers, "/bin/a")
    assert merged.exists(layers, "/bin/b")
    assert not merged.exists(layers, "/bin/c")


def test_links_are_followed_inside_the_tree_only(tmp_path: Path) -> None:
    low = layer(tmp_path, "low", "usr/bin/sh")
    os.symlink("usr/bin", f"{low}/bin")
    os.symlink("/usr/bin/sh", f"{low}/usr/bin/ash")
    os.symlink("/etc/passwd", f"{low}/usr/bin/outside")
    os.symlink("../../../../usr/bin/sh", f"{low}/usr/bin/up")
    assert merged.exists([low], "/bin/ash")
    assert merged.exists([low], "/bin/up")
    assert not merged.exists([low], "/bin/outside")


def test_a_circle_of_links_leads_nowhere(tmp_path: Path) -> None:
    low = layer(tmp_path, "low")
    os.symlink("b", f"{low}/a")
    os.symlink("a", f"{low}/b")
    assert not merged.exists([low], "/a")


def test_a_file_hides_a_directory_below(tmp_path: Path) -> None:
    layers = [layer(tmp_path, "top", "x"), layer(tmp_path, "low", "x/y")]
    assert not merged.exists(layers, "/x/y")


def test_usr_of_the_machine_is_seen_through_the_links_of_the_skeleton(tmp_path: Path) -> None:
    low = layer(tmp_path, "low")
    os.symlink("usr/bin", f"{low}/bin")
    assert merged.exists([low], "/bin/env", host_usr=True)
    assert not merged.exists([low], "/bin/env")


@pytest.mark.kernel
def test_a_whiteout_hides_what_is_below(tmp_path: Path) -> None:
    layers = [layer(tmp_path, "top"), layer(tmp_path, "low", "bin/a")]
    os.mkdir(f"{layers[0]}/bin")
    os.mknod(f"{layers[0]}/bin/a", 0o020000, os.makedev(0, 0))
    assert not merged.exists(layers, "/bin/a")


@pytest.mark.kernel
def test_an_opaque_directory_hides_the_one_below(tmp_path: Path) -> None:
    layers = [layer(tmp_path, "top", "bin/b"), layer(tmp_path, "low", "bin/a")]
    os.setxattr(f"{layers[0]}/bin", "trusted.overlay.opaque", b"y")
    assert merged.exists(layers, "/bin/b")
    assert not merged.exists(layers, "/bin/a")
