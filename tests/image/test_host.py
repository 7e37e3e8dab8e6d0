"""`pcompose/host`: the skeleton is minimal, public, and remade when its sources change."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from orchestrator.errors import ImageError
from orchestrator.image import host
from orchestrator.image.store import ImageStore


@pytest.fixture
def images(tmp_path: Path) -> ImageStore:
    return ImageStore(str(tmp_path / "images"))


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A small machine with secrets in the wrong places."""
    root = tmp_path / "machine"
    for name in (
        "usr/bin",
        "usr/lib",
        "etc/ssl/certs",
        "etc/perl",

                        "etc/ssl/private",         "root",
        "var",
    ):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib"):
        (root / name).symlink_to(f"usr/{name}")
    for name in ("shadow", "hostname", "ssl/private/key.pem", "ssl/certs/public.pem", "perl/public",
                 "ssl/certs/secret.key", "perl/secret", "services", "passwd"):  # fmt: skip
        (root / "etc" / name).write_text(f"content of {name}")
    for name in ("shadow", "ssl/certs/secret.key", "perl/secret"):
        (root / "etc" / name).chmod(0o640)
    (root / "etc/ssl/certs/hash.0").symlink_to("public.pem")
    (root / "usr/zone").write_text("zone")
    (root / "etc/localtime").symlink_to("../usr/zone")
    return root


def names(image_layer: str) -> set[str]:
    return {str(path.relative_to(image_layer)) for path in Path(image_layer).rglob("*")}


def test_only_what_everybody_may_read_is_copied(images: ImageStore, machine: Path) -> None:
    image = host.host_image(images, root=str(machine))
    [lower] = image.layers
    found = names(lower)
    assert {"etc/ssl/certs/public.pem", "etc/ssl/certs/hash.0", "etc/perl/public", "etc/services",
            "etc/localtime", "usr", "bin", "lib", "tmp", "root", "etc/passwd"} <= found  # fmt: skip
    assert not found & {"etc/shadow", "etc/ssl/certs/secret.key", "etc/perl/secret",
                        "etc/ssl/private", "usr/bin", "usr/lib"}  # fmt: skip
    assert "content" not in (Path(lower) / "etc/passwd").read_text()
    assert (Path(lower) / "etc/hostname").read_text() == ""
    assert not (Path(lower) / "etc/localtime").is_symlink()
    assert image.host_usr
    assert image.config.command == ("/bin/sh",)


def test_it_is_made_once_and_remade_when_a_source_changes(
    images: ImageStore, machine: Path
) -> None:
    first = host.host_image(images, root=str(machine))
    assert host.host_image(images, root=str(machine)) == first
    (machine / "etc/services").write_text("other services")
    second = host.host_image(images, root=str(machine))
    assert second.id != first.id
    assert (Path(second.layers[0]) / "etc/services").read_text() == "other services"
    assert os.path.isdir(first.layers[0])  # a running container may stand on it
    assert images.resolve("pcompose/host") == second


def test_a_machine_without_merged_usr_is_refused(images: ImageStore, machine: Path) -> None:
    (machine / "bin").unlink()
    (machine / "bin").mkdir()
    with pytest.raises(ImageError, match="no link into /usr"):
        host.host_image(images, root=str(machine))


@pytest.mark.parametrize(("text", "reserved"), [
    ("pcompose/host", True), ("pcompose/host:latest", True), ("docker.io/pcompose/host", True),
    ("pcompose/host:1", False), ("pcompose/hosts", False), ("ghcr.io/pcompose/host", False),
    ("host", False),
])  # fmt: skip
def test_the_reserved_name_is_known(text: str, reserved: bool) -> None:
    assert host.is_host(text) is reserved


@pytest.mark.kernel
def test_programs_of_this_machine_run_on_it(images: ImageStore, tmp_path: Path) -> None:
    lower = host.host_image(images).layers[0]
    script = """
        mount --make-rprivate /
        mount -t tmpfs none /mnt
        cd /mnt
        mkdir upper work root
        mount -t overlay none -o lowerdir="$LOWER",upperdir=upper,workdir=work root
        mount --bind /usr root/usr
        cd root
        mount -t proc none proc
        mount --rbind /dev dev
        exec chroot . env -i PATH=/usr/bin:/bin sh -c 'id -un && perl -MPOSIX -e "print qq(perl\n)"'
    """
    command = ["unshare", "--mount", "--net", "--pid", "--fork", "sh", "-ec", script]
    done = subprocess.run(command, env={**os.environ, "LOWER": lower}, capture_output=True,
                          text=True, timeout=60, check=False)  # fmt: skip
    assert (done.stdout, done.stderr) == ("root\nperl\n", "")
