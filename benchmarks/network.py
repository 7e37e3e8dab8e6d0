"""What the network of a stack carries, beside the bare kernel.  `python -m benchmarks.network`

TCP and UDP streams and round trips of one byte: container to container, and by a published port
from another machine (a namespace behind an interface of the host) and from the host itself.  Beside
them stands a host of its own (a namespace again) with nothing but veth pairs and a bridge, without
a single rule and so without connection tracking, and the same as ours by netavark (Podman's) where
it is installed.  All paths are measured in turn, many times for a moment; a figure is the best of
them: what else the machine does takes away from a path and never adds to it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import ground
from orchestrator.linux import netlink
from orchestrator.network import endpoint
from orchestrator.runtime.spec import Endpoint

PORT, PUBLISHED, NETAVARK_PUBLISHED = 5201, 5301, 5302
OUTER = "198.51.100.1"
KINDS = {"tcp": "Mbit/s", "udp": "Mbit/s", "rr": "per second"}
NETAVARK = ("netavark", "/usr/lib/podman/netavark")
COMPOSE = f"""
services:
  server:
    image: pcompose/host
    command: sleep infinity
    ports: ["{PUBLISHED}:{PORT}", "{PUBLISHED}:{PORT}/udp"]
  client: {{image: pcompose/host, command: sleep infinity}}
