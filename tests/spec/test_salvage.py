"""All independent problems of the files are told in one go, and none that follows from another."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import SpecError
from tests.spec.loading import loaded, write

FAULTS: dict[str, tuple[str, object]] = {
    "services.a.imag": ("unknown key", "x"),
    "services.a.image": ("required variable NEEDED is missing", "${NEEDED:?say}"),
    "services.a.ports": ("services.a.ports.0: 'p' is not a port", ["p:80"]),
    "services.a.depends_on": ("no service is called zz", ["zz"]),
    "services.a.networks": ("no network is called nn", ["nn", "n"]),
    "services.b": ("services.b: must be", 7),
    "services.c.build": ("services.c.build: must be a directory", 5),
    "services.c.volumes": ("no volume is called vv", ["vv:/x", "v:/v"]),
    "services.c.mem_limit": ("'3zb' is not a size", "3zb"),
    "services.c.environment": ("`${` is never closed", {"A": "${A"}),
    "services.c.healthcheck": ("must be a duration as text", {"interval": 5}),
    "services.c.network_mode": ("no service is called", "service:nobody"),
    "networks.n": ("unknown key", {"drvier": "x"}),
    "volumes.v": ("must be a mapping", 5),
    "secrets.s": ("secrets.s", {"file": 5}),
    "configs.k": ("configs.k", {}),
    "x-top": ("`${` is never closed", "${"),
    "top": ("unknown key", 1),
}
"""Where a value is wrong -> (what is said, the value)."""
SOUND: dict[str, object] = {
    "name": "p",
    "services": {
        "a": {"image": "i", "secrets": ["s"], "configs": ["k"]},
        "b": {"image": "i"},
        "c": {"image": "i", "depends_on": ["a", "b"], "links": ["b"]},
    },
    "networks": {"n": {}}, "volumes": {"v": {}}, "secrets": {"s": {"file": "./s"}},
    "configs": {"k": {"content": "k"}},
}  # fmt: skip


def spoiled(places: set[str]) -> str:
    """The sound project with these faults, as YAML: one value on each line."""
    document = json.loads(json.dumps(SOUND))
    for place in places:
        *above, last = place.split(".")
        node = document
        for key in above:
            node = node[key]
        node[last] = FAULTS[place][1]
    return json.dumps(document, indent=1)


def told(directory: Path) -> list[str]:
    try:
        loaded(directory)
    except SpecError as error:
        return [f"{where} {message}" for where, message, _ in error.problems]
    return []


@given(st.sets(st.sampled_from(sorted(FAULTS)), max_size=9))
def test_every_fault_is_told_once_and_nothing_else(places: set[str]) -> None:
    with TemporaryDirectory() as directory:
        write(Path(directory), compose_yaml=spoiled(places))
        problems = told(Path(directory))
    assert len(problems) == len(places), problems
    for place in places:
        found = [text for text in problems if FAULTS[place][0] in text and place in text]
        assert len(found) == 1, (place, problems)


def test_the_problems_of_an_included_file_are_told_with_those_of_the_including_one(
    tmp_path: Path,
) -> None:
    write(
        tmp_path,
        compose_yaml="include: [two.yaml]\nservices: {a: {image: i, ports: [p], cpu: 1}}\n",
        two_yaml="services:\n  b: {imag: x}\n  c: {image: '${A'}\n",
    )
    assert [text.partition(" ")[0] for text in told(tmp_path)] == [
        "compose.yaml:2:34", "compose.yaml:2:38", "two.yaml:2:7", "two.yaml:3:7",
    ]  # fmt: skip


def test_a_fault_that_stops_everything_comes_with_those_before_it(tmp_path: Path) -> None:
    write(
        tmp_path, compose_yaml="services:\n  a: {image: '${A'}\n  b: {extends: {file: no.yaml}}\n"
    )
    problems = told(tmp_path)
    assert len(problems) == 2
    assert "never closed" in problems[0] or "never closed" in problems[1]


@pytest.mark.parametrize("text", ["[]", "services: 5", "services: {a: 5}", "include: 5"])
def test_a_file_that_is_wrong_as_a_whole_is_still_refused(tmp_path: Path, text: str) -> None:
    write(tmp_path, compose_yaml=text)
    assert len(told(tmp_path)) == 1
