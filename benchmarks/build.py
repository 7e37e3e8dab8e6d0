"""`python -m benchmarks.build`: building images, beside `docker build` and Buildah.

What is measured: a cold build, one all cached (its processor time too, for docker that of its
client), one where a file of the last step has changed, twenty stages that do not need each other,
COPY of many small files, and a large image that is loaded.  Peers are measured where they work
here: docker where a daemon answers, Buildah as `buildah` or else within podman; all start from the
same base image.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from benchmarks.ground import enter
from benchmarks.peers import answers

BASE = "localhost/bench-base:1"
PROGRAMS = ("sh", "cat", "touch", "mkdir", "true")
COLD = f"""FROM {BASE}
COPY source /source
RUN cat /source/*/* > /all
RUN mkdir /made && touch /made/1 /made/2
WORKDIR /work
COPY last /last
CMD ["sh"]
"""
STAGES = 20


@dataclass(frozen=True, slots=True)
class Builder:
    """One program that builds."""

    name: str
    load: Callable[[Path], list[str]]
    build: Callable[[str], list[str]]
    """The command for a tag; the context is the working directory."""


def builders(place: Path) -> list[Builder]:
    """pcompose and the peers that are here; Buildah keeps its images in the place."""
    kept = ["--root", f"{place}/p/s", "--runroot", f"{place}/p/r"]
    podman = ["podman", *kept, "--tmpdir", f"{place}/p/t", "--cgroup-manager", "cgroupfs"]
    how = ["-q", "--layers", "--isolation", "chroot", "-t"]
    found = [Builder("pcompose", lambda path: ["pcompose", "load", "-q", "-i", str(path)],
                     lambda tag: ["pcompose", "build"])]
    if shutil.which("buildah"):
        found.append(Builder(
            "buildah", lambda path: ["buildah", *kept, "pull", "-q", f"docker-archive:{path}"],
            lambda tag: ["buildah", *kept, "build", *how, tag, "."]))  # fmt: skip
    elif shutil.which("podman"):
        found.append(Builder(
            "podman build", lambda path: [*podman, "load", "-q", "-i", str(path)],
            lambda tag: [*podman, "build", *how, tag, "."]))  # fmt: skip
    if answers("docker", "info"):
        found.append(Builder("docker build", lambda path: ["docker", "load", "-q", "-i", str(path)],
                             lambda tag: ["docker", "build", "-q", "-t", tag, "."]))
    return found


def timed(command: list[str], directory: Path) -> float:
    """Seconds; ends the benchmark where the command fails."""
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False,
                          timeout=900)  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return time.perf_counter() - begun


def processor() -> float:
    """Seconds of processor time that all commands have taken so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def archive(place: Path, name: str, files: dict[str, bytes]) -> Path:
    """An archive that every peer loads: an image of one layer."""
    from hashlib import sha256

    layer = BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for program in PROGRAMS:
            _add_program(tar, program)
        for path, content in files.items():
            _add(tar, path, content)
    data = layer.getvalue()
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"]},
        "history": [{"created_by": "the benchmark"}],
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(data).hexdigest()}"]},
    }).encode()  # fmt: skip
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    target = place / f"{len(data)}.tar"
    with tarfile.open(target, "w") as tar:
        for path, content in (("config.json", config), ("layer.tar", data),
                              ("manifest.json", json.dumps(manifest).encode())):
            _add(tar, path, content)
    return target


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    tar.addfile(info, BytesIO(content))


def _add_program(tar: tarfile.TarFile, name: str) -> None:
    """A program of this machine with the libraries it needs."""
    path = Path(shutil.which(name) or "").resolve()
    _add(tar, f"bin/{name}", path.read_bytes(), 0o755)
    shown = subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=True).stdout
    for word in shown.split():
        if word.startswith("/") and word.lstrip("/") not in tar.getnames():
            _add(tar, word.lstrip("/"), Path(word).read_bytes(), 0o755)


def figures(builder: Builder, place: Path, large: Path) -> dict[str, float]:
    """Seconds of everything, once."""
    context = place / f"context-{time.time_ns()}"
    context.mkdir()
    mark = str(time.time_ns())  # nothing of an earlier round is in a cache
    build = builder.build("localhost/bench:1")
    found = {}
    (context / "compose.yaml").write_text("name: bench\nservices: {bench: {build: .}}\n")
    (context / ".dockerignore").write_text("compose.yaml\nDockerfile\n")
    _fill(context / "source", 200, mark)
    (context / "last").write_text(mark)
    (context / "Dockerfile").write_text(COLD)
    found["cold build"] = timed(build, context)
    before = processor()
    found["all cached"] = statistics.median(timed(build, context) for _ in range(5))
    found["all cached, CPU"] = (processor() - before) / 5
    (context / "last").write_text(f"{mark} changed")
    found["last file changed"] = timed(build, context)
    stages = [f"FROM {BASE} AS s{n}\nRUN echo {mark} > /{n}\n" for n in range(STAGES)]
    copies = [f"COPY --from=s{n} /{n} /\n" for n in range(STAGES)]
    (context / "Dockerfile").write_text("".join([*stages, f"FROM {BASE}\n", *copies]))
    found[f"{STAGES} stages"] = timed(build, context)
    _fill(context / "many", 20_000, mark)
    (context / "Dockerfile").write_text(f"FROM {BASE}\nCOPY many /many\n")
    found["COPY 20,000 files"] = timed(build, context)
    found["load 500 MB"] = timed(builder.load(large), context)
    shutil.rmtree(context)
    return found


def _fill(directory: Path, count: int, mark: str) -> None:
    for number in range(count):
        path = directory / str(number % 100) / str(number)
        if number < 100:
            path.parent.mkdir(parents=True)
        path.write_text(f"{number} {mark}\n" * 8)


def table(results: dict[str, dict[str, float]]) -> str:
    """Milliseconds, and multiples of pcompose."""
    ours = results["pcompose"]
    lines = [f"{'':20}" + "".join(f"{name:>24}" for name in results)]
    for what, own in ours.items():
        cells = [f"{found[what] * 1e3:.0f} ms ({found[what] / own:.1f}x)"
                 for found in results.values()]  # fmt: skip
        lines.append(f"{what:20}" + "".join(f"{cell:>24}" for cell in cells))
    return "\n".join(lines)


def measured(
    found: list[Builder], place: Path, base: Path, *, repeat: int
) -> dict[str, dict[str, float]]:
    """builder -> what -> median seconds of several rounds."""
    rounds: dict[str, list[dict[str, float]]] = {}
    for builder in found:
        timed(builder.load(base), place)
    for number in range(repeat):
        content = {f"big/{n}": os.urandom(5 << 20) for n in range(100)}
        large = archive(place, f"localhost/bench-large:{number}", content)
        for builder in found:
            rounds.setdefault(builder.name, []).append(figures(builder, place, large))
        large.unlink()
    return {peer: {what: statistics.median(one[what] for one in several) for what in several[0]}
            for peer, several in rounds.items()}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.build", description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    enter("benchmarks.build")
    with tempfile.TemporaryDirectory(prefix="b") as name:
        place = Path(name)
        os.environ |= {"PCOMPOSE_DATA": f"{name}/data", "PCOMPOSE_RUN": f"{name}/run"}
        base = archive(place, BASE, {})
        found = builders(place)
        try:
            results = measured(found, place, base, repeat=options.repeat)
        finally:  # podman's storage mounts itself
            subprocess.run(["umount", "-l", f"{name}/p/s/overlay"], capture_output=True,
                           check=False)  # fmt: skip
    sys.stdout.write(table(results) + "\n")


if __name__ == "__main__":
    main()
