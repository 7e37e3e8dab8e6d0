"""What 200 published ports add to `up`: `python -m benchmarks.ports`

One service that sleeps, with the ports (each for IPv4 and IPv6) and without, up and down in turn;
medians of the wall time of the commands, and the difference.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks import ground

FIRST = 21000


def compose(ports: int) -> str:
    published = f"\n    ports: ['{FIRST}-{FIRST + ports - 1}:1-{ports}']" if ports else ""
    return f"""
name: ports{ports}
services:
  one:
    image: pcompose/host
    command: sleep infinity
    stop_signal: SIGKILL{published}
"""


def timed(place: Path, *words: str) -> float:
    """Milliseconds."""
    begin = time.perf_counter()
    ground.pcompose(place, *words)
    return (time.perf_counter() - begin) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ports", description=__doc__)
    parser.add_argument("--ports", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    ground.enter("benchmarks.ports")
    took: dict[tuple[int, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        os.environ |= {"PCOMPOSE_DATA": f"{name}/data", "PCOMPOSE_RUN": f"{name}/run"}
        for _ in range(options.rounds):
            for ports in (0, options.ports):
                place = Path(name, str(ports))
                place.mkdir(exist_ok=True)
                place.joinpath("compose.yaml").write_text(compose(ports))
                for words in (("up", "-d"), ("ps",), ("down",)):
                    took.setdefault((ports, words[0]), []).append(timed(place, *words))
    print(f"| ms | no ports | {options.ports} ports | added |\n|---|---|---|---|")
    for verb in ("up", "ps", "down"):
        none, all_ = (statistics.median(took[ports, verb]) for ports in (0, options.ports))
        print(f"| {verb} | {none:.0f} | {all_:.0f} | {all_ - none:.0f} |")


if __name__ == "__main__":
    main()
