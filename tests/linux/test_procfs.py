"""What /proc says, about processes and sockets the test made itself."""

from __future__ import annotations

import _socket
import os
import subprocess
import sys
import time

import pytest

from orchestrator.linux import procfs, syscalls
from tests.linux.forked import in_child


def test_a_start_time_identifies_a_living_process() -> None:
    ours = procfs.start_time(os.getpid())
    assert ours is not None
    with subprocess.Popen(["sleep", "60"]) as process:
        theirs = procfs.start_time(process.pid)
        assert theirs is not None
        assert theirs >= ours
        assert procfs.parent(process.pid) == os.getpid()
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert procfs.start_time(process.pid) is None  # a zombie
    assert procfs.start_time(process.pid) is None


def test_a_name_of_parentheses_does_not_confuse() -> None:
    def work() -> int | None:
        syscalls.set_name(") Z 1 (")
        return procfs.start_time(os.getpid())

    assert isinstance(in_child(work), int)


def test_children_are_found() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        assert process.pid in procfs.children(os.getpid())
        process.kill()
    assert procfs.children(process.pid) == []


def test_who_sleeps_in_sigwait_is_known() -> None:
    code = "import signal as s; s.pthread_sigmask(0, [15]); s.sigwait([15])"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        deadline = time.monotonic() + 20
        while not procfs.is_in_sigwait(process.pid):
            assert time.monotonic() < deadline
        process.kill()
    assert not procfs.is_in_sigwait(process.pid)
    assert not procfs.is_in_sigwait(os.getpid())


def test_a_command_line_is_readable() -> None:
    with subprocess.Popen(["sleep", "61"]) as process:
        while procfs.command_line(process.pid) == "[sleep]":
            assert process.poll() is None  # exec has begun, the arguments come a moment later
        assert procfs.command_line(process.pid) == "sleep 61"
        process.kill()
    assert procfs.command_line(process.pid) == ""
    assert procfs.command_line(2) == "[kthreadd]"


def test_a_line_of_mountinfo_is_taken_apart() -> None:
    mount = procfs.Mount(
        r"36 35 98:0 /mnt1 /mnt\0402\134x rw,noatime shared:1 master:2 - ext3 /dev/a\011b rw,e=c")
    assert (mount.mount_id, mount.parent_id, mount.device) == (36, 35, "98:0")
    assert (mount.root, mount.target, mount.source) == ("/mnt1", "/mnt 2\\x", "/dev/a\tb")
    assert (mount.options, mount.super_options) == (["rw", "noatime"], ["rw", "e=c"])
    assert (mount.propagation, mount.fstype) == (["shared:1", "master:2"], "ext3")


@pytest.mark.parametrize("line", ["", "1 2 3", "36 35 98:0 / /x rw - ext3", "a b c d e f - g h i"])
def test_what_is_no_mountinfo_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        procfs.Mount(line)


@pytest.mark.kernel
def test_a_mount_of_a_strange_name_is_listed(tmp_path: os.PathLike[str]) -> None:
    target = os.path.join(tmp_path, "a b\\c\n\udcffü")
    os.mkdir(target)

    def work() -> list[list[str]]:
        syscalls.mount("strange source", target, "tmpfs", 0)
        return [[m.fstype, m.source, m.target] for m in procfs.mountinfo()]

    assert ["tmpfs", "strange source", target] in in_child(work, namespaces=syscalls.CLONE_NEWNS)


def test_our_groups_and_file_systems_are_listed() -> None:
    assert all(path.startswith("/") for path in procfs.cgroups().values())
    assert {"proc", "tmpfs"} <= set(procfs.filesystems())
    assert len(procfs.boot_id()) == 36


@pytest.mark.parametrize(
    ("bound", "wanted", "collides"),
    [
        ("127.0.0.1", "127.0.0.1", True), ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "0.0.0.0", True), ("0.0.0.0", "127.0.0.9", True), ("127.0.0.1", "::", True),
        ("127.0.0.1", "::1", False), ("::1", "::1", True), ("::1", "0:0::1", True),
        ("::", "127.0.0.1", True), ("::1", "0.0.0.0", False),
        ("::ffff:127.0.0.1", "127.0.0.1", True), ("::1", "::", True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_the_holder_of_a_port_is_named(kind: str, bound: str, wanted: str, collides: bool) -> None:
    family = _socket.AF_INET6 if ":" in bound else _socket.AF_INET
    sock = _socket.socket(family, _socket.SOCK_STREAM if kind == "tcp" else _socket.SOCK_DGRAM)
    try:
        sock.bind((bound, 0))
    except OSError as exc:
        sock.close()
        pytest.skip(f"this network namespace has no {bound}: {exc}")
    if kind == "tcp":
        sock.listen(1)
    holder = procfs.port_holder(kind, wanted, sock.getsockname()[1])
    sock.close()
    assert holder == ((os.getpid(), procfs.command_line(os.getpid())) if collides else None)


def test_a_connection_is_no_holder() -> None:
    listener = _socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    client = _socket.socket()
    client.connect(listener.getsockname())
    port = client.getsockname()[1]
    assert procfs.port_holder("tcp", "0.0.0.0", port) is None
    client.close()
    listener.close()
