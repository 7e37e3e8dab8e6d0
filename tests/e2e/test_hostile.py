"""Images and neighbours that mean harm: what they bring or try leads nowhere."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.sandbox import eventually
from tests.image.archives import docker_archive, info, pack

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e


def hostile_image() -> bytes:
    """A node of a disk of this machine, one of its memory, and a program that becomes root."""
    disk = sorted(os.listdir("/sys/block"))[0]
    major, minor = map(int, Path(f"/sys/block/{disk}/dev").read_text().split(":"))
    links = [(info(name, type=tarfile.SYMTYPE, linkname=f"usr/{name}"), b"")
             for name in ("bin", "lib", "lib64")]  # fmt: skip
    nodes = [
        (info("disk", type=tarfile.BLKTYPE, devmajor=major, devminor=minor, mode=0o666), b""),
        (info("mem", type=tarfile.CHRTYPE, devmajor=1, devminor=1, mode=0o666), b""),
    ]
    program = Path("/usr/bin/id").read_bytes()
    return docker_archive({"hostile:1": [pack(*links, *nodes, (info("id", mode=0o4755), program))]})


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_nodes_and_programs_of_root_in_an_image_are_harmless(stack: Stack) -> None:
    (stack.directory / "hostile.tar").write_bytes(hostile_image())
    stack("load", "--input", "hostile.tar")
    stack.write("""
services:
  plain: &it {image: "hostile:1", command: sleep infinity, volumes: ["/usr:/usr:ro"]}
  firm: {<<: *it, user: "1000:1000", security_opt: [no-new-privileges]}
""")
    stack("-p", stack.name, "up", "-d")
    for node in ("/disk", "/mem"):
        refused = stack("exec", "-T", "plain", "head", "-c", "1", node, ok=False)
        assert "Permission denied" in refused.stderr
    assert stack.execute("firm", "/id", "-u") == "1000\n"
    # Whoever has an account on the machine gets at no file of a layer or a container.
    base = stack.directory.parent
    os.chmod(base, 0o755)
    find = ["find", str(base / "data"), "-perm", "-4000"]
    assert stack.sandbox.run(find).stdout.count("/id\n") == 1
    nobody = ["setpriv", "--reuid=65534", "--clear-groups"]
    assert stack.sandbox.run([*nobody, *find]).stdout == ""


def test_another_project_is_out_of_reach(stack: Stack) -> None:
    """By name, by address, and through the gateways of both."""
    text = """
name: %s
services:
  web: {image: pcompose/host, command: python3 -m http.server 80, stop_signal: SIGKILL}
"""
    stack.write(text % stack.name)
    stack.write(text % f"{stack.name}x", "other.yaml")
    stack("up", "-d")
    stack("-f", "other.yaml", "up", "-d")
    probe = ("import sys, urllib.request as u;"
             "print(u.urlopen(f'http://{sys.argv[1]}', timeout=1).status)")
    try:
        own = stack.execute("web", "hostname", "-i").strip()
        other = stack("-f", "other.yaml", "exec", "-T", "web", "hostname", "-i").stdout.strip()
        fetch = ("python3", "-c", probe)
        eventually(lambda: stack("exec", "-T", "web", *fetch, own, ok=False).stdout == "200\n")
        for target in (other, f"{stack.name}x-web-1"):
            refused = stack("exec", "-T", "web", *fetch, target, ok=False)
            assert (refused.returncode, refused.stdout) == (1, "")
        route = f"{other}/32 via {own.rpartition('.')[0]}.1".split()
        refused = stack("exec", "-T", "web", "ip", "route", "add", *route, ok=False)
        assert refused.returncode != 0
    finally:
        stack("-f", "other.yaml", "down", "-v")
