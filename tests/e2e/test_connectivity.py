"""Who reaches whom: every pair of places, IPv4 and IPv6, TCP and UDP, before and after everything
was made again."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from tests.e2e.sandbox import Stack, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.sandbox import Sandbox

pytestmark = pytest.mark.e2e

SERVER = """
import socket, threading
def tcp(s):
    while True:
        c, a = s.accept()
        c.sendall(a[0].removeprefix("::ffff:").encode()); c.close()
def udp(s):
    while True:
        d, a = s.recvfrom(99)
        s.sendto(a[0].removeprefix("::ffff:").encode(), a)
t = socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True)
u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
u.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
u.bind(("::", 80))
threading.Thread(target=tcp, args=(t,)).start()
udp(u)
"""
PROBE = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def seen(wish):
    kind, host, port = wish
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as s:
        s.settimeout(2)
        try:
            s.connect((host, port))
            if kind == "udp": s.send(b"?")
            return s.recv(99).decode()
        except OSError:
            return ""
wishes = json.loads(sys.argv[1])
with ThreadPoolExecutor(len(wishes)) as pool:
    print(json.dumps(list(pool.map(seen, wishes))))
"""
OUTER, OUTER6 = "198.51.100.1", "2001:db8:1::1"
WAN = """
import sys
from orchestrator.linux import netlink
with netlink.Netlink() as s:
    s.run([netlink.create_bridge("wan0"), netlink.set_link("wan0", up=True)])
    i = netlink.get_link(s, "wan0").index
    s.run([netlink.add_address(i, sys.argv[1], 24), netlink.add_address(i, sys.argv[2], 64)])
"""

Place = tuple[str, int]
Wish = tuple[str, str, int]


def compose(name: str, port: int, body: str = "") -> str:
    return f"""
services:
  a: &served
    image: pcompose/host
    command: [python3, /server.py]
    configs: [{{source: server, target: /server.py}}]
    networks: [one]
    ports: ["{port}:80", "{port}:80/udp"]
  b: {{<<: *served, ports: [], networks: [one]}}
  c: {{<<: *served, ports: [], networks: [two]}}
  d: {{<<: *served, ports: [], networks: [one, two]}}
  e: {{<<: *served, ports: [], networks: [shut]}}
networks:
  one: {{enable_ipv6: true}}
  two: {{enable_ipv6: true}}
  shut: {{internal: true, enable_ipv6: true}}
configs: {{server: {{file: server.py}}}}
{body}"""


@pytest.fixture
def pair(sandbox: Sandbox, stack: Stack) -> Iterator[tuple[Stack, Stack]]:
    """Two projects of the same kind on a machine with an address of either family."""
    done = sandbox.run(["python3", "-c", WAN, OUTER, OUTER6])
    assert done.returncode == 0, done.stderr
    directory = sandbox.directory / f"{stack.name}o"
    directory.mkdir()
    other = Stack(sandbox, directory, f"{stack.name}o")
    for each, port in ((stack, 18300), (other, 18400)):
        each.write(SERVER, "server.py")
        each.write(compose(each.name, port))
    yield stack, other
    other("-p", other.name, "down", "-v", "-t", "0", ok=False)
    sandbox.run(["python3", "-c", "from orchestrator.linux import netlink as n\n"
                 "with n.Netlink() as s: s.run([n.delete_link('wan0')])"])  # fmt: skip


def addresses(stack: Stack) -> dict[str, list[str]]:
    """service -> its addresses, without prefix, of all its networks."""
    found: dict[str, list[str]] = {}
    names = stack("network", "ls", "-q").stdout.split()
    for network in json.loads(stack("network", "inspect", *names).stdout):
        for member in network["Containers"].values():
            if member["Name"].startswith(f"{stack.name}-"):
                service = member["Name"].split("-")[-2]
                both = (member["IPv4Address"], member["IPv6Address"])
                found.setdefault(service, []).extend(a.partition("/")[0] for a in both if a)
    return found


def probe(stack: Stack, service: str | None, wishes: list[Wish]) -> list[str]:
    """As whom each server saw us; empty: it was not reached."""
    argv = ["python3", "-c", PROBE, json.dumps(wishes)]
    outside = service is None
    text = str(stack.sandbox.run(argv).stdout) if outside else stack.execute(str(service), *argv)
    found: list[str] = json.loads(text)
    return found


