"""Images that come in as archives and root file systems, and run."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

RUN = "services:\n  s: {image: %s, command: [/bin/sh, -c, \"cat /etc/marker\"]}\n"
LIBRARIES = ("libc.so.6", "ld-linux-x86-64.so.2")


def rootfs_tar(path: Path) -> Path:
    """The smallest root with a shell: dash or bash, cat, and the libraries they need."""
    from tests.e2e.rootfs import add_program

    with tarfile.open(path, "w") as tar:
        for name in ("sh", "cat", "sleep"):
            add_program(tar, name)
        marker = tarfile.TarInfo("etc/marker")
        marker.size = 8
        tar.addfile(marker, io.BytesIO(b"from tar"))
        passwd = b"root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n"
        entry = tarfile.TarInfo("etc/passwd")
        entry.size = len(passwd)
        tar.addfile(entry, io.BytesIO(passwd))
    return path


def test_a_root_file_system_becomes_an_image_with_its_changes(
    stack: Stack, tmp_path: Path
) -> None:
    tar = rootfs_tar(tmp_path / "root.tar")
    stack("import", str(tar), "mine:1", "--change", 'CMD ["/bin/sh", "-c", "cat /etc/marker"]',
          "--change", "ENV A=b", "--change", "USER user")  # fmt: skip
    stack.write("services:\n  s: {image: 'mine:1'}\n")
    done = stack("-p", stack.name, "run", "--rm", "-T", "s")
    assert done.stdout == "from tar"
    script = "echo $A; cat /proc/self/status"
    shown = stack("-p", stack.name, "run", "--rm", "-T", "s", "/bin/sh", "-c", script)
    assert shown.stdout.startswith("b\n")
    assert "Uid:\t1000\t1000" in shown.stdout


def test_an_image_archive_is_loaded_and_run(stack: Stack, tmp_path: Path) -> None:
    layer = rootfs_tar(tmp_path / "layer.tar")
    config = {"architecture": "amd64", "os": "linux",
              "config": {"Cmd": ["/bin/sh", "-c", "cat /etc/marker"]},
              "rootfs": {"type": "layers", "diff_ids": [digest(layer.read_bytes())]}}  # fmt: skip
    manifest = [{"Config": "config.json", "RepoTags": ["loaded:2"], "Layers": ["layer.tar"]}]
    with tarfile.open(tmp_path / "image.tar", "w") as tar:
        tar.add(layer, "layer.tar")
        for name, data in (("config.json", config), ("manifest.json", manifest)):
            text = json.dumps(data).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
    loaded = stack("load", "-i", str(tmp_path / "image.tar"))
    assert "loaded:2" in loaded.stdout
    stack.write(RUN % "'loaded:2'")
    stack("-p", stack.name, "up")
    assert stack.logs("--no-log-prefix") == ["from tar"]
    (row,) = json.loads(stack("-p", stack.name, "images", "--format", "json").stdout)
    assert (row["Repository"], row["Tag"]) == ("loaded", "2")


def digest(data: bytes) -> str:
    from hashlib import sha256

    return "sha256:" + sha256(data).hexdigest()


def test_a_broken_archive_is_refused(stack: Stack, tmp_path: Path) -> None:
    bad = tmp_path / "bad.tar"
    bad.write_bytes(b"not a tar" * 100)
    done = stack("load", "-i", str(bad), ok=False)
    assert done.returncode == 1
    assert "bad.tar" in done.stderr
    assert "Traceback" not in done.stderr
