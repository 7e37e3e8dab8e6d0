"""Our schema says of a document what the published one says, and our validator accepts what
jsonschema accepts by it.

The published schema is not part of the project; without it beside the checkout these tests are
skipped.  `make fuzz` makes many thousand documents.
"""

from __future__ import annotations

import copy
import functools
import json
import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.spec import schema, validator
from orchestrator.spec.node import Node
from tests.source_tree import ROOT
from tests.spec import documents
from tests.spec.documents import Schema

REFERENCE = ROOT.parent / "shared" / "reference" / "compose-spec.schema.json"
OURS: Schema = json.loads(Path(schema.schema_path()).read_text())
COMPILED = validator.compiled(OURS)
BY_OURS = jsonschema.Draft202012Validator(OURS)

DIFFERENT: dict[str, tuple[Any, str]] = {
    "a name of a network": (
        {"networks": {"a b": None}}, "is held to letters and digits as that of a volume is"),
    "a name of a model": (
        {"models": {"a b": {"model": "m"}}}, "is held to letters and digits as others are"),
    "a name of a used model": (
        {"services": {"s": {"models": {"a b": None}}}}, "is held to what a model may be called"),
    "a name of a limit": (
        {"services": {"s": {"ulimits": {"A": 1}}}}, "no limit has such a name"),
    "a name of an option": (
        {"networks": {"n": {"driver_opts": {"": "1"}}}}, "an option without a name means nothing"),
    "an unknown key of a GPU": (
        {"services": {"s": {"gpus": [{"x": 1}]}}}, "an unknown key is refused everywhere"),
    "an unknown key of external": (
        {"secrets": {"s": {"external": {"x": 1}}}}, "an unknown key is refused everywhere"),
}  # fmt: skip
"""What the published schema accepts and ours refuses on purpose: (the least document, why).  There
is nothing that ours accepts and the published one refuses."""

needs_reference = pytest.mark.skipif(
    not REFERENCE.exists(), reason="the published schema is not on this machine"
)


@functools.cache
def reference() -> tuple[Schema, jsonschema.Draft202012Validator]:
    published = json.loads(REFERENCE.read_text())
    return published, jsonschema.Draft202012Validator(published)


def node_of(value: Any) -> Node:
    if isinstance(value, dict):
        value = {key: node_of(child) for key, child in value.items()}
    elif isinstance(value, list):
        value = [node_of(child) for child in value]
    return Node(value, "f", 1, 1)


def faults(document: Any) -> list[schema.Fault]:
    root = node_of(document)
    return [schema.Fault(error, root) for error in BY_OURS.iter_errors(document)]


PUBLISHED_KEYS = frozenset({"name", "capabilities", "count", "device_ids", "driver", "options"})
"""Of `external` and of a GPU: these are never the unknown keys of the table."""


def odd_keys(fault: schema.Fault) -> set[str]:
    """The keys of the node at fault that the table says we refuse on purpose; empty: it is a fault
    of another kind."""
    path = fault.path
    if fault.keyword != "additionalProperties":
        return set()
    patterns = list(fault.source.get("patternProperties", ()))
    known = fault.source.get("properties", ())
    odd = {
        key for key in fault.node.entries
        if key not in known and not any(validator.searcher(pattern)(key) for pattern in patterns)
    }  # fmt: skip
    of_limits = patterns == ["^[a-z]+(?!\\n)$"]
    if path in (("networks",), ("models",)) or path[2:] == ("models",) or of_limits:
        return odd
    if path[2:3] == ("gpus",) or path[-1:] == ("external",):
        return set() if odd & PUBLISHED_KEYS else odd
    if path[-1:] in (("driver_opts",), ("options",)):
        return odd if odd <= {""} else set()
    return set()


def without_odd_keys(document: Any, found: list[schema.Fault]) -> Any:
    """The document without the keys of these faults."""
    document = copy.deepcopy(document)
    for fault in found:
        node = functools.reduce(operator.getitem, fault.path, document)
        for key in odd_keys(fault):
            node.pop(key, None)
    return document


def assert_same(document: Any) -> None:
    found = faults(document)
    if found and all(odd_keys(fault) for fault in found):
        document = without_odd_keys(document, found)  # the rest of it has to be the same to both
        found = faults(document)
    assert reference()[1].is_valid(document) == (not found), [
        (fault.path, fault.keyword) for fault in found
    ]


@needs_reference
@pytest.mark.parametrize("name", DIFFERENT)
def test_a_difference_on_purpose_still_exists(name: str) -> None:
    document, _ = DIFFERENT[name]
    found = faults(document)
    assert found
    assert all(odd_keys(fault) for fault in found)
    assert reference()[1].is_valid(document)


PROBES: tuple[Any, ...] = (
    None, True, 0, 3, -1, -1001, 101, 1001, 0.5, 1.0, "a", "", "all", "x y", {}, {"a": "b"},
    {"": "b"}, {"a": None}, {"a": {}}, {"a": True}, {"a": ["b"]}, {"x-a": 1}, {"Z": 1}, [], ["a"],
    ["a", "a"], [1], [1, 1.0], [None], [{}], [{"x-a": 1}], [["a"]],
)  # fmt: skip


def filled(node: Any, root: Schema, leaf: Any) -> Iterator[Any]:
    """The least values of this part of the schema, with `leaf` once at every place of it."""
    yield leaf
    for part in documents.alternatives(node, root):
        if part["type"] == "array":
            for value in filled(part.get("items", {}), root, leaf):
                yield [value]
        if part["type"] != "object":
            continue
        required = {key: _least(part["properties"][key], root) for key in part.get("required", ())}
        for key, child in part.get("properties", {}).items():
            for value in filled(child, root, leaf):
                yield {**required, key: value}
        for pattern, child in part.get("patternProperties", {}).items():
            if pattern != "^x-":
                for value in filled(child, root, leaf):
                    yield {"nofile" if pattern.startswith("^[a-z]+") else "n": value}


def _least(node: Any, root: Schema) -> Any:
    part = documents.alternatives(node, root)[0]
    if "enum" in part:
        return part["enum"][0]
    return {"string": "a", "integer": 1, "array": [], "object": {}, "null": None}[part["type"]]


@needs_reference
def test_every_kind_of_value_at_every_place_gets_the_same_verdict() -> None:
    published, _ = reference()
    checked = set()
    for probe in PROBES:
        for root in (published, OURS):
            for section, part in root["properties"].items():
                for value in filled(part, root, probe):
                    document = {section: value}
                    text = json.dumps(document, sort_keys=True)
                    if text not in checked:
                        checked.add(text)
                        assert_same(document)
        assert_same(probe)
        assert_same({"unknown": probe})
    assert len(checked) > 8000


def _either(schemas: list[Schema]) -> st.SearchStrategy[Any]:
    return st.one_of(*(documents.files(root) for root in schemas))


PUBLISHED = [json.loads(REFERENCE.read_text())] if REFERENCE.exists() else []
FILES = _either([OURS, *PUBLISHED])
NEARLY = FILES.flatmap(documents.mutated)


@needs_reference
@given(document=FILES | NEARLY)
def test_a_made_document_gets_the_same_verdict(document: Any) -> None:
    assert_same(document)


@given(document=FILES | NEARLY)
def test_our_validator_accepts_what_jsonschema_accepts(document: Any) -> None:
    theirs = jsonschema.Draft202012Validator(OURS).is_valid(document)
    assert COMPILED.accepts(node_of(document)) == theirs


def test_a_keyword_that_the_validator_does_not_read_is_told() -> None:
    with pytest.raises(ValueError, match="oneOf"):
        validator.compiled({"oneOf": []})
