"""A throw-away network and mount namespace for benchmarks that need a stack, and their programs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
_LOOPBACK_UP = (
    "import fcntl, socket, struct; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
    "fcntl.ioctl(s, 0x8914, struct.pack('16sh14x', b'lo', 1 | 64))"
)


def enter(module: str) -> None:
    """Run the benchmark again in namespaces of its own, unless this is it; needs root."""
    if os.geteuid() != 0:
        raise SystemExit("benchmarks need root: they make namespaces")
    if "PCOMPOSE_BENCHMARK" in os.environ:
        subprocess.run([sys.executable, "-c", _LOOPBACK_UP], check=True)
        return
    environment = {**os.environ, "PCOMPOSE_BENCHMARK": "1",
                   "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}  # fmt: skip
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program has bytecode
    inside = ["unshare", "--net", "--mount", "--", sys.executable, "-m", module]
    raise SystemExit(subprocess.run([*inside, *sys.argv[1:]], env=environment,
                                    check=False).returncode)  # fmt: skip


@contextmanager
def stack(text: str, *, programs: Sequence[str]) -> Iterator[Path]:
    """A project of that Compose file, up; its directory, with those programs of this one compiled.
    Nothing is left of it."""
    with tempfile.TemporaryDirectory() as name:
        os.environ |= {"PCOMPOSE_DATA": f"{name}/data", "PCOMPOSE_RUN": f"{name}/run"}
        place = Path(name, "bench")
        place.mkdir()
        place.joinpath("compose.yaml").write_text(text)
        for program in programs:
            source = HERE / f"{program}.c"
            subprocess.run(["gcc", "-O2", "-Wall", "-o", place / program, source], check=True)
        try:
            pcompose(place, "up", "-d")
            yield place
        finally:
            pcompose(place, "down", "-v", "-t", "0")


def pcompose(place: Path, *words: str) -> str:
    """A command on the project of a directory; ends the benchmark if it fails."""
    done = subprocess.run(["pcompose", *words], cwd=place, capture_output=True, text=True,
                          timeout=300, check=False)  # fmt: skip
    if done.returncode:
        raise SystemExit(f"pcompose {' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout
