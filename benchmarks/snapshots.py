"""Snapshots of a database: how long save, restore and forks of a seeded postgres take, and how much
of that is ours; after each restore every byte is compared.

    python -m benchmarks.snapshots [--megabytes 200] [--rounds 5] [--forks 8]

The image is that of examples/webapp (webapp:12), made there by make-images.sh.  "Ours" is the time
until the container has been started again, with all of ours before it; the rest is postgres.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import ground
from orchestrator.live import LiveProject
from orchestrator.plan.policy import DownPolicy, UpPolicy

if TYPE_CHECKING:
    from orchestrator.events import Event

WEBAPP = Path(__file__).resolve().parent.parent / "examples/webapp"
TEXT = f"""
services:
  db:
    extends: {{file: {WEBAPP}/compose.yaml, service: postgres}}
    healthcheck: {{start_interval: 20ms}}
volumes: {{database: }}
"""
SEED = """
CREATE TABLE row AS SELECT n, repeat(md5(n::text), 30) AS text FROM generate_series(1, {rows}) n;
CHECKPOINT;
"""
_BYTES_PER_ROW = 1024
ROWS = "SELECT count(*), sum(n), sum(length(text)) FROM row"
SPOIL = "UPDATE row SET text = 'x' WHERE n % 10 = 0; CREATE TABLE other AS SELECT * FROM row"


def psql(project: LiveProject, query: str) -> str:
    """The answer of the database."""
    words = ["psql", "-h", "/tmp", "-U", "webapp", "-qAtc", query]
    done = project.capture("db", words, environment={"PGPASSWORD": "not-a-secret"})
    if done.exit_code:
        raise SystemExit(done.stderr.decode())
    return done.stdout.decode().strip()


def digest(directory: Path) -> str:
    """Of the names, kinds, owners, modes and contents of everything in it."""
    found = sha256()
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        row = (path.relative_to(directory), status.st_mode, status.st_uid, status.st_gid)
        found.update(repr(row).encode())
        if path.is_file() and not path.is_symlink():
            found.update(path.read_bytes())
    return found.hexdigest()


def restored(project: LiveProject) -> tuple[float, float]:
    """Milliseconds of a restore: ours, and until the database answers again."""
    started = []

    def hear(event: Event) -> None:
        if getattr(event, "text", "") == "Started":
            started.append(time.perf_counter())

    begun = time.perf_counter()
    project.restore_snapshot("seed", sink=hear)
    ended = time.perf_counter()
    return (started[-1] - begun) * 1e3, (ended - begun) * 1e3


def saved(project: LiveProject, volume: Path) -> str:
    """The digest of the volume as it was saved, while nothing wrote to it."""
    project.stop()
    seeded = digest(volume / "_data")
    begun = time.perf_counter()
    project.save_snapshot("seed")
    print(f"save, the database stopped: {(time.perf_counter() - begun) * 1e3:.0f} ms")
    project.start(wait=True)
    return seeded


def measure(project: LiveProject, volume: Path, *, megabytes: int, rounds: int) -> None:
    """Print every figure."""
    psql(project, SEED.format(rows=(megabytes << 20) // _BYTES_PER_ROW))
    size = int(psql(project, "SELECT pg_database_size('webapp')")) >> 20
    print(f"{size} MB in the database")
    seeded, rows = saved(project, volume), psql(project, ROWS)
    (version,) = (volume.parents[1] / "frozen").glob("*/data/PG_VERSION")
    times = []
    for _ in range(rounds):
        psql(project, SPOIL)
        times.append(restored(project))
        if psql(project, ROWS) != rows or digest(version.parents[1]) != seeded:
            raise SystemExit("what was restored is not what was saved")
    ours, ready = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"restore: {ours:.0f} ms of ours, {ready:.0f} ms until ready (medians of {rounds})")


def fork(project: LiveProject, count: int) -> None:
    """As many databases from the one seed."""
    names = [f"{project.name}-{number}" for number in range(count)]
    begun = time.perf_counter()
    forks = project.fork("seed", names)
    print(f"{count} forks, all ready: {time.perf_counter() - begun:.1f} s")
    for one in forks:
        one.down(DownPolicy(volumes=True, timeout=0))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.snapshots", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--forks", type=int, default=8)
    options = parser.parse_args()
    ground.enter("benchmarks.snapshots")
    with tempfile.TemporaryDirectory() as name:
        os.environ |= {"PCOMPOSE_DATA": f"{name}/data", "PCOMPOSE_RUN": f"{name}/run"}
        subprocess.run(["sh", str(WEBAPP / "make-images.sh")], check=True)
        project = LiveProject(files=["-"], stdin=TEXT.encode(), name="seeds", directory=name)
        project.up(UpPolicy(), wait=True)
        try:
            measure(project, Path(name, "data/volumes/seeds_database"),
                    megabytes=options.megabytes, rounds=options.rounds)  # fmt: skip
            fork(project, options.forks)
        finally:
            project.down(DownPolicy(volumes=True, timeout=0))


if __name__ == "__main__":
    main()
