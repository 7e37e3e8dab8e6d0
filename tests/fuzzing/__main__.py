"""`python -m tests.fuzzing --minutes 60`: spoiled input until the time is over.

Projects, Dockerfiles, archives, layers and documents of images (`--only` says which).  Each batch
runs in a process of its own with little memory and a time limit for each input, so that a
traceback, a hang and a bomb are all found and the next batch goes on.  What was found lies in
artifacts/fuzzing, one directory for each; the exit status is 1 then.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.fuzzing import images, mutation, targets
from tests.source_tree import ROOT

BATCH = 200
SECONDS = 20.0
"""Of processor time for one input; the slowest take a second."""
WAITING = 10
"""How many times as long it may take by the clock."""
MEMORY = 1 << 30
"""Address space that a batch may use beyond what it begins with."""
IMAGES = 0.5
"""Part of the inputs that are not projects."""
FOUND = ROOT / "artifacts" / "fuzzing"


class Hang(BaseException):
    """A project took too long; no `except Exception` may hide it."""


def _alarm(number: int, frame: object) -> None:
    raise Hang


def run_batch(seed: int, projects: list[mutation.Files], count: int, only: str) -> list[str]:
    """What goes wrong with the inputs of a seed, as text."""
    chance = random.Random(seed)
    known = tuple(case for case in images.cases() if only in ("", "images", case.name))
    wrong = []
    for number in range(count):
        if only != "projects" and (only or chance.random() < IMAGES):
            case, data = images.spoiled(chance, known)
            files = {case.name: data}
            problem = attempt(partial(case.read, data))
        else:
            project = mutation.spoiled(chance, projects)
            files = {name: text.encode("utf-8", "surrogatepass") for name, text in project.items()}
            problem = attempt(partial(_project, project))
        if problem:
            wrong.append(f"seed {seed}, input {number}: {problem}")
            _keep(files, f"{seed}-{number}", problem)
    return wrong


def _project(project: mutation.Files, directory: Path) -> None:
    targets.exercise(project, directory)


def attempt(read: Callable[[Path], None], *, seconds: float = SECONDS) -> str | None:
    """What is wrong with how an input is read, or None."""
    before = {number: signal.signal(number, _alarm) for number in (signal.SIGPROF, signal.SIGALRM)}
    signal.setitimer(signal.ITIMER_PROF, seconds)  # of this process: the machine may be busy
    signal.setitimer(signal.ITIMER_REAL, WAITING * seconds)
    directory = Path(tempfile.mkdtemp(prefix="fuzz"))
    try:
        read(directory)
    except Hang:
        return f"takes longer than {seconds} seconds\n{traceback.format_exc(limit=-3)}"
    except Exception:
        return traceback.format_exc()
    finally:
        for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        shutil.rmtree(directory, ignore_errors=True)
    return None


def _keep(files: dict[str, bytes], name: str, problem: str) -> None:
    directory = FOUND / name
    for file, data in files.items():
        path = directory / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (directory / "problem.txt").write_text(problem, errors="replace")


def _limited() -> None:
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))


def fork_batch(seed: int, projects: list[mutation.Files], count: int, only: str) -> bool:
    """Runs a batch in a process of its own; whether all was well."""
    pid = os.fork()
    if pid == 0:
        status = 2
        try:
            _limited()
            wrong = run_batch(seed, projects, count, only)
            for text in wrong:
                sys.stderr.write(f"{text}\n")
            status = 1 if wrong else 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    with open(os.pidfd_open(pid), "rb", buffering=0) as ended:
        if not select.select([ended], [], [], count * SECONDS / 4 + 2 * WAITING * SECONDS)[0]:
            os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if status not in (0, 256):
        sys.stderr.write(f"seed {seed}: the batch ended with wait status {status}\n")
    return status == 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, help="one batch, in this process")
    parser.add_argument("--only", default="", help="projects, images, or one kind of the latter",
                        choices=["projects", "images", *(case.name for case in images.cases())])
    options = parser.parse_args()
    projects = mutation.corpus()
    if options.seed is not None:
        wrong = run_batch(options.seed, projects, BATCH, options.only)
        sys.stdout.write("\n".join(wrong) + "\n")
        return 1 if wrong else 0
    end = time.monotonic() + options.minutes * 60
    first = seed = time.time_ns() // 1_000_000
    failed = 0
    while time.monotonic() < end:
        failed += not fork_batch(seed, projects, BATCH, options.only)
        seed += 1
    sys.stdout.write(f"{(seed - first) * BATCH} spoiled inputs from seed {first}, "
                     f"{failed} batches in which something went wrong\n")  # fmt: skip
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
