"""Reading files: parse, validate and plan, over the interpreter's own start; beside
`docker compose config`, also of version 1 (`docker-compose`), where it is installed.

The first time a file is seen it is parsed and validated; its tree is kept by its content, and read
back the next time.  Each round measures everything once, so that a noisy moment meets all alike.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.peers import answers

COUNTS = (10, 1000)
SERVICE = """\
  s{n}:
    image: "registry.local/app/s{n}:${{TAG:-1.{n}}}"
    restart: unless-stopped
    command: ["serve", "--port", "{port}"]
    environment:
      DATABASE_URL: "postgres://app:${{PASSWORD:-secret}}@db/app{n}"
      LOG_LEVEL: info
      WORKERS: 4
    ports: ["127.0.0.1:{port}:80"]
    volumes: ["./conf/s{n}:/etc/app:ro", "data{n}:/var/lib/app"]
    networks: [front, back]
    labels: {{app.tier: "{n}", app.owner: team}}
    healthcheck:
      test: ["CMD", "wget", "-qO-", "http://127.0.0.1/health"]
      interval: 10s
      retries: 3
    deploy: {{resources: {{limits: {{cpus: "0.5", memory: 256m}}}}}}
    {depends}
"""


def compose_text(count: int) -> str:
    """A file of `count` services as people write them; each tenth begins a new chain."""
    services = "".join(
        SERVICE.format(n=n, port=10000 + n,
                       depends=f"depends_on: [s{n - 1}]" if n % 10 else "init: true")
        for n in range(count)
    )  # fmt: skip
    volumes = "".join(f"  data{n}:\n" for n in range(count))
    return f"services:\n{services}networks: {{front: , back: }}\nvolumes:\n{volumes}"


def seconds(command: list[str], cwd: Path, environ: dict[str, str]) -> float:
    """Of one run, which has to end well."""
    begun = time.perf_counter()
    subprocess.run(command, cwd=cwd, env=environ, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def figures(repeat: int) -> dict[str, float]:
    """Name -> median milliseconds."""
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        data = work / "data"
        environ = {**os.environ, "PCOMPOSE_DATA": str(data), "PCOMPOSE_RUN": str(work / "run")}
        python, pcompose = sys.executable, shutil.which("pcompose") or "pcompose"
        peers = [peer for peer in (["docker", "compose"], ["docker-compose"])
                 if answers(*peer, "version")]  # fmt: skip

        def measure(title: str, command: list[str], cwd: Path,
                    before: Callable[[], None] = lambda: None) -> None:
            before()
            found.setdefault(title, []).append(seconds(command, cwd, environ))

        def forget() -> None:
            shutil.rmtree(data, ignore_errors=True)

        for count in COUNTS:
            (work / str(count)).mkdir()
            (work / str(count) / "compose.yaml").write_text(compose_text(count))
        for _ in range(repeat):
            measure("the interpreter", [python, "-c", "pass"], work)
            for count in COUNTS:
                place = work / str(count)
                read = [pcompose, "config", "-q"]
                measure(f"{count}: config, first", read, place, forget)
                measure(f"{count}: config, again", read, place)
                for peer in peers:
                    measure(f"{count}: {' '.join(peer)} config", [*peer, "config", "-q"], place)
    return {title: statistics.median(each) * 1e3 for title, each in found.items()}


def table(results: dict[str, float]) -> str:
    """Milliseconds, whole and over the interpreter's own start."""
    least = results["the interpreter"]
    lines = [f"{'reading files':28}{'ms':>8}{'over the interpreter':>22}"]
    lines += [f"{name:28}{ms:8.0f}{ms - least:22.0f}" for name, ms in results.items()]
    if not any("docker" in name for name in results):
        lines.append("docker compose is not installed, so nothing to compare with")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(figures(11)))
