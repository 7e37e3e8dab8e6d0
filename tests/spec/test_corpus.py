"""Recorded answers of the reference to real Compose files: the same files are accepted and
refused, and `config --format json` says the same.

The corpus is not part of the project; without it beside the checkout these tests are skipped.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from orchestrator.errors import SpecError
from orchestrator.spec import dump
from orchestrator.spec.load import LoadOptions, load
from orchestrator.spec.select import select
from tests.source_tree import ROOT

CORPUS = ROOT.parent / "shared" / "corpus" / "dev"
HOME = "/home/corpus"
OWN = re.compile(r"case\.json|expected(\..*)?")
FLAGS = {
    "-f": "files", "--file": "files", "--profile": "profiles", "--env-file": "env_files",
    "-p": "project_name", "--project-name": "project_name",
    "--project-directory": "project_directory",
}  # fmt: skip
SINGLE = {"project_name", "project_directory"}

PAGE = ROOT / "docs" / "compatibility.md"
DELIBERATE = dict(re.findall(r"^\| `([a-z]+-[^`]*)` \| (.*) \|$", PAGE.read_text(), re.MULTILINE))
"""Cases where we differ on purpose, with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One recorded case."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    services: tuple[str, ...] = ()
    environ: dict[str, str] = field(default_factory=dict)
    below: str = "."

    @property
    def expected(self) -> Any:
        """The recorded JSON, or None where the reference failed."""
        path = CORPUS / self.name / "expected.json"
        return json.loads(path.read_text()) if path.exists() else None

    @property
    def unordered(self) -> set[str]:
        """JSON paths of lists whose order the reference leaves open."""
        path = CORPUS / self.name / "expected.meta.json"
        return set(json.loads(path.read_text()).get("unordered", ())) if path.exists() else set()


def understood(words: list[str]) -> dict[str, Any] | None:
    """The flags as options of `load`; None where one is about something else."""
    options: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        flag, equals, value = word.partition("=")
        if flag not in FLAGS:
            return None
        name, value = FLAGS[flag], value if equals else next(rest)
        options[name] = value if name in SINGLE else (*options.get(name, ()), value)
    return options


def cases() -> Iterator[Case]:
    """Every case whose command line this test understands."""
    for path in sorted(CORPUS.glob("*/case.json")) if CORPUS.exists() else ():
        data = json.loads(path.read_text())
        if any(word.startswith("-") for word in data.get("config_args", ())):
            continue
        options = understood(data.get("args", []))
        if options is None:
            continue
        yield Case(
            name=path.parent.name, options=options, environ=data.get("env", {}),
            services=tuple(data.get("config_args", ())), below=data.get("cwd", "."),
        )  # fmt: skip


def answer(case: Case, directory: Path) -> Any:
    """What we print for the case, with the recorded names for its directories."""
    root = directory / case.name
    shutil.copytree(CORPUS / case.name, root, symlinks=True)
    for path in root.iterdir():
        if OWN.fullmatch(path.name):
            path.unlink()
    cwd = os.path.normpath(root / case.below)

    def placed(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("$PROJECT_DIR", cwd)
        return tuple(placed(v) for v in value) if isinstance(value, tuple) else value

    environ = {"HOME": HOME, "PWD": cwd, **{k: placed(v) for k, v in case.environ.items()}}
    options = {key: placed(value) for key, value in case.options.items()}
    project = load(LoadOptions(cwd=cwd, environ=environ, **options))
    text = dump.to_json(select(project, case.services, with_dependencies=True))
    names = [(cwd, "$PROJECT_DIR"), (str(root), "$CASE_ROOT"), (str(directory), "$PROJECT_PARENT")]
    for place, name in names:
        text = re.sub(re.escape(place) + r"(?![\w.-])", name, text)
    return json.loads(text)


def same(one: Any, other: Any, unordered: set[str], path: str = "") -> bool:
    """Whether two JSON values are equal, order of the `unordered` lists aside."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            same(one[k], other[k], unordered, f"{path}/{k.replace('~', '~0').replace('/', '~1')}")
            for k in one
        )
    if isinstance(one, list) and isinstance(other, list) and path in unordered:
        texts = [sorted(json.dumps(v, sort_keys=True) for v in side) for side in (one, other)]
        return texts[0] == texts[1]
    return type(one) is type(other) and bool(one == other)


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not beside the checkout")
@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.name)
def test_we_say_what_the_reference_says(case: Case) -> None:
    differs = case.name in DELIBERATE
    try:
        with TemporaryDirectory() as directory:  # as deep as the recorded one: `../../..` is `/`
            found = answer(case, Path(directory))
    except SpecError:
        if (case.expected is not None) != differs:
            raise
    else:
        agrees = same(case.expected, found, case.unordered)
        assert agrees != differs, json.dumps(found)


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not beside the checkout")
def test_the_deliberate_differences_are_of_cases_that_exist() -> None:
    assert {case.name for case in cases()} >= set(DELIBERATE)
