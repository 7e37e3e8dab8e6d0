"""A hash is of what a file means: it stays when the file says the same in other words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from orchestrator.errors import SpecError
from orchestrator.spec import dump, hashing
from orchestrator.spec.load import LoadOptions, load
from orchestrator.spec.model import Project
from orchestrator.spec.select import select
from tests.engine import keys
from tests.engine.test_every_key import BASE, ENVIRON, EVERY, joined, merged
from tests.fuzzing.targets import read_back

Way = Callable[[Any, Random, Path], Any]

PAIRS = frozenset({"environment", "labels", "annotations", "sysctls", "args"})
"""Maps that may be written as lists of `NAME=value`."""
PATHS = frozenset({"context", "env_file", "label_file", "file", "path", "project_directory"})
_HERE = re.compile(r"(?!/|pipe:)(\./)?[\w./-]+")
_NO_PATHS = frozenset({"weight_device", "device_read_bps", "device_read_iops",
                       "device_write_bps", "device_write_iops"})  # fmt: skip
MANY = """
services:
  many:
    image: img
    environment: {Z: z, A: a, M: , B: 'a=b', C: 1}
    labels: {z: z, a: a, m: ''}
    annotations: {z: z, a: a}
    sysctls: {net.core.somaxconn: 1, net.ipv4.ip_forward: 1}
    ulimits: {nproc: 9, nofile: {soft: 1, hard: 2}, core: 0}
    extra_hosts: {z: 10.0.0.1, a: 10.0.0.2}
    storage_opt: {size: 1g}
    env_file: [one.env, {path: quoted.env, format: raw}]
    networks: {n: {aliases: [z, a], driver_opts: {z: 1, a: 2}}, m: , default: {priority: 1}}
    depends_on: {t: {condition: service_started}, base: {condition: service_started}}
    secrets: [{source: y, mode: '0400'}, x]
    volumes: [{type: bind, source: one, target: /z}, {type: volume, source: va, target: /a}]
    logging: {driver: local, options: {max-size: 1m, max-file: '3'}}
    build: {context: one, args: {Z: z, A: a}, labels: {z: z, a: a}}
networks: {many: {driver_opts: {z: 1, a: 2}, labels: {z: z, a: a}}}
volumes: {many: {driver_opts: {z: 1, a: 2}, labels: {z: z, a: a}}}
"""
"""Several entries wherever order could count."""
FIXED = settings(max_examples=60, deadline=None,
                 suppress_health_check=[HealthCheck.function_scoped_fixture])


def in_another_order(value: Any, chance: Random, directory: Path) -> Any:
    """Every mapping with its keys in another order."""
    if isinstance(value, dict):
        entries = [(k, in_another_order(child, chance, directory)) for k, child in value.items()]
        chance.shuffle(entries)
        return dict(entries)
    if isinstance(value, list):
        return [in_another_order(item, chance, directory) for item in value]
    return value


def as_lists(value: Any, chance: Random, directory: Path) -> Any:
    """`NAME: value` as `NAME=value`, in any order."""
    if isinstance(value, list):
        return [as_lists(item, chance, directory) for item in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for key, child in value.items():
        if key in PAIRS and isinstance(child, dict):
            items = [name if text is None else f"{name}={text}" for name, text in child.items()]
            chance.shuffle(items)
            found[key] = items
        else:
            found[key] = as_lists(child, chance, directory)
    return found


def with_absolute_paths(value: Any, chance: Random, directory: Path) -> Any:
    """Some of the paths as they are from the root on."""
    if isinstance(value, list):
        return [with_absolute_paths(item, chance, directory) for item in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for key, child in value.items():
        is_path = key in PATHS or (key == "source" and value.get("type") == "bind")
        if key in _NO_PATHS:
            found[key] = child
        elif is_path and isinstance(child, str) and _HERE.fullmatch(child):
            found[key] = str(directory / child) if chance.random() < 0.7 else child
        else:
            found[key] = with_absolute_paths(child, chance, directory)
    return found


WAYS: tuple[Way, ...] = (in_another_order, as_lists, with_absolute_paths)


def written(document: Any, chance: Random) -> str:
    """The document as YAML with comments and empty lines."""
    text = yaml.safe_dump(document, sort_keys=False, width=1 << 20,
                          default_flow_style=chance.choice((None, False)))  # fmt: skip
    lines = []
    for line in text.splitlines():
        if chance.random() < 0.3:
            lines.append(chance.choice(("", " " * chance.randrange(9) + "# a: [comment")))
        lines.append(line + chance.choice(("", "  # said", "   ")))
    return "\n".join(lines) + chance.choice(("", "\n", "\n...\n"))


def of(directory: Path, text: str) -> Project:
    (directory / "compose.yaml").write_text(text)
    options = LoadOptions(cwd=str(directory), environ=ENVIRON)
    return select(load(options), [], with_dependencies=True)


def hashes(project: Project) -> dict[str, str]:
    """The hash of all that is made for a project."""
    trees: dict[str, Any] = {
        **{f"service {n}": hashing.config_tree(s) for n, s in project.services.items()},
        **{f"network {n}": hashing.network_tree(net) for n, net in project.networks.items()},
        **{f"volume {n}": hashing.volume_tree(v) for n, v in project.volumes.items()},
    }
    return {name: hashing.config_hash(tree) for name, tree in trees.items()}


def tell(one: Project, other: Project) -> None:
    """Fails with the trees that differ."""
    assert [hashing.config_tree(s) for _, s in sorted(one.services.items())] == [
        hashing.config_tree(s) for _, s in sorted(other.services.items())
    ]
    assert hashes(one) == hashes(other)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    keys.lay_out(tmp_path)
    return tmp_path


def base(key: str, piece: str) -> Any:
    """A document with this piece, in which much else is said too."""
    return joined(merged(yaml.safe_load(BASE), key, piece), yaml.safe_load(MANY))


def changed(document: Any, chance: Random, directory: Path) -> Any:
    for way in chance.sample(WAYS, len(WAYS)):
        document = way(document, chance, directory)
    return document


@pytest.mark.parametrize("key", EVERY)
def test_no_key_changes_the_hash_by_how_it_is_written(place: Path, key: str) -> None:
    chance = Random(key)
    for piece in EVERY[key]:
        document = base(key, piece)
        one = of(place, json.dumps(document))
        for _ in range(3):
            tell(one, of(place, written(changed(document, chance, place), chance)))
        tell(one, read_back(dump.to_yaml(one), place))


@given(chosen=st.lists(st.sampled_from(sorted(EVERY)), min_size=2, max_size=9, unique=True),
       chance=st.randoms(use_true_random=False))  # fmt: skip
@FIXED
def test_keys_together_do_not_either(place: Path, chosen: list[str], chance: Random) -> None:
    document = yaml.safe_load(BASE)
    for key in chosen:
        document = joined(document, base(key, chance.choice(EVERY[key])))
    try:
        one = of(place, json.dumps(document))
    except SpecError:
        assume(False)
    tell(one, of(place, written(changed(document, chance, place), chance)))
    tell(one, read_back(dump.to_yaml(one), place))


def test_the_version_is_part_of_the_hash(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = of(place, BASE)
    before = hashes(project)
    monkeypatch.setattr(hashing, "VERSION", hashing.VERSION + 1)
    after = hashes(project)
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())
