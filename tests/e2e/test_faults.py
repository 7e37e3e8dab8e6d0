"""Faults on the network of a stack: what services see of them, and that they end."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.sandbox import eventually

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e

SERVER = """
import socket, threading
def udp():
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind(("::", 7))
    while True:
        d, a = s.recvfrom(2000); s.sendto(d, a)
def tcp(c):
    while d := c.recv(65536): c.sendall(d)
threading.Thread(target=udp, daemon=True).start()
t = socket.create_server(("::", 7), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    threading.Thread(target=tcp, args=(t.accept()[0],), daemon=True).start()
"""
PING = """
import json, socket, sys, time
host, count, patience = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
family = socket.AF_INET6 if sys.argv[4:] else socket.AF_INET
where = socket.getaddrinfo(host, 7, family, socket.SOCK_DGRAM)[0][4]
s = socket.socket(family, socket.SOCK_DGRAM); s.connect(where); s.settimeout(patience)
begin, took, late = time.monotonic(), [], 0
for n in range(count): s.send(str(n).encode())
try:
    while len(took) < count:
        s.recv(99); took.append(time.monotonic() - begin)
except OSError: pass
print(json.dumps(took))
"""
BULK = """
import socket, sys, threading, time
size = int(sys.argv[2])
s = socket.create_connection((sys.argv[1], 7), 30)
begin, got = time.monotonic(), 0
threading.Thread(target=s.sendall, args=(b"x" * size,), daemon=True).start()
while got < size: got += len(s.recv(65536))
print(time.monotonic() - begin)
"""
BY_PORT = """
import socket, sys
def comes(host):
    try:
        with socket.create_connection((host, 18950), float(sys.argv[3])) as s:
            s.sendall(b"x"); return s.recv(9) == b"x"
    except OSError:
        return False
print([comes(host) for host in sys.argv[1:3]])
"""
IN_PYTHON = """
from orchestrator import api
faults = api.Project().faults
with faults.loss("web", percent=5) as fault:
    print(fault)
    print(len(faults.active()))
print(len(faults.active()))
"""
COMPOSE = """
services:
  web: &one
    image: pcompose/host
    command: [python3, /server.py]
    configs: [{source: server, target: /server.py}]
  db: {<<: *one, ports: ["18950:7"]}
  other: *one
networks: {default: {enable_ipv6: true}}
configs: {server: {file: server.py}}
"""


def echoes(stack: Stack, of: str, to: str, *more: str, count: int = 1, patience: float = 1,
           **options: object) -> list[float]:  # fmt: skip
    """Seconds after which each of `count` datagrams, sent at once, was back."""
    argv = ["python3", "-c", PING, to, str(count), str(patience), *more]
    found: list[float] = json.loads(stack.execute(of, *argv, **options))
    return found


@pytest.fixture
def running(stack: Stack) -> Stack:
    stack.write(SERVER, "server.py")
    stack.write(f"name: {stack.name}\n{COMPOSE}")
    stack("up", "-d")
    for service in ("web", "db", "other"):
        eventually(lambda: echoes(stack, "web", service, patience=0.2))  # noqa: B023
    return stack


def test_a_partition_is_between_those_it_names_until_it_is_healed(running: Stack) -> None:
    number = running("fault", "partition", "web", "db").stdout.strip()
    assert running("fault", "ls").stdout.splitlines()[1].split() == [
        number, "partition", "web", "db"]  # fmt: skip
    assert f"fault {number}: partition web db" in running("ps", "--verbose").stdout
    assert echoes(running, "web", "db", patience=0.5) == []
    assert echoes(running, "web", "db", "6", patience=0.5) == []
    assert echoes(running, "db", "web", patience=0.5) == []
    assert len(echoes(running, "web", "other")) == 1
    assert len(echoes(running, "other", "db", "6")) == 1
    # neither a supervisor's end nor a new container ends it
    os.kill(running.ls()["supervisor_pid"], signal.SIGKILL)
    running("up", "-d", "--force-recreate", "-t", "0", "db")
    eventually(lambda: echoes(running, "other", "db", patience=0.2))
    assert echoes(running, "web", "db", patience=0.5) == []
    assert running("fault", "heal", number).stdout.strip() == number
    eventually(lambda: echoes(running, "web", "db", patience=0.2))
    assert not {name[:2] for name in running.interfaces()} & {"pr", "px"}
    assert running("fault", "heal", number, ok=False).returncode == 1


def test_the_host_is_whoever_comes_by_a_published_port(running: Stack) -> None:
    def comes(patience: float) -> bool:
        """Whether the machine reaches db, by the kernel's way and by the proxy of the loopback."""
        done = running.sandbox.run(["python3", "-c", BY_PORT, *hosts, str(patience)])
        assert done.stdout in ("[True, True]\n", "[False, False]\n"), done
        return bool(done.stdout == "[True, True]\n")

    (network,) = json.loads(running("network", "inspect", f"{running.name}_default").stdout)
    hosts = ["127.0.0.1", network["IPAM"]["Config"][0]["Gateway"]]
    assert comes(10)
    running("fault", "partition", "db-host")
    assert not comes(0.5)
    assert len(echoes(running, "web", "db")) == len(echoes(running, "web", "db", "6")) == 1
    running("fault", "heal")
    assert eventually(lambda: comes(2))
    running("fault", "partition", "host")  # every service is cut off
    assert not comes(0.5)
    running("fault", "heal")
    running("fault", "loss", "db", "100%")
    assert not comes(0.5)
    running("fault", "heal")
    assert eventually(lambda: comes(2))


def test_latency_is_there_and_back(running: Stack) -> None:
    running("fault", "latency", "web-db", "150ms")
    assert echoes(running, "web", "db", patience=5)[0] >= 0.3
    assert echoes(running, "db", "web", "6", patience=5)[0] >= 0.3
    running("fault", "heal")
    eventually(lambda: echoes(running, "web", "db", patience=5)[0] < 0.3)


def test_a_rate_is_kept_and_loss_is_survived(running: Stack) -> None:
    running("fault", "rate", "web", "4mbit")
    took = float(running.execute("web", "python3", "-c", BULK, "db", "1000000"))
    assert took > 1.9  # 8 Mbit there and, meanwhile, back
    running("fault", "heal")
    running("fault", "loss", "web", "20%")
    back = len(echoes(running, "web", "db", count=200))
    assert 60 < back < 190  # 128 on average, and 6.8 is the standard deviation
    assert float(running.execute("web", "python3", "-c", BULK, "db", "20000")) > 0


def test_down_heals_and_what_makes_no_sense_is_refused(running: Stack) -> None:
    running("fault", "partition", "db")
    assert echoes(running, "web", "db", patience=0.5) == []
    for words, told in (
        (("loss", "web", "10"), "such as 10%"),
        (("loss", "web", "101%"), "out of range"),
        (("rate", "web", "fast"), "such as 1mbit"),
        (("latency", "nowhere", "1s"), "no such service: nowhere"),
        (("explode", "web"), "has no verb"),
    ):
        done = running("fault", *words, ok=False)
        assert done.returncode != 0
        assert told in done.stderr
    assert len(running("fault", "ls", "-q").stdout.split()) == 1
    done = running.sandbox.run(["python3", "-c", IN_PYTHON], cwd=running.directory)
    assert done.stdout == "loss web 5%\n2\n1\n", done.stderr
    running("stop", "-t", "0")
    run = running.sandbox.directory / "run/projects" / running.name
    eventually(lambda: not (run / "control.sock").exists())  # asking it would keep it there
    (number,) = running("fault", "ls", "-q").stdout.split()  # it waits for the next start
    assert running("fault", "heal").stdout.split() == [number]
    running("start")
    eventually(lambda: echoes(running, "web", "db", patience=0.2))
    running("fault", "partition", "db")
    running("down", "-t", "0")
    running("up", "-d")
    assert running("fault", "ls", "-q").stdout == ""
    eventually(lambda: echoes(running, "web", "db", patience=0.2))
