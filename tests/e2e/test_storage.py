"""Volumes, bind mounts, tmpfs, read-only roots and limits, seen from inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e


def test_a_named_volume_outlives_its_container_but_not_down_v(stack: Stack) -> None:
    stack.write("""
services:
  a: {image: pcompose/host, command: sleep infinity, volumes: ["data:/data"]}
  b: {image: pcompose/host, command: sleep infinity, volumes: ["data:/elsewhere:ro"]}
volumes: {data: }
""")
    stack("-p", stack.name, "up", "-d")
    stack.execute("a", "sh", "-c", "echo kept > /data/file")
    stack("-p", stack.name, "down")
    stack("-p", stack.name, "up", "-d")
    assert stack.execute("b", "cat", "/elsewhere/file") == "kept\n"
    refused = stack("exec", "-T", "b", "touch", "/elsewhere/x", ok=False)
    assert "Read-only file system" in refused.stderr
    stack("-p", stack.name, "down", "-v")
    assert stack.remains() == {}


def test_a_new_volume_takes_the_content_of_the_image_once(stack: Stack) -> None:
    stack.write("""
services:
  a: {image: pcompose/host, command: sleep infinity, volumes: ["settings:/etc/alternatives"]}
  b:
    image: pcompose/host
    command: sleep infinity
    depends_on: [a]
    volumes:
      - {type: volume, source: bare, target: /etc/alternatives, volume: {nocopy: true}}
      - {type: volume, source: settings, target: /inner, volume: {subpath: inner}}
volumes: {settings: , bare: }
""")
    stack("-p", stack.name, "up", "-d", "a")
    first = stack.execute("a", "sh", "-c", "ls -A /etc/alternatives | wc -l")
    assert int(first) > 0
    stack.execute("a", "sh", "-c", "mkdir /etc/alternatives/inner; touch /etc/alternatives/inner/x")
    stack("-p", stack.name, "up", "-d")
    assert stack.execute("b", "sh", "-c", "ls -A /etc/alternatives /inner").split() == [
        "/etc/alternatives:", "/inner:", "x"]  # fmt: skip
    stack.execute("a", "sh", "-c", "rm -rf /etc/alternatives/*")
    stack("-p", stack.name, "up", "-d", "--force-recreate", "a")
    assert int(stack.execute("a", "sh", "-c", "ls -A /etc/alternatives | wc -l")) == 0


def test_a_bind_mount_shows_the_directory_and_can_be_read_only(stack: Stack) -> None:
    stack.write("hello\n", "site/index.html")
    stack.write("""
services:
  a: {image: pcompose/host, command: sleep infinity, volumes: ["./site:/site:ro"]}
""")
    stack("-p", stack.name, "up", "-d")
    assert stack.execute("a", "cat", "/site/index.html") == "hello\n"
    assert stack("exec", "-T", "a", "touch", "/site/x", ok=False).returncode == 1


def test_roots_are_private_and_can_be_read_only(stack: Stack) -> None:
    stack.write("""
services:
  a: {image: pcompose/host, command: sleep infinity}
  b: {image: pcompose/host, command: sleep infinity, read_only: true, tmpfs: ["/tmp:size=1m"]}
""")
    stack("-p", stack.name, "up", "-d")
    stack.execute("a", "sh", "-c", "echo mine > /root/file; echo mine > /usr/local/file")
    assert stack("exec", "-T", "b", "cat", "/root/file", ok=False).returncode == 1
    assert stack("exec", "-T", "b", "touch", "/root/file", ok=False).returncode == 1
    stack.execute("b", "touch", "/tmp/file")
    too_much = stack("exec", "-T", "b", "sh", "-c", "head -c 2M /dev/zero > /tmp/big", ok=False)
    assert "No space left on device" in too_much.stderr


def test_limits_are_those_of_the_file(stack: Stack) -> None:
    stack.write("""
services:
  a:
    image: pcompose/host
    command: sleep infinity
    mem_limit: 64m
    pids_limit: 20
    cpus: 0.5
    shm_size: 8m
    ulimits: {nofile: {soft: 100, hard: 200}}
""")
    stack("-p", stack.name, "up", "-d")
    forks = stack("exec", "-T", "a", "sh", "-c",
                  "for i in $(seq 40); do sleep 5 & done; wait", ok=False)  # fmt: skip
    assert "fork" in forks.stderr
    assert stack.execute("a", "sh", "-c", "ulimit -Sn; ulimit -Hn").split() == ["100", "200"]
    eats = "import sys; b = bytearray(128 << 20); print(len(b))"
    assert stack("exec", "-T", "a", "python3", "-c", eats, ok=False).returncode != 0
    size = stack.execute("a", "df", "--output=size", "-B1", "/dev/shm").split()[1]
    assert int(size) == 8 << 20


def test_user_groups_and_directory_come_from_the_file_and_the_image(stack: Stack) -> None:
    stack.write("""
services:
  a:
    image: pcompose/host
    command: sleep infinity
    user: daemon
    working_dir: /made/here
    hostname: box
    environment: [A=1, "B=two words"]
    group_add: ["1234"]
""")
    stack("-p", stack.name, "up", "-d")
    assert stack.execute("a", "id", "-un") == "daemon\n"
    assert "1234" in stack.execute("a", "id", "-G").split()
    assert stack.execute("a", "pwd") == "/made/here\n"
    assert stack.execute("a", "hostname") == "box\n"
    assert stack.execute("a", "sh", "-c", 'echo "$A $B"') == "1 two words\n"


def test_the_inside_shows_nothing_of_the_outside(stack: Stack) -> None:
    stack.write("services:\n  a: {image: pcompose/host, command: sleep infinity, init: true}\n")
    stack("-p", stack.name, "up", "-d")
    assert stack.execute("a", "sh", "-c", "ls /proc | grep -c '^[0-9]*$'").strip() in "2345"
    assert stack("exec", "-T", "a", "ls", "/work", ok=False).returncode != 0
    assert stack.execute("a", "sh", "-c", "ls /root /home | wc -w").strip() in ("2", "0")
    assert stack("exec", "-T", "a", "mount", "-t", "tmpfs", "x", "/mnt", ok=False).returncode != 0
    status = stack.execute("a", "cat", "/proc/self/status")
    assert "Seccomp:\t2" in status
    assert "CapEff:\t00000000a80425fb" in status
    device = stack("exec", "-T", "a", "sh", "-c",
                   "mknod /tmp/d b 254 0 && head -c 1 /tmp/d", ok=False)  # fmt: skip
    assert device.returncode != 0
