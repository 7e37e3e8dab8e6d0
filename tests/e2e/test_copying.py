"""cp and export: docker cp's rules, volumes included, and nobody is led out of a container."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.rootfs import add_program
from tests.e2e.sandbox import eventually

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

def raw(stack: Stack, *arguments: str, ok: bool = True, **options: Any) -> tuple[bytes, bytes]:
    """Standard output and error as they came."""
    done: Any = stack(*arguments, ok=ok, text=False, **options)
    return done.stdout, done.stderr


STACK = """
services:
  web:
    image: pcompose/host
    scale: 2
    command: >-
      sh -c 'mkdir -p /srv/dir/sub; echo file > /srv/dir/a; echo deep > /srv/dir/sub/b;
      ln -s a /srv/dir/link; ln -s /etc/hostname /srv/abs; ln -s /srv/dir /srv/ln;
      ln -s ../../../../../../../../etc/shadow /srv/out; chmod 640 /srv/dir/a; chown 7:8 /srv/dir/a;
      echo kept > /data/v; touch /ready; exec sleep infinity'
    volumes: [data:/data]
    tmpfs: [/scratch]
    healthcheck: {test: [CMD, test, -e, /ready], interval: 100ms}
volumes: {data: {}}
"""


def test_the_rules_of_docker_cp_hold_both_ways(stack: Stack) -> None:
    stack.write(STACK)
    p, here = ("-p", stack.name), stack.directory
    stack(*p, "up", "-d", "--wait")

    def cp(*arguments: str, **options: Any) -> str:
        return str(stack(*p, "cp", *arguments, **options).stderr)

    # out
    cp("web:/srv/dir/a", "copied")
    info = os.stat(here / "copied")
    assert (here / "copied").read_text() == "file\n"
    assert (info.st_mode & 0o777, info.st_uid, info.st_gid) == (0o640, 0, 0)
    cp("-a", "web:srv/dir/a", "copied")
    assert (os.stat(here / "copied").st_uid, os.stat(here / "copied").st_gid) == (7, 8)
    cp("web:/srv/dir", "new")
    assert sorted(os.listdir(here / "new")) == ["a", "link", "sub"]
    cp("web:/srv/dir", "new")
    assert (here / "new/dir/sub/b").read_text() == "deep\n"
    cp("web:/srv/dir/.", "contents")
    assert os.readlink(here / "contents/link") == "a"
    cp("web:/srv/abs", "web_abs")
    assert os.readlink(here / "web_abs") == "/etc/hostname", "a link is copied as a link"
    cp("-L", "web:/srv/abs", "hostname")
    assert (here / "hostname").read_text().strip() != os.uname().nodename
    cp("web:/data/v", "volume")
    assert (here / "volume").read_text() == "kept\n"
    assert "a directory cannot be copied onto a file" in cp("web:/srv/dir", "copied", ok=False)
    assert "No such file or directory" in cp("web:/srv/dir/a", "missing/", ok=False)
    assert "No such file or directory" in cp("web:/nothing", ".", ok=False)
    listed, _ = raw(stack, *p, "cp", "web:/srv/dir", "-")
    with tarfile.open(fileobj=io.BytesIO(listed)) as archive:
        assert archive.getnames() == ["dir", "dir/a", "dir/link", "dir/sub", "dir/sub/b"]

    # in: all replicas, into tmpfs and volumes too
    (here / "site/css").mkdir(parents=True)
    (here / "site/index.html").write_text("hello")
    (here / "site/css/x").write_text("y" * 100_000)
    os.chown(here / "site/index.html", 99, 98)
    cp("site", "web:/scratch")
    cp("site/.", "web:/srv/dir")
    cp("-a", "site/index.html", "web:/data/renamed", "--index", "2")
    for index in ("1", "2"):
        seen = stack(*p, "exec", "-T", "--index", index, "web", "sh", "-c",
                     "stat -c %u:%g /scratch/site/index.html; cat /srv/dir/index.html; "
                     "wc -c < /srv/dir/css/x; stat -c %u /data/renamed")  # fmt: skip
        assert seen.stdout.split() == ["0:0", "hello100000", "99"]
    cp("-", "web:/srv", "--index", "1", input=listed, text=False)
    assert stack.execute("web", "cat", "/srv/dir/sub/b") == "deep\n"
    assert "one container only" in cp("-", "web:/srv", input="", ok=False)
    assert "copying between services" in cp("web:/a", "web:/b", ok=False)
    assert "unknown copy direction" in cp("a", "b", ok=False)
    assert "No such file or directory" in cp("site", "web:/nowhere/at/all", ok=False)
    assert "no such service: wab" in cp("wab:/a", ".", ok=False)

    # a container that does not run, with its volume
    stack(*p, "stop", "-t", "0")
    cp("web:/srv/dir/sub/b", "stopped")
    cp("web:/data/v", "stopped-volume")
    assert (here / "stopped").read_text() + (here / "stopped-volume").read_text() == "deep\nkept\n"
    cp("site/index.html", "web:/root/put")
    stack(*p, "start")
    assert stack.execute("web", "cat", "/root/put") == "hello"


def test_a_link_leads_nowhere_but_into_the_container(stack: Stack) -> None:
    stack.write(STACK)
    p, here = ("-p", stack.name), stack.directory
    stack(*p, "up", "-d", "--wait")
    (here / "secret").write_text("ours")
    stack.execute("web", "sh", "-c", f"mkdir /trap; ln -s {here} /trap/ln; ln -s / /trap/root")
    cp = [*p, "cp", "--index", "1"]
    assert "No such file" in stack(*cp, "web:/trap/ln/secret", "got", ok=False).stderr
    assert stack(*cp, "-L", "web:/srv/out", "got", ok=False).returncode in (0, 1)
    if (here / "got").exists():
        with open("/etc/shadow") as own:
            assert (here / "got").read_text() != own.read()
    stack(*cp, "secret", "web:/trap/root/tmp/put")
    assert stack.execute("web", "cat", "/tmp/put") == "ours"
    # what comes out must not write through a link that came out before
    evil = io.BytesIO()
    with tarfile.open(fileobj=evil, mode="w") as archive:
        for name, link in (("x", str(here)), ("x/owned", "")):
            member = tarfile.TarInfo(name)
            member.type = tarfile.SYMTYPE if link else tarfile.REGTYPE
            member.linkname = link
            archive.addfile(member)
    _, said = raw(stack, *cp, "-", "web:/tmp", input=evil.getvalue(), ok=False)
    assert b"Not a directory" in said
    assert not (here / "owned").exists()


def test_export_has_the_root_without_what_is_mounted(stack: Stack) -> None:
    with tarfile.open(stack.directory / "root.tar", "w") as archive:
        for program in ("sh", "sleep", "cat"):
            add_program(archive, program)
    p = ("-p", stack.name)
    stack("import", "root.tar", "small")
    stack.write("""
services:
  web:
    image: small
    command: [sh, -c, "echo changed > /made; echo kept > /data/v; exec sleep 1000"]
    volumes: [data:/data]
volumes: {data: {}}
""")
    stack(*p, "up", "-d")
    eventually(lambda: "/made" in stack.execute("web", "sh", "-c", "echo /m*"))
    running, _ = raw(stack, *p, "export", "web")
    stack(*p, "stop", "-t", "0")
    stack(*p, "export", "web", "-o", "out.tar")
    for content in (running, (stack.directory / "out.tar").read_bytes()):
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            names = archive.getnames()
            made = archive.extractfile("made")
            assert made is not None
            assert made.read() == b"changed\n"
        assert {"bin/sh", "data", "proc"} <= set(names)
        assert not [n for n in names if n.startswith(("./", "/", "data/", "proc/", "sys/"))]
    assert not (stack.directory / "out.tar.partial").exists()
    imported = stack("import", "out.tar", "again").stdout
    assert imported.startswith("sha256:")
