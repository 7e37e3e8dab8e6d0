"""The shape of the file: our schema, its messages, its cache, and that it covers everything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from orchestrator.spec import schema
from orchestrator.spec.suggestion import nearest_name
from tests.source_tree import ROOT
from tests.spec.loading import loaded, refused

REFERENCE = ROOT.parent / "shared" / "reference" / "compose-spec.schema.json"


def test_the_schema_is_a_schema() -> None:
    with open(schema.schema_path()) as file:
        jsonschema.Draft202012Validator.check_schema(json.load(file))


def test_independent_faults_are_told_together_with_suggestions(tmp_path: Path) -> None:
    error = refused(tmp_path, """
        services:
          web:
            imgae: x
            restart: 3
          db:
            image: [1]
            ports: {}
        volums: {}
    """)  # fmt: skip
    assert [(where, hint) for where, _, hint in error.problems] == [
        ("compose.yaml:4:5", "did you mean `image`?"), ("compose.yaml:5:5", "write it in quotes"),
        ("compose.yaml:7:5", None), ("compose.yaml:8:5", None),
        ("compose.yaml:9:1", "did you mean `volumes`?"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("services:\n", "services: must be a mapping from name to service, not nothing"),
        ("services: {a: }\n", "services.a: must be a mapping: a service, not nothing"),
        ("services: {a: {image: i, command: [1]}}",
         "services.a.command.0: must be text (quote it), not `1`"),
        ("services: {a: {image: i, cgroup: hots}}", "must be one of host, private, not `hots`"),
        ("services: {a: {image: i, depends_on: {b: {}}}}", "`condition` is missing"),
        ("services: {a: {image: i, volumes: [{source: x}]}}", "`type` is missing"),
        ("services: {a b: {image: i}}", "services.a b: a name has only letters, digits and `._-`"),
        ('services: {"a\\n": {image: i}}', "a name has only letters, digits and `._-`"),
        ("services: {a: {image: i, container_name: x}}", "must be a name of letters"),
        ("services: {a: {image: i, oom_score_adj: 5000}}", "must be an integer from -1000 to 1000"),
        ("services: {a: {image: i, group_add: [x, y, x]}}", "`x` is given twice, first in line 1"),
        ("services: {a: {image: i, stop_grace_period: 10}}", "must be a duration as text"),
        ("services: {a: {image: i, networks: {default: {priority: '1'}}}}", "must be a number"),
        ("services: {a: {image: i, ulimits: {nofile: {soft: 1}}}}", "`hard` is missing"),
        ("name: 5\nservices: {}", "name: must be text, not `5`"),
    ],
)  # fmt: skip
def test_a_message(tmp_path: Path, text: str, words: str) -> None:
    assert words in refused(tmp_path, text).problems[0][1]


def test_extensions_are_allowed_in_every_structure(tmp_path: Path) -> None:
    project = loaded(tmp_path, """
        x-top: {a: [1]}
        services:
          s: {image: i, x-a: 1, healthcheck: {x-b: 2, test: [CMD, a]}, deploy: {x-c: 3},
              networks: {n: {x-d: 4}}, logging: {x-e: 5}, ports: [{target: 1, x-f: 6}]}
        networks: {n: {x-g: 7}}
    """)  # fmt: skip
    assert project.extensions == {"x-top": {"a": [1]}}


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    loaded(tmp_path, "services: {a: {image: i}}", cache_dir=str(tmp_path / "file" / "x"))


def test_a_file_read_before_needs_no_library(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {a: {image: i}}")
    program = (
        "import sys; from orchestrator.spec.load import *;"
        f"load(LoadOptions(cwd={str(tmp_path)!r}, cache_dir={str(tmp_path / 'c')!r}));"
        "print(*({'yaml', 'jsonschema', 'difflib', 'networkx'} & set(sys.modules)))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True,
                       check=True).stdout.split() for _ in range(2)
    ]  # fmt: skip
    assert runs == [["yaml"], []]


@pytest.mark.parametrize(
    ("word", "near"),
    [("imgae", "image"), ("evironment", "environment"), ("prots", "ports"), ("zzzz", None),
    ("", None)],
)
def test_a_suggestion(word: str, near: str | None) -> None:
    assert nearest_name(word, ["image", "environment", "ports"]) == near


def keys(node: object, path: tuple[str, ...], root: dict[str, object]) -> set[tuple[str, ...]]:
    """Paths of the keys a schema knows, alternatives and references followed."""
    found: set[tuple[str, ...]] = set()
    if not isinstance(node, dict) or len(path) > 9:
        return found
    reference = node.get("$ref")
    if isinstance(reference, str):
        definitions = root["$defs"]
        assert isinstance(definitions, dict)
        found |= keys(definitions[reference.rpartition("/")[2]], path, root)
    for key, child in node.get("properties", {}).items():
        found |= {(*path, key)} | keys(child, (*path, key), root)
    for key, child in node.get("patternProperties", {}).items():
        if key != "^x-":
            found |= keys(child, (*path, "*"), root)
    for key in ("items", "additionalProperties"):
        found |= keys(node.get(key), (*path, "[]") if key == "items" else (*path, "*"), root)
    for child in node.get("oneOf", ()):
        found |= keys(child, path, root)
    return found


@pytest.mark.skipif(not REFERENCE.exists(), reason="the published schema is not on this machine")
def test_the_schema_knows_every_key_of_the_published_one() -> None:
    published = json.loads(REFERENCE.read_text())
    ours = json.loads(Path(schema.schema_path()).read_text())
    known = keys(ours, (), ours)
    assert len(known) > 300
    assert keys(published, (), published) - known == set()
