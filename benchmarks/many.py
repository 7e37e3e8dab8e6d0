"""Very many containers of one project: how they come up, what keeping them costs, how they go.

`python -m benchmarks.many [COUNT]`, as root: seconds of each command, and what two processes hold.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import ground

COUNT = 500
TEXT = """
name: many
services:
  web: {image: pcompose/host, command: sleep infinity, scale: %s, stop_signal: SIGKILL}
networks: {default: {ipam: {config: [{subnet: 10.99.0.0/20}]}}}
"""
COMMANDS = {
    "up": ("up", "-d"), "ps": ("ps", "--format", "json"), "up again": ("up", "-d"),
    "exec in the last": ("exec", "-T", "--index", "{count}", "web", "true"),
    "restart": ("restart", "-t", "0"),
}  # fmt: skip


def main() -> None:
    """Print the table."""
    ground.enter("benchmarks.many")
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    with tempfile.TemporaryDirectory() as name:
        os.environ |= {"PCOMPOSE_DATA": f"{name}/data", "PCOMPOSE_RUN": f"{name}/run"}
        place = Path(name)
        place.joinpath("compose.yaml").write_text(TEXT % count)
        try:
            for what, words in COMMANDS.items():
                timed(place, what, [word.format(count=count) for word in words])
            held(place, count)
        finally:
            timed(place, "down", ["down", "-t", "0"])
        left = [path for kind in ("data", "run") for path in place.glob(f"{kind}/projects/*")]
        print(f"left behind: {left or 'nothing'}")


def timed(place: Path, what: str, words: list[str]) -> None:
    """Print how long a command takes."""
    begun = time.perf_counter()
    ground.pcompose(place, *words)
    print(f"{what:20}{time.perf_counter() - begun:8.1f} s")


def held(place: Path, count: int) -> None:
    """That all run, and the memory and descriptors of supervisor and keeper."""
    rows = ground.pcompose(place, "ps", "--format", "json").splitlines()
    running = sum(json.loads(row)["State"] == "running" for row in rows)
    print(f"running             {running:8} of {count}")
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            words = status.with_name("cmdline").read_bytes().decode().split("\0")
            text = status.read_text()
            files = len(list(status.with_name("fd").iterdir()))
        except OSError:  # it has ended
            continue
        kind = next((kind for kind in ("keeper", "supervisor") if f"/{kind}.sock" in "".join(words)
                     or f"orchestrator.{kind}.main" in words), "")  # fmt: skip
        if str(place) in " ".join(words) and kind:
            kilobytes = int(text.split("VmRSS:")[1].split()[0])
            print(f"{kind:20}{kilobytes / 1024:8.1f} MiB, {files} descriptors")


if __name__ == "__main__":
    main()
