"""`make bench`: one table and one JSON file; ratios within one run, since machines differ.

Everything runs in a network and mount namespace of its own, state below a temporary directory.
Each figure is the median of several runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import load, single
from benchmarks.peers import Peer, compose_text, installed

HERE = Path(__file__).resolve().parent
COUNTS = (1, 10, 40, 80)
LOOPBACK_UP = (
    "import fcntl, socket, struct; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
    "fcntl.ioctl(s, 0x8914, struct.pack('16sh14x', b'lo', 1 | 64))"
)


def timed(command: list[str], *, cwd: Path) -> float:
    """Seconds of one command; ends the benchmark if it fails."""
    begun = time.perf_counter()
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return seconds


def floor(count: int, *, parallel: int, directory: Path) -> float:
    """Seconds the kernel needs for `count` containers with the least code around it."""
    with tempfile.TemporaryDirectory(dir=directory) as place:
        program = [sys.executable, "-SI", str(HERE / "floor.py"), str(count), str(parallel), place]
        return float(subprocess.run(program, check=True, capture_output=True, text=True,
                                    timeout=120).stdout)  # fmt: skip


def resident(pid: int) -> int:
    """Resident bytes of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def memory_of_project() -> dict[str, int]:
    """Resident bytes of supervisor and keeper of the one project that is up."""
    done = subprocess.run(["pcompose", "ls", "--format", "json"], check=True, capture_output=True)
    (row,) = json.loads(done.stdout)
    return {name: resident(row[f"{name}_pid"]) for name in ("supervisor", "keeper")}


def measure(peer: Peer, count: int, *, repeat: int, directory: Path) -> dict[str, Any]:
    """Medians in seconds of the whole life of a stack of `count` services."""
    place = directory / f"{peer.name.replace(' ', '-')}-{count}"
    place.mkdir(exist_ok=True)
    (place / "compose.yaml").write_text(compose_text(count, peer.image))
    compose = [*peer.command]
    steps: dict[str, list[str]] = {
        "up -d": [*compose, "up", "-d"],
        "up again": [*compose, "up", "-d"],
        "exec true": [*compose, "exec", "-T", "s0", "true"],
        "run --rm true": [*compose, "run", "--rm", "-T", "s0", "true"],
        "down": [*compose, "down", "-t", "1"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    memory: dict[str, int] = {}
    for _ in range(repeat):
        for name, command in steps.items():
            if name == "down" and peer.name == "pcompose":
                memory = memory_of_project()
            seconds[name].append(timed(command, cwd=place))
    return {**{name: statistics.median(found) for name, found in seconds.items()}, **memory}


def collect(counts: tuple[int, ...], *, repeat: int, directory: Path) -> dict[str, Any]:
    """Every figure, by peer and number of services."""
    results: dict[str, Any] = {"floor": {}, "peers": {}}
    peers = installed()
    for count in counts:
        parallel = [floor(count, parallel=30, directory=directory) for _ in range(repeat)]
        results["floor"][count] = statistics.median(parallel)
        for peer in peers:
            figures = measure(peer, count, repeat=repeat, directory=directory)
            results["peers"].setdefault(peer.name, {})[count] = figures
    results["single"] = single.figures(3 * repeat)
    results["load"] = load.figures(repeat)
    return results


def table(results: dict[str, Any]) -> str:
    """The figures for people: milliseconds, and multiples of the floor and of pcompose."""
    lines = [f"{'':16}{'services':>9}{'up -d':>10}{'x floor':>9}{'x pcompose':>11}{'again':>9}"
             f"{'down':>9}{'exec':>8}{'run':>8}{'MiB':>7}"]  # fmt: skip
    ours = results["peers"]["pcompose"]
    for name, by_count in results["peers"].items():
        for count, f in by_count.items():
            up, least = f["up -d"], results["floor"][count]
            mib = (f.get("supervisor", 0) + f.get("keeper", 0)) / 2**20
            lines.append(
                f"{name:16}{count:9}{up * 1e3:10.0f}{up / least:9.1f}"
                f"{up / ours[count]['up -d']:11.1f}{f['up again'] * 1e3:9.0f}{f['down'] * 1e3:9.0f}"
                f"{f['exec true'] * 1e3:8.0f}{f['run --rm true'] * 1e3:8.0f}{mib:7.1f}"
            )
    lines += [f"floor, {count} at once: {s * 1e3:.0f} ms" for count, s in results["floor"].items()]
    return "\n".join([*lines, "", single.table(results["single"]), "", load.table(results["load"])])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--counts", default=",".join(map(str, COUNTS)))
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", default="benchmarks/results.json")
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("benchmarks need root: they make namespaces")
    if "PCOMPOSE_BENCHMARK" not in os.environ:
        environment = {**os.environ, "PCOMPOSE_BENCHMARK": "1",
                       "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}  # fmt: skip
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program has bytecode
        inside = ["unshare", "--net", "--mount", "--", sys.executable, "-m", "benchmarks.run"]
        raise SystemExit(subprocess.run([*inside, *sys.argv[1:]], env=environment,
                                        check=False).returncode)  # fmt: skip
    subprocess.run([sys.executable, "-c", LOOPBACK_UP], check=True)
    counts = tuple(int(word) for word in options.counts.split(","))
    with tempfile.TemporaryDirectory() as name:
        os.environ |= {"PCOMPOSE_DATA": f"{name}/data", "PCOMPOSE_RUN": f"{name}/run"}
        results = collect(counts, repeat=options.repeat, directory=Path(name))
    Path(options.json).write_text(json.dumps(results, indent=1))
    print(table(results))


if __name__ == "__main__":
    main()
