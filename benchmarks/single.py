"""One container of true(1), from nothing to its end: the steps in C (floor.c), by a running
keeper, by `pcompose-oci run`, and by what else is installed: runc, crun, unshare(1)."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.peers import oci_runtimes
from orchestrator.linux import caps
from orchestrator.linux.cgroupfs import Hierarchy
from orchestrator.runtime.keeper_client import connect_keeper
from orchestrator.runtime.launch import launch_request
from orchestrator.runtime.spec import ContainerSpec, Rootfs

HERE = Path(__file__).resolve().parent
UNSHARE = ("unshare", "--pid", "--mount", "--uts", "--ipc", "--net", "--fork", "--mount-proc",
           "/usr/bin/true")  # fmt: skip


def figures(repeat: int) -> dict[str, float]:
    """Name -> median milliseconds; each round measures all of them, so that a noisy moment of the
    machine meets all alike."""
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        program = compiled(directory)
        keeper = Keeper(directory / "keeper")
        runtimes = {runtime: place for runtime in ("pcompose-oci", *oci_runtimes())
                    if works(runtime, place := bundle(runtime, directory))}
        try:
            for n in range(repeat):
                if program:
                    found.setdefault("the steps in C", []).append(in_c(program, directory, n))
                found.setdefault("keeper launch", []).append(keeper.launch(n))
                for runtime, place in runtimes.items():
                    command = [runtime, "run", f"bench-{os.getpid()}-{n}"]
                    found.setdefault(f"{runtime} run", []).append(timed(command, place))
                if shutil.which("unshare"):
                    found.setdefault("unshare(1)", []).append(timed(list(UNSHARE), directory))
        finally:
            keeper.close()
    return {name: statistics.median(each) for name, each in found.items()}


def compiled(directory: Path) -> Path | None:
    """floor.c as a program; None without a compiler."""
    if shutil.which("cc") is None:
        return None
    program = directory / "floor"
    subprocess.run(["cc", "-O2", "-o", str(program), str(HERE / "floor.c")], check=True)
    return program


def in_c(program: Path, directory: Path, number: int) -> float:
    """Milliseconds of one start by floor.c, without that of the program itself."""
    place = directory / f"floor-{number}"
    make_links(place / "lower")
    (place / "lower/etc").mkdir()
    group = Hierarchy.detect().unified or "-"
    done = subprocess.run([str(program), str(place), group, "1"], check=True, text=True,
                          capture_output=True)
    return float(done.stdout)


def make_links(root: Path) -> None:
    """A root file system that is nothing but the host's /usr."""
    (root / "usr").mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")


def timed(command: list[str], place: Path) -> float:
    begun = time.perf_counter()
    subprocess.run(command, cwd=place, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return (time.perf_counter() - begun) * 1e3


def works(runtime: str, place: Path) -> bool:
    """Whether it can run the bundle here at all (crun does not like every hybrid hierarchy)."""
    done = subprocess.run([runtime, "run", f"bench-{os.getpid()}-try"], cwd=place, text=True,
                          capture_output=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        print(f"{runtime} is left out: {done.stderr.strip()}")
    return done.returncode == 0


def bundle(runtime: str, directory: Path) -> Path:
    """A bundle from the runtime's own template, with the host's /usr."""
    place = directory / f"bundle-{runtime}"
    make_links(place / "rootfs")
    subprocess.run([runtime, "spec"], cwd=place, check=True, capture_output=True)
    config: dict[str, Any] = json.loads((place / "config.json").read_text())
    config["process"] |= {"args": ["/usr/bin/true"], "terminal": False}
    config["mounts"].append({"destination": "/usr", "type": "bind", "source": "/usr",
                             "options": ["rbind", "ro"]})  # fmt: skip
    (place / "config.json").write_text(json.dumps(config))
    return place


class Keeper:
    """A keeper that runs, and launches by it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.runtime = tempfile.TemporaryDirectory(dir="/run")  # as it is where it is not said
        make_links(directory / "lower")
        (directory / "lower/etc").mkdir()
        self.hierarchy = Hierarchy.detect()
        self.channel = connect_keeper(
            f"{directory}/run/keeper.sock", f"{directory}/run/keeper.lock",
            supervisor_argv=["/bin/false"], log_path=f"{directory}/keeper.log")

    def launch(self, number: int) -> float:
        """Milliseconds from the message to the news of its end."""
        place = self.directory / f"c{number}"
        run_dir = Path(self.runtime.name, f"c{number}")
        (place / "log").mkdir(parents=True)
        run_dir.mkdir()
        for name in ("hosts", "resolv.conf", "hostname"):
            (run_dir / name).touch()
        spec = ContainerSpec(
            id=os.urandom(32).hex(), name="bench", project="bench", service="bench", index=1,
            argv=("/usr/bin/true",), environment={}, hostname="bench", capabilities=caps.DEFAULT,
            rootfs=Rootfs(lowers=(f"{self.directory}/lower",), upper=f"{place}/upper",
                          work=f"{place}/work", target=f"{place}/root", host_usr=True))
        request = launch_request(
            spec, run_dir=str(run_dir), log_dir=f"{place}/log", exit_path=f"{place}/exit.json",
            hierarchy=self.hierarchy, wait_for_network=False, stdio="log")
        begun = time.perf_counter()
        self.channel.send(request)
        self._until("exited")
        return (time.perf_counter() - begun) * 1e3

    def _until(self, event: str) -> None:
        while True:
            received = self.channel.receive()
            if received is None or received[0]["event"] == "failed":
                raise SystemExit(f"the keeper says: {received}")
            if received[0]["event"] == event:
                return

    def close(self) -> None:
        self.channel.send({"op": "exit"})
        while self.channel.receive() is not None:
            pass
        self.channel.close()
        self.runtime.cleanup()


def table(found: dict[str, float]) -> str:
    """The figures for people, with multiples of the first."""
    first = next(iter(found.values()))
    return "\n".join(f"{name:20}{ms:8.1f} ms{ms / first:8.1f}" for name, ms in found.items())


if __name__ == "__main__":
    print(table(figures(15)))