def reached(stack: Stack, service: str | None, places: list[Place]) -> set[Place]:
    """Which of the places answer by TCP and by UDP; one that answers by one only fails."""
    found = probe(stack, service, [(k, *place) for place in places for k in ("tcp", "udp")])
    both = {place: found[2 * n : 2 * n + 2] for n, place in enumerate(places)}
    assert all(bool(tcp) == bool(udp) for tcp, udp in both.values()), (service, both)
    return {place for place, (tcp, _) in both.items() if tcp}


def block(address: str) -> str:
    """The /24 or /64 of an address."""
    size = 64 if ":" in address else 24
    return str(ip_network(f"{address}/{size}", strict=False))


PEERS = {"a": "abd", "b": "abd", "c": "cd", "d": "abcd", "e": "e"}


def check(mine: Stack, other: Stack) -> None:
    own, others = addresses(mine), addresses(other)
    foreign = [address for list_ in others.values() for address in list_]
    containers = [(a, 80) for a in [a for list_ in own.values() for a in list_] + foreign]
    published = [(host, port) for host in (OUTER, OUTER6) for port in (18300, 18400)]
    loopback = [("127.0.0.1", 18300)]
    with ThreadPoolExecutor(6) as pool:
        tasks = {s: pool.submit(reached, mine, s, containers + published) for s in PEERS}
        host = pool.submit(reached, mine, None, published + loopback)
    for service, task in tasks.items():
        found = {address for address, port in task.result() if port == 80}
        allowed = {a for peer in PEERS[service] for a in own[peer]}
        near = {a for a in allowed if block(a) in {block(b) for b in own[service]}}
        # an address of d's other network is d's all the same, and may answer or not
        assert near <= found <= allowed, (service, near - found, found - allowed)
        ports = {place for place in task.result() if place[1] != 80}
        assert ports == (set() if service == "e" else set(published)), service
    assert host.result() == {*published, *loopback}
    # the kernel's way: the host is seen as itself
    seen = probe(mine, None, [("tcp", OUTER, 18300), ("udp", OUTER6, 18300)])
    assert seen == [OUTER, OUTER6]


def serves(stack: Stack) -> None:
    """Wait until every server listens."""
    for service in PEERS:
        eventually(lambda: probe(stack, service, [("tcp", "127.0.0.1", 80)])[0])  # noqa: B023


def test_the_matrix_before_and_after_everything_is_made_again(pair: tuple[Stack, Stack]) -> None:
    mine, other = pair
    for each in pair:
        each("-p", each.name, "up", "-d")
    serves(mine)
    serves(other)
    check(mine, other)
    before = addresses(mine)
    mine("-p", mine.name, "up", "-d", "--force-recreate", "-t", "0")
    serves(mine)
    check(mine, other)
    assert addresses(mine) == before


def test_ports_as_they_are_another_or_none(stack: Stack) -> None:
    stack.write("services:\n  a: {image: pcompose/host, command: sleep infinity,"
                " ports: ['127.0.0.1:18501:80']}\n")  # fmt: skip
    holder = stack.sandbox.inside([
        "python3", "-c", "import socket, sys; s = socket.create_server(('127.0.0.1', 18501));"
        "print('ready', flush=True); sys.stdin.read()"])  # fmt: skip
    with subprocess.Popen(holder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as held:
        assert held.stdout is not None
        held.stdout.readline()
        told = stack("-p", stack.name, "up", "-d", ok=False).stderr
        assert "(compose.yaml:2)" in told
        assert "the port is held by pid" in told
        assert stack.remains() == {}
        stack("-p", stack.name, "up", "-d", "--ports", "auto")
        published = stack("-p", stack.name, "port", "a", "80").stdout.strip()
        assert published.startswith("127.0.0.1:")
        assert published != "127.0.0.1:18501"
        stack("-p", stack.name, "up", "-d", "--ports", "none")
        assert stack.ps()[f"{stack.name}-a-1"]["Publishers"] == []
        held.communicate()
    stack("-p", stack.name, "up", "-d")
    assert stack("-p", stack.name, "port", "a", "80").stdout.strip() == "127.0.0.1:18501"