"""
Path_ = tuple[list[str], str, int]
"""(what runs a command at the client's end, the address and the port it goes to)."""


@contextmanager
def namespace(command: list[str]) -> Iterator[int]:
    """A command in a network namespace of its own; its pid."""
    with subprocess.Popen(["unshare", "--net", *command]) as held:
        # unshare(1) becomes the command, so its namespace is there once it is another one
        own = Path("/proc/self/ns/net").readlink()
        while Path(f"/proc/{held.pid}/ns/net").readlink() == own:
            pass
        try:
            yield held.pid
        finally:
            held.terminate()


def attached(pid: int, number: int, *, bridge: str = "raw0", subnet: str = "10.99.0") -> None:
    """The namespace of the process on a bridge."""
    endpoint.attach(pid, [Endpoint(
        network=bridge, key=bridge, names=(), bridge=bridge, interface="eth0", prefix=24,
        gateway=f"{subnet}.1", address=f"{subnet}.{number}", mac=f"02:42:0a:63:00:{number:02x}",
    )], container=f"{bridge}{number}".ljust(64, "0"), dns=False)  # fmt: skip


def bare(load: Path, held: ExitStack) -> dict[str, Path_]:
    """A host with two namespaces on a bridge and one outside: no rule, no pcompose."""
    host = held.enter_context(namespace(["sleep", "infinity"]))
    server = held.enter_context(namespace([str(load), "serve", str(PORT)]))
    client = held.enter_context(namespace(["sleep", "infinity"]))
    outside = held.enter_context(namespace(["sleep", "infinity"]))
    with endpoint.inside(host):
        bridge("raw0", "10.99.0.1")
        bridge("wan0", OUTER)
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")
        attached(server, 2)
        attached(client, 3)
        attached(outside, 2, bridge="wan0", subnet=OUTER.rpartition(".")[0])
    return {"bare, peer": (entering(client), "10.99.0.2", PORT),
            "bare, outside": (entering(outside), "10.99.0.2", PORT),
            "bare, host": (entering(host), "10.99.0.2", PORT)}  # fmt: skip


def bridge(name: str, address: str) -> None:
    with netlink.Netlink() as sock:
        sock.run([netlink.create_bridge(name)])
        index = netlink.get_link(sock, name).index
        sock.run([netlink.set_link(name, up=True), netlink.add_address(index, address, 24)])


@contextmanager
def running(command: list[str]) -> Iterator[None]:
    """A server, from when it listens on."""
    with subprocess.Popen(command) as held:
        time.sleep(0.5)
        try:
            yield
        finally:
            held.terminate()


def entering(pid: int) -> list[str]:
    return ["nsenter", "--target", str(pid), "--net", "--"]


def ours(place: Path, load: Path, outside: list[str], held: ExitStack) -> dict[str, Path_]:
    """By pcompose.  The programs are in the containers' networks and nothing else of theirs: a
    control group of its own is scheduled otherwise, and it is not what is measured."""
    rows = [json.loads(text) for text in
            ground.pcompose(place, "ps", "--format", "json").splitlines()]  # fmt: skip
    pids = {row["Service"]: int(row["Pid"]) for row in rows}
    names = ground.pcompose(place, "exec", "-T", "client", "getent", "hosts", "server").split()
    held.enter_context(running([*entering(pids["server"]), str(load), "serve", str(PORT)]))
    return {"pcompose, peer": (entering(pids["client"]), names[0], PORT),
            "pcompose, port from outside": (outside, OUTER, PUBLISHED),
            "pcompose, port from the host": ([], OUTER, PUBLISHED)}  # fmt: skip


def netavark(program: str, load: Path, outside: list[str], held: ExitStack) -> dict[str, Path_]:
    """By Podman's network program, set up as Podman does it."""
    pids = [held.enter_context(namespace([str(load), "serve", str(PORT)])),
            held.enter_context(namespace(["sleep", "infinity"]))]  # fmt: skip
    for number, pid in enumerate(pids, 2):
        config = netavark_config(number, NETAVARK_PUBLISHED if number == 2 else 0)
        subprocess.run([program, "setup", f"/proc/{pid}/ns/net"], input=json.dumps(config),
                       text=True, check=True, capture_output=True)  # fmt: skip
    return {"netavark, peer": (entering(pids[1]), "10.98.0.2", PORT),
            "netavark, port from outside": (outside, OUTER, NETAVARK_PUBLISHED),
            "netavark, port from the host": ([], OUTER, NETAVARK_PUBLISHED)}  # fmt: skip


def netavark_config(number: int, published: int) -> dict[str, object]:
    ports = [{"container_port": PORT, "host_ip": "", "host_port": published, "protocol": kind,
              "range": 1} for kind in ("tcp", "udp")] if published else []  # fmt: skip
    network = {
        "dns_enabled": False, "driver": "bridge", "id": "5" * 64, "internal": False,
        "ipv6_enabled": False, "name": "bench", "network_interface": "nav0",
        "subnets": [{"gateway": "10.98.0.1", "subnet": "10.98.0.0/24"}],
    }  # fmt: skip
    return {
        "container_id": f"{number:064x}", "container_name": f"c{number}", "port_mappings": ports,
        "networks": {"bench": {"interface_name": "eth0", "static_ips": [f"10.98.0.{number}"]}},
        "network_info": {"bench": network},
    }


def measured(paths: dict[str, Path_], load: Path, *, rounds: int, seconds: float,
             tell: Callable[[str], None]) -> dict[str, dict[str, float]]:  # fmt: skip
    """path -> kind -> the best."""
    found: dict[str, dict[str, list[float]]] = {name: {k: [] for k in KINDS} for name in paths}
    for number in range(rounds):
        for kind in KINDS:
            for name, (enter, host, port) in paths.items():
                command = [*enter, str(load), kind, host, str(port), str(seconds)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                found[name][kind].append(float(done.stdout))
        tell(f"round {number + 1} of {rounds}")
    return {name: {k: max(values) for k, values in kinds.items()}
            for name, kinds in found.items()}  # fmt: skip


def table(found: dict[str, dict[str, float]]) -> str:
    """Each figure, and its part of the bare one of the same kind of path."""
    lines = ["| path | " + " | ".join(f"{kind}, {unit}" for kind, unit in KINDS.items()) + " |",
             "|---|" + "---|" * len(KINDS)]  # fmt: skip
    for name, kinds in found.items():
        like = found[f"bare, {name.split()[-1]}"]
        cells = [f"{value:.0f} ({value / like[kind]:.0%})" for kind, value in kinds.items()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.network", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=0.04)
    options = parser.parse_args()
    ground.enter("benchmarks.network")
    bridge("wan0", OUTER)
    with ground.stack(COMPOSE, programs=["netload"]) as place, ExitStack() as held:
        load = place / "netload"
        pid = held.enter_context(namespace(["sleep", "infinity"]))
        attached(pid, 2, bridge="wan0", subnet=OUTER.rpartition(".")[0])
        outside = entering(pid)
        paths = {**bare(load, held), **ours(place, load, outside, held)}
        program = next(filter(None, map(shutil.which, NETAVARK)), None)
        if program:
            paths |= netavark(program, load, outside, held)
        print(table(measured(paths, load, rounds=options.rounds, seconds=options.seconds,
                             tell=lambda text: print(text, flush=True))))  # fmt: skip


if __name__ == "__main__":
    main()
