"""Published ports beside the packet filters of others, as Docker, ufw and firewalld set them up."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.sandbox import eventually

if TYPE_CHECKING:
    from tests.e2e.sandbox import Sandbox, Stack

pytestmark = pytest.mark.e2e

SERVER = """
import socket
s = socket.create_server(("", 80))
while True:
    c, a = s.accept(); c.sendall(a[0].encode()); c.close()
"""
OUTSIDE = """
import json, socket, sys
from orchestrator.linux import netlink
from orchestrator.network import endpoint
from orchestrator.runtime.spec import Endpoint
from tests.network.namespaces import Guest
with netlink.Netlink() as s:
    made = netlink.create_bridge("wan0"); made.accept = (17,)
    s.run([made])
    i = netlink.get_link(s, "wan0").index
    s.run([netlink.set_link("wan0", up=True),
           netlink.add_address(i, "198.51.100.1", 24, accept=(17,))])
def seen():
    try:
        with socket.create_connection(("198.51.100.1", int(sys.argv[1])), 2) as s:
            return s.recv(99).decode()
    except OSError:
        return ""
with Guest() as guest:
    endpoint.attach(guest.pid, [Endpoint(network="wan", key="wan", names=(), bridge="wan0",
        interface="eth0", address="198.51.100.2", prefix=24, mac="02:00:00:00:00:02",
        gateway="198.51.100.1")], container="outside".ljust(64, "0"), dns=False)
    print(json.dumps(guest.run(seen)))
"""
MEET = """
import socket
try:
    socket.create_connection(("web", 80), 1.5).close(); print(True)
except ConnectionRefusedError:
    print(True)  # it does not listen yet, but it has been reached
except OSError:
    print(False)
"""
FIREWALL = """
import struct, sys
from orchestrator.linux import netlink
NEWTABLE, NEWCHAIN, GETCHAIN = 10 << 8, 10 << 8 | 3, 10 << 8 | 4
def number(kind, value): return netlink.attribute(kind, struct.pack(">I", value))
head = struct.pack(">BBH", 2, 0, 0) + netlink.text(1, "filter")
hook = netlink.nested(4, number(1, 2), number(2, 0))
forward = head + netlink.text(3, "FORWARD") + hook + number(5, 0) + netlink.text(7, "filter")
user = head + netlink.text(3, "DOCKER-USER")
made = [netlink.Message(kind, body, flags=netlink.NLM_F_CREATE) for kind, body in (
    (NEWTABLE, struct.pack(">BBH", 2, 0, 0) + netlink.text(1, "filter")),
    (NEWCHAIN, forward), (NEWCHAIN, user))]
edge = struct.pack(">BBH", 0, 0, 10)
with netlink.Netlink(netlink.NETLINK_NETFILTER) as s:
    if sys.argv[1] == "make":
        begin, end = (netlink.Message(kind, edge).encode(0) for kind in (0x10, 0x11))
        s.batch(begin, made, end)
    found = s.dump(netlink.Message(GETCHAIN, struct.pack(">BBH", 2, 0, 0)))
    names = [netlink.attributes(a[4:])[3].rstrip(bytes(1)).decode() for a in found]
    print(sorted(names))
"""
LET_IN = """
import struct, sys
from orchestrator.linux import netlink
from orchestrator.linux.netlink import attribute, nested, text
def number(kind, value): return attribute(kind, struct.pack(">I", value))
def expression(name, *attributes): return nested(1, text(1, name), nested(2, *attributes))
bridge = nested(3, attribute(1, sys.argv[1].encode().ljust(16, bytes(1))))
rule = nested(4, expression("meta", number(2, 6), number(1, 1)),  # iifname BRIDGE accept
              expression("cmp", number(1, 1), number(2, 0), bridge),
              expression("immediate", number(1, 0), nested(2, nested(2, number(1, 1)))))
body = struct.pack(">BBH", 2, 0, 0) + text(1, "filter") + text(2, "FORWARD") + rule
begin, end = (netlink.Message(kind, struct.pack(">BBH", 0, 0, 10)).encode(0)
              for kind in (0x10, 0x11))
with netlink.Netlink(netlink.NETLINK_NETFILTER) as s:
    s.batch(begin, [netlink.Message(10 << 8 | 6, body, flags=netlink.NLM_F_CREATE)], end)
"""


def run(sandbox: Sandbox, script: str, argument: str) -> str:
    root = str(Path(__file__).parents[2])
    environment = {**sandbox.environment, "PYTHONPATH": root}
    done = sandbox.run(["python3", "-c", script, argument], env=environment)
    assert done.returncode == 0, done.stderr
    return str(done.stdout).strip()


def meets(stack: Stack) -> bool:
    """Whether peer reaches web on their network."""
    return stack.execute("peer", "python3", "-c", MEET) == "True\n"


def test_ports_lead_in_past_a_filter_that_drops_what_is_forwarded(
    sandbox: Sandbox, stack: Stack
) -> None:
    stack.write(SERVER, "server.py")
    stack.write("""
services:
  web:
    image: pcompose/host
    command: [python3, /server.py]
    configs: [{source: server, target: /server.py}]
    ports: ["18980:80"]
  peer: {image: pcompose/host, command: sleep infinity}
configs: {server: {file: server.py}}
""")
    stack("-p", stack.name, "up", "-d")
    seen = eventually(lambda: json.loads(run(sandbox, OUTSIDE, "18980")))
    assert seen == "198.51.100.2"  # the kernel's way: it is the client's own address
    assert run(sandbox, FIREWALL, "make") == "['DOCKER-USER', 'FORWARD']"
    stack("-p", stack.name, "up", "-d", "--force-recreate", "-t", "0")
    seen = eventually(lambda: json.loads(run(sandbox, OUTSIDE, "18980")))
    assert seen.endswith(".1")  # a proxy's: that of the bridge
    assert "table filter drops what is forwarded" in stack.log()
    stack("-p", stack.name, "down", "-t", "0")
    told = stack("-p", stack.name, "up", "-d").stderr
    filtered = "net/bridge/bridge-nf-call-iptables"
    are_filtered = sandbox.run(["cat", f"/proc/sys/{filtered}"]).stdout == "1\n"
    lost = "the outside, nor each other" if are_filtered else "the outside"
    assert f"may not reach {lost}" in told
    assert "table filter of this machine drops" in told
    if are_filtered:
        assert not meets(stack)
    (bridge,) = re.findall(r"-i (\S+) -j ACCEPT", told)
    run(sandbox, LET_IN, bridge)  # as it was advised
    assert eventually(lambda: meets(stack))
    stack("-p", stack.name, "down", "-t", "0")
    assert run(sandbox, FIREWALL, "look") == "['DOCKER-USER', 'FORWARD']"
    sandbox.run(["python3", "-c", "from orchestrator.linux import netlink as n\n"
                 "with n.Netlink() as s: s.run([n.delete_link('wan0')])"])  # fmt: skip
