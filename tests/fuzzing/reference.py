"""`python -m tests.fuzzing.reference COMPOSE`: the same project for us and for Docker Compose.

COMPOSE is the program (`docker-compose`, or the plugin of that name); no daemon is needed.
Projects are the recorded ones with lines, values, keys and whole blocks exchanged: most of them
still mean something.  Told is each project that one of the two refuses, or that `config --format
json` shows otherwise; those of docs/compatibility.md and newer keys come up too.  For developers:
nothing here is part of the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.errors import PcomposeError
from orchestrator.spec import dump
from orchestrator.spec.load import LoadOptions, load
from orchestrator.spec.select import select
from tests.fuzzing import mutation, targets
from tests.spec import recorded

MAIN_FILES = {"compose.yaml", "docker-compose.yml"}
PATIENCE = 30.0
_BLOCK = re.compile(r" {4}[\w.-]+:")
"""A key of a service, where the file is indented by two."""


def block(chance: random.Random, text: str, other: str) -> str:
    """A key of a service of the other file, with all below it, put before one of ours."""
    ours, theirs = text.splitlines(keepends=True), other.splitlines(keepends=True)
    here = [at for at, line in enumerate(ours) if _BLOCK.match(line)]
    there = [at for at, line in enumerate(theirs) if _BLOCK.match(line)]
    if not here or not there:
        return text
    first = chance.choice(there)
    end = first + 1
    while end < len(theirs) and (not theirs[end].strip() or theirs[end].startswith("     ")):
        end += 1
    at = chance.choice(here)
    return "".join([*ours[:at], *(f"{line.rstrip()}\n" for line in theirs[first:end]), *ours[at:]])


CHANGES = (block, block, mutation._value, mutation._key, mutation._line)


def spoiled(chance: random.Random, projects: Sequence[mutation.Files]) -> mutation.Files:
    """A project with one to three changes that leave most of it as it was."""
    files = dict(chance.choice(projects))
    for _ in range(chance.choice((1, 1, 2, 3))):
        name = chance.choice(sorted(files))
        other = chance.choice(list(chance.choice(projects).values()))
        files[name] = chance.choice(CHANGES)(chance, files[name], other)[: mutation.LARGEST]
    return files


def theirs(compose: str, directory: Path) -> tuple[Any, str]:
    """What Docker Compose prints, or None; and its last words."""
    environ = {"PATH": os.environ["PATH"], "HOME": recorded.HOME, "PWD": str(directory)}
    done = subprocess.run(
        [compose, "config", "--format", "json"], cwd=directory, env=environ, capture_output=True,
        stdin=subprocess.DEVNULL, check=False, timeout=PATIENCE,
    )  # fmt: skip
    words = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
    return (json.loads(done.stdout) if done.returncode == 0 else None), "".join(words)


def ours(directory: Path) -> tuple[Any, str]:
    """What we print, or None; and what we refuse it with."""
    environ = {"HOME": recorded.HOME, "PWD": str(directory)}
    try:
        project = load(LoadOptions(cwd=str(directory), environ=environ))
        return json.loads(dump.to_json(select(project, [], with_dependencies=True))), ""
    except PcomposeError as exc:
        return None, str(exc).splitlines()[0]


def difference(one: Any, other: Any, path: str = "") -> str | None:
    """The first place where two JSON values differ, with both; None where they are equal."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted(one.keys() | other.keys())
        pairs = [(key, one.get(key, ...), other.get(key, ...)) for key in keys]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(str(at), *pair) for at, pair in enumerate(zip(one, other, strict=True))]
    else:
        same = type(one) is type(other) and one == other
        return None if same else f"{path or '/'}: theirs {one!r:.80} ours {other!r:.80}"
    found = (difference(first, second, f"{path}/{key}") for key, first, second in pairs)
    return next((text for text in found if text), None)


def verdict(compose: str, files: mutation.Files) -> str | None:
    """How the two differ on a project; None where they do not."""
    with tempfile.TemporaryDirectory() as parent:
        directory = Path(parent) / "project"
        targets.lay(files, directory)
        reference, their_words = theirs(compose, directory)
        found, our_words = ours(directory)
    if (reference is None) != (found is None):
        return f"refused by us: {our_words}" if found is None else f"by them: {their_words}"
    return difference(reference, found)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing.reference", description=__doc__)
    parser.add_argument("compose")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    projects = [files for files in mutation.corpus() if MAIN_FILES & files.keys()]
    wrong = 0
    for seed in range(options.seed, options.seed + options.count):
        files = spoiled(random.Random(seed), projects)
        try:
            text = verdict(options.compose, files)
        except (subprocess.TimeoutExpired, UnicodeError):  # theirs hangs; no text at all
            continue
        if text:
            wrong += 1
            sys.stdout.write(f"seed {seed}: {text}\n")
    sys.stdout.write(f"{options.count} projects, {wrong} differ\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
