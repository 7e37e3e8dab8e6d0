"""Up and down, again and again: nothing accumulates, neither here nor in a running neighbour."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import leftovers
from tests.e2e.sandbox import Stack, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.sandbox import Sandbox

pytestmark = pytest.mark.e2e

CYCLES = int(os.environ.get("PCOMPOSE_TEST_CYCLES", "2"))
"""`make cycles` does 200: a leak of one thing per cycle is seen after one, one of memory later."""
MEMORY = 1 << 20
"""Bytes that the neighbour's memory may differ by; over 200 cycles that is 5 kB for each."""
COUNTS = """
import json, socket, struct
from orchestrator.linux import netlink
def dumped(kind):
    m = netlink.Message(10 << 8 | kind, struct.pack(">BBH", 0, 0, 0))
    with netlink.Netlink(netlink.NETLINK_NETFILTER) as s: return len(s.dump(m))
with netlink.Netlink() as s:
    found = {"links": len(netlink.links(s)), "routes": len(netlink.routes(s)),
             "routes6": len(netlink.routes(s, family=socket.AF_INET6))}
found.update(chains=dumped(4), rules=dumped(7))
print(json.dumps(found))
"""


@pytest.fixture
def neighbour(sandbox: Sandbox, stack: Stack) -> Iterator[Stack]:
    """A project that runs all the while, on a network of each kind and with a port."""
    directory = sandbox.directory / f"{stack.name}n"
    directory.mkdir()
    made = Stack(sandbox, directory, f"{stack.name}n")
    made.write("""
services:
  a: {image: pcompose/host, command: sleep infinity, networks: [one, two], ports: ["18590:80"]}
  b: {image: pcompose/host, command: sleep infinity, networks: [one, shut], volumes: [kept:/v]}
networks: {one: {enable_ipv6: true}, two: {}, shut: {internal: true}}
volumes: {kept: {}}
""")
    made("-p", made.name, "up", "-d")
    yield made
    made("-p", made.name, "down", "-v", "-t", "0", ok=False)


def ten_services(name: str) -> str:
    """Ten services on five networks, two each, with volumes, ports and a secret."""
    services = "".join(
        f"  s{n}:\n"
        f"    image: pcompose/host\n"
        f"    command: sleep infinity\n"
        f"    volumes: [/anonymous, 'shared:/shared']\n"
        f"    networks: [n{n % 5}, n{(n + 1) % 5}]\n"
        f"    ports: ['{18600 + n}:80', '{18600 + n}:80/udp']\n"
        f"    secrets: [word]\n"
        for n in range(10)
    )
    networks = "".join(f"  n{n}: {{enable_ipv6: true}}\n" for n in range(5))
    return (f"name: {name}\nservices:\n{services}networks:\n{networks}"
            "volumes: {shared: {}}\nsecrets: {word: {environment: HOME}}\n")  # fmt: skip


def counts(neighbour: Stack) -> dict[str, Any]:
    """All that a cycle may leave behind, by kind."""
    sandbox = neighbour.sandbox
    found: dict[str, Any] = json.loads(sandbox.run(["python3", "-c", COUNTS]).stdout)
    base, data = str(sandbox.directory), sandbox.directory / "data"
    assert sandbox.holder is not None
    found["mounts"] = sorted(leftovers.mounts(str(sandbox.holder.pid)))
    found["cgroups"] = sorted(c for c in leftovers.cgroups()
                              if f"/pcompose-{neighbour.name[:-1]}" in c)  # fmt: skip
    found["processes"] = sorted(p for p in leftovers.processes() if base in p)
    info = neighbour.ls()
    keepers = [info["supervisor_pid"], info["keeper_pid"]]
    found["open files"] = [len(os.listdir(f"/proc/{pid}/fd")) for pid in keepers]
    found["namespaces"] = sorted(namespaces(base, keepers))
    for kind in ("networks", "volumes", "projects"):
        found[kind] = sorted(p.name for p in Path(data, kind).iterdir())
    records = (json.loads(p.read_text()) for p in Path(data, "networks").glob("*.json"))
    found["addresses"] = {r["name"]: (r["leases"], r["leases6"]) for r in records}
    return found


def namespaces(base: str, pids: list[int]) -> set[str]:
    """Those of the processes that have to do with the sandbox: its own, and their containers'."""
    found = set()
    for pid in {*pids, *(p for first in pids for p in offspring(first))}:
        directory = Path(f"/proc/{pid}/ns")
        found |= {f"{name}={os.readlink(directory / name)}" for name in os.listdir(directory)}
    held = (link for pid in pids for link in _links(pid) if link.startswith(("net:", "mnt:")))
    return found | set(held)


def _links(pid: int) -> Iterator[str]:
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            yield os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            continue


def offspring(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [p for child in map(int, text.split()) for p in (child, *offspring(child))]


def memory(neighbour: Stack) -> int:
    """Bytes of memory of its own that its supervisor and keeper have."""
    info, total = neighbour.ls(), 0
    for who in ("supervisor_pid", "keeper_pid"):
        status = Path(f"/proc/{info[who]}/status").read_text()
        total += int(next(w for w in status.splitlines() if w.startswith("RssAnon")).split()[1])
    return total << 10


def settled(neighbour: Stack) -> dict[str, Any]:
    """The counts once they stay: a connection of the last command may still be open."""
    found = [counts(neighbour)]

    def stays() -> bool:
        found.append(counts(neighbour))
        return found[-1] == found[-2]

    eventually(stays)
    return found[-1]


def test_cycles_of_up_and_down_leave_everything_as_it_was(stack: Stack, neighbour: Stack) -> None:
    stack.write(ten_services(stack.name))

    def cycle() -> None:
        stack("up", "-d")
        stack("down", "-v", "-t", "0")
        # the last supervisor of the project ends a moment after the command
        eventually(lambda: not (stack.sandbox.directory / "run/projects" / stack.name).exists())

    first, before = settled(neighbour), memory(neighbour)
    for _ in range(CYCLES):
        cycle()
    again = settled(neighbour)
    assert {kind for kind in first if first[kind] != again[kind]} == set()
    assert memory(neighbour) < before + MEMORY
