"""Names, addresses and published ports between real containers."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.sandbox import eventually

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

SERVER = "python3 -m http.server -d /app 80"


def test_names_aliases_and_replicas_resolve(stack: Stack) -> None:
    stack.write("""
services:
  web:
    image: pcompose/host
    command: sleep infinity
    scale: 3
    networks: {default: {aliases: [site]}}
  named: {image: pcompose/host, command: sleep infinity, container_name: fixed-name-%s}
  asks: {image: pcompose/host, command: sleep infinity}
""" % stack.name)  # noqa: UP031 (braces of YAML)
    stack("-p", stack.name, "up", "-d")

    def addresses(name: str) -> set[str]:
        found = stack("exec", "-T", "asks", "getent", "ahostsv4", name, ok=False).stdout
        return {line.split()[0] for line in found.splitlines()}

    assert len(addresses("web")) == 3
    assert addresses("site") == addresses("web")
    assert addresses(f"{stack.name}-web-2") < addresses("web")
    assert len(addresses(f"fixed-name-{stack.name}")) == 1
    assert addresses("nobody-here") == set()


def test_networks_are_walls(stack: Stack) -> None:
    stack.write(f"""
services:
  front: {{image: pcompose/host, command: sleep infinity, networks: [outer]}}
  both: {{image: pcompose/host, command: sleep infinity, networks: [outer, inner]}}
  back: {{image: pcompose/host, command: {SERVER}, networks: [inner], volumes: [".:/app:ro"]}}
networks: {{outer: , inner: }}
""")
    stack("-p", stack.name, "up", "-d")
    fetch = ["python3", "-c", "import sys,urllib.request as u;"
             "print(u.urlopen(sys.argv[1], timeout=2).status)"]  # fmt: skip
    eventually(lambda: stack("exec", "-T", "both", *fetch, "http://back", ok=False).stdout)
    assert stack("exec", "-T", "front", *fetch, "http://back", ok=False).returncode != 0
    address = stack.execute("both", "getent", "hosts", "back").split()[0]
    direct = stack("exec", "-T", "front", *fetch, f"http://{address}", ok=False)
    assert direct.returncode != 0


def test_addresses_stay_the_same_over_recreation_and_down(stack: Stack) -> None:
    stack.write("services:\n  a: {image: pcompose/host, command: sleep infinity}\n"
                "  b: {image: pcompose/host, command: sleep infinity}\n")  # fmt: skip
    stack("-p", stack.name, "up", "-d")
    first = stack.execute("a", "getent", "hosts", "b").split()[0]
    stack("-p", stack.name, "up", "-d", "--force-recreate")
    assert stack.execute("a", "getent", "hosts", "b").split()[0] == first
    stack("-p", stack.name, "down")
    stack("-p", stack.name, "up", "-d")
    assert stack.execute("a", "getent", "hosts", "b").split()[0] == first


def test_published_ports_lead_in(stack: Stack) -> None:
    stack.write("fine\n", "page")
    stack.write(f"""
services:
  web:
    image: pcompose/host
    command: {SERVER}
    volumes: [".:/app:ro"]
    ports: ["127.0.0.1:18090:80", "18091:80", "80"]
""")
    stack("-p", stack.name, "up", "-d")
    ports = {p["PublishedPort"] for p in stack.ps()[f"{stack.name}-web-1"]["Publishers"]}
    ephemeral = (ports - {18090, 18091}).pop()
    for port in (18090, 18091, ephemeral):
        eventually(lambda: stack.fetch(f"http://127.0.0.1:{port}/page") == "fine\n")  # noqa: B023


def test_replicas_share_a_range_of_ports(stack: Stack) -> None:
    stack.write("""
services:
  web: {image: pcompose/host, command: sleep infinity, scale: 3, ports: ["18100-18110:80"]}
""")
    stack("-p", stack.name, "up", "-d")
    published = [p["PublishedPort"] for row in stack.ps().values() for p in row["Publishers"]
                 if p["URL"] == "0.0.0.0"]  # fmt: skip
    assert len(set(published)) == 3
    assert all(18100 <= port <= 18110 for port in published)


def test_hundreds_of_ports_lead_in_also_when_the_supervisor_was_killed(stack: Stack) -> None:
    stack.write("fine\n", "page")
    stack.write(f"""
services:
  web:
    image: pcompose/host
    command: {SERVER}
    volumes: [".:/app:ro"]
    ports: ["18600-18799:81-280", "18800:80"]
""")
    stack("-p", stack.name, "up", "-d")
    eventually(lambda: stack.fetch("http://127.0.0.1:18800/page") == "fine\n")
    files = stack.execute("web", "sh", "-c", "ulimit -n")
    os.kill(stack.ls()["supervisor_pid"], signal.SIGKILL)
    eventually(lambda: stack.fetch("http://127.0.0.1:18800/page") == "fine\n")
    assert len(stack.ps()[f"{stack.name}-web-1"]["Publishers"]) == 402
    stack("-p", stack.name, "restart", "-t", "0")
    assert stack.execute("web", "sh", "-c", "ulimit -n") == files


def test_a_datagram_comes_and_its_answer_goes(stack: Stack) -> None:
    echo = ("import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 5353));"
            "[s.sendto(d.upper(), a) for d, a in iter(lambda: s.recvfrom(99), 0)]")  # fmt: skip
    stack.write(f"""
services:
  echo:
    image: pcompose/host
    command: [python3, -c, "{echo}"]
    ports: ["127.0.0.1:18120:5353/udp"]
""")
    stack("-p", stack.name, "up", "-d")
    ask = ("import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(2);"
           "s.sendto(b'hello', ('127.0.0.1', 18120)); print(s.recv(99).decode())")  # fmt: skip
    eventually(lambda: stack.sandbox.run(["python3", "-c", ask]).stdout == "HELLO\n")


def test_the_files_of_the_resolver_are_those_of_the_stack(stack: Stack) -> None:
    stack.write("""
services:
  a:
    image: pcompose/host
    command: sleep infinity
    hostname: box
    extra_hosts: ["peer:10.1.2.3"]
    dns_search: [example.org]
""")
    stack("-p", stack.name, "up", "-d")
    hosts = stack.execute("a", "cat", "/etc/hosts")
    assert "10.1.2.3\tpeer" in hosts.replace(" ", "\t")
    assert "box" in hosts
    resolver = stack.execute("a", "cat", "/etc/resolv.conf")
    assert "nameserver 127.0.0.11" in resolver
    assert "search example.org" in resolver
