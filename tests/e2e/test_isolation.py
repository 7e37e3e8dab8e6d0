"""What a Compose file says about isolation, seen from inside of whole stacks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

SHARING = """
services:
  db:
    image: pcompose/host
    command: python3 -m http.server -b 127.0.0.1 8000
  side:
    image: pcompose/host
    command: sleep infinity
    network_mode: service:db
    pid: service:db
    ipc: service:db
  machine:
    image: pcompose/host
    command: sleep infinity
    network_mode: host
    ports: ["80:80"]
  alone:
    image: pcompose/host
    command: sleep infinity
    network_mode: none
    sysctls: {net.core.somaxconn: 77}
    security_opt: [no-new-privileges, "seccomp=profile.json"]
    ulimits: {nofile: {soft: 100, hard: 200}}
"""
PROFILE = """{"defaultAction": "SCMP_ACT_ALLOW",
"syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}"""
FETCH = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000').status)"


def test_containers_share_what_they_say_and_nothing_else(stack: Stack) -> None:
    stack.write(SHARING)
    stack.write(PROFILE, "profile.json")
    done = stack("-p", stack.name, "up", "-d", "--wait")
    assert "nothing is published" in done.stderr
    assert stack.execute("side", "python3", "-c", FETCH) == "200\n"
    assert "http.server" in stack.execute("side", "cat", "/proc/1/cmdline")
    hosts = stack.execute("side", "cat", "/etc/hosts")
    assert hosts == stack.execute("db", "cat", "/etc/hosts")
    assert stack.sandbox.holder is not None
    outside = os.readlink(f"/proc/{stack.sandbox.holder.pid}/ns/net")
    assert stack.execute("machine", "readlink", "/proc/self/ns/net").strip() == outside
    assert stack.execute("machine", "hostname").strip() == os.uname().nodename
    assert stack.execute("alone", "ls", "/sys/class/net").split() == ["lo"]
    shown = stack.execute("alone", "sh", "-c", "cat /proc/sys/net/core/somaxconn; ulimit -n")
    assert shown.split() == ["77", "100"]
    refused = stack("exec", "-T", "alone", "mkdir", "/tmp/x", ok=False)
    assert "No space left" in refused.stderr  # errno 28, as the profile says


def test_who_shares_is_restarted_with_whom_it_shares(stack: Stack) -> None:
    stack.write("""
services:
  db: {image: pcompose/host, command: sleep infinity}
  side: {image: pcompose/host, command: sleep infinity, network_mode: "service:db"}
""")
    stack("-p", stack.name, "up", "-d")
    stack("-p", stack.name, "restart", "db")
    same = stack.execute("db", "readlink", "/proc/self/ns/net")
    assert stack.execute("side", "readlink", "/proc/self/ns/net") == same
    stack("-p", stack.name, "up", "-d", "--force-recreate", "db")
    same = stack.execute("db", "readlink", "/proc/self/ns/net")
    assert stack.execute("side", "readlink", "/proc/self/ns/net") == same


def test_a_change_of_isolation_makes_the_container_again(stack: Stack) -> None:
    text = "services: {a: {image: pcompose/host, command: sleep infinity, cpu_shares: %d}}"
    stack.write(text % 512)
    stack("-p", stack.name, "up", "-d")
    stack.write(text % 256)
    planned = stack("-p", stack.name, "plan", ok=False).stdout
    assert "cpu_shares 512 -> 256" in planned
    stack("-p", stack.name, "up", "-d")
    assert "recreate" not in stack("-p", stack.name, "plan").stdout


def test_what_the_machine_lacks_is_refused_before_anything_is_made(stack: Stack) -> None:
    stack.write("""
services:
  a:
    image: pcompose/host
    devices: [/dev/nonsense]
    cap_add: [SYS_ADMN]
    sysctls: {kernel.panic: 1}
""")
    refused = stack("-p", stack.name, "up", "-d", ok=False)
    assert "compose.yaml:6:15: unknown capability 'SYS_ADMN'" in refused.stderr
    stack.write("services: {a: {image: pcompose/host, command: id, devices: [/dev/nonsense]}}")
    refused = stack("-p", stack.name, "up", "-d", ok=False)
    assert "device /dev/nonsense: no such file" in refused.stderr
    assert stack.remains() == {}
