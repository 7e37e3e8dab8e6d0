"""Twenty containers ask for each other's names, all at once and at a fixed rate: what is lost, and
how long an answer takes.  `python -m benchmarks.dns`

The same containers ask dnsmasq and aardvark-dns (Podman's) on the bridge's address where these are
installed.  One run after the other, so machine and load are nearly the same.
"""

from __future__ import annotations

import argparse
import array
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import ground

CONTAINERS = 20
LOST = 0xFFFFFFFF
AARDVARK = ("aardvark-dns", "/usr/lib/podman/aardvark-dns")


def compose() -> str:
    services = "".join(f"  s{n}: {{<<: *one}}\n" for n in range(CONTAINERS))
    return f"""
x-one: &one
  image: pcompose/host
  command: sleep infinity
  volumes: [".:/bench"]
services:
{services}"""


def ask(place: Path, server: str, *, rate: int, seconds: int) -> list[int]:
    """Microseconds of each query of all containers, sorted; LOST for those without an answer."""
    running = [
        subprocess.Popen(
            ["pcompose", "exec", "-T", f"s{n}", "/bench/dnsload", server,
             f"s{(n + 1) % CONTAINERS}", str(rate // CONTAINERS), str(seconds), f"/bench/out{n}"],
            cwd=place,
        ) for n in range(CONTAINERS)
    ]  # fmt: skip
    took = array.array("I")
    for n, each in enumerate(running):
        if each.wait() != 0:
            raise SystemExit("dnsload failed")
        took.frombytes(place.joinpath(f"out{n}").read_bytes())
    return sorted(took)


@contextmanager
def dnsmasq(place: Path, program: str, gateway: str, hosts: dict[str, str]) -> Iterator[None]:
    names = place / "hosts"
    names.write_text("".join(f"{address} {name}\n" for name, address in hosts.items()))
    with serving([program, "--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=root",
                  f"--listen-address={gateway}", "--bind-interfaces", "--conf-file=/dev/null",
                  "--pid-file", f"--addn-hosts={names}"]):  # fmt: skip
        yield


@contextmanager
def aardvark(place: Path, program: str, gateway: str, hosts: dict[str, str]) -> Iterator[None]:
    directory = place / "aardvark"
    directory.mkdir()
    lines = [f"{n:064x} {address}  {name}\n" for n, (name, address) in enumerate(hosts.items())]
    directory.joinpath("bench").write_text(f"{gateway}\n{''.join(lines)}")
    with serving([program, "--config", str(directory), "--port", "53", "run"]):
        yield
        pid = directory / "aardvark.pid"
        if pid.exists():  # it has put itself into the background
            subprocess.run(["kill", pid.read_text().strip()], check=False)


@contextmanager
def serving(command: list[str]) -> Iterator[None]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        time.sleep(1)
        try:
            yield
        finally:
            server.terminate()


def found(place: Path) -> tuple[str, dict[str, str]]:
    """The bridge's address, and the address of each service."""
    import json

    (name,) = ground.pcompose(place, "network", "ls", "-q").split()
    (network,) = json.loads(ground.pcompose(place, "network", "inspect", name))
    hosts = {m["Name"].split("-")[-2]: m["IPv4Address"].partition("/")[0]
             for m in network["Containers"].values()}  # fmt: skip
    return network["IPAM"]["Config"][0]["Gateway"], hosts


def supervisor() -> int:
    """The pid of the project's supervisor, whose resolver is asked."""
    from glob import glob

    (lock,) = glob(f"{os.environ['PCOMPOSE_RUN']}/projects/*/supervisor.lock")
    return int(Path(lock).read_text().split()[0])


def cpu_time(pid: int) -> float:
    """Seconds that all of a process has run, system calls included."""
    fields = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(fields[0]) / 1e9


def line(name: str, took: list[int]) -> str:
    answered = [t for t in took if t != LOST]
    lost = len(took) - len(answered)
    if not answered:
        return f"| {name} | {len(took)} | {lost} | | |"
    middle, late = (answered[int(len(answered) * part)] for part in (0.5, 0.99))
    return f"| {name} | {len(took)} | {lost} | {middle} | {late} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dns", description=__doc__)
    parser.add_argument("--rate", type=int, default=20000, help="queries per second, of all")
    parser.add_argument("--seconds", type=int, default=5)
    options = parser.parse_args()
    ground.enter("benchmarks.dns")
    print("| resolver | queries | lost | median us | p99 us |\n|---|---|---|---|---|")
    with ground.stack(compose(), programs=["dnsload"]) as place:
        gateway, hosts = found(place)
        before = cpu_time(supervisor())
        took = ask(place, "127.0.0.11", rate=options.rate, seconds=options.seconds)
        spent = (cpu_time(supervisor()) - before) / sum(t != LOST for t in took)
        print(line("pcompose", took), flush=True)
        programs = {name: shutil.which(name) for name in (*AARDVARK, "dnsmasq")}
        peers = (("dnsmasq", dnsmasq, programs["dnsmasq"]),
                 ("aardvark-dns", aardvark, next(filter(None, map(programs.get, AARDVARK)), None)))
        for name, peer, program in peers:
            if program:
                with peer(place, program, gateway, hosts):
                    took = ask(place, gateway, rate=options.rate, seconds=options.seconds)
                print(line(name, took), flush=True)
    print(f"\nOf pcompose's supervisor an answer takes {spent * 1e6:.1f} us of CPU time.")


if __name__ == "__main__":
    main()
