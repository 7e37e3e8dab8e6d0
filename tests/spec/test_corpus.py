"""Recorded answers of the reference to real Compose files: the same files are accepted and
refused, and `config --format json` says the same.

The corpus is not part of the project; without it beside the checkout these tests are skipped.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from orchestrator.errors import SpecError
from orchestrator.spec import dump
from orchestrator.spec.load import load
from orchestrator.spec.select import select
from tests.source_tree import ROOT
from tests.spec.recorded import CORPUS, Case, cases, laid, named

PAGE = ROOT / "docs" / "compatibility.md"
DELIBERATE = dict(re.findall(r"^\| `([a-z]+-[^`]*)` \| (.*) \|$", PAGE.read_text(), re.MULTILINE))
"""Cases where we differ on purpose, with the reason."""


def answer(case: Case, directory: Path) -> Any:
    """What we print for the case, with the recorded names for its directories."""
    project = load(laid(case, directory))
    text = dump.to_json(select(project, case.services, with_dependencies=True))
    return json.loads(named(text, case, directory))


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
