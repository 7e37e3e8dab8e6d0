"""Reasons, key by key, with places, without secrets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.plan.explain import explain, explain_trees
from orchestrator.spec import hashing
from orchestrator.spec.model import Healthcheck, Port, Service
from orchestrator.spec.tree import Mark
from tests.plan.world import project, service

WEB = service("web", command=("serve", "--fast"), environment={"LOG_LEVEL": "info", "A": "1"})


def changes(**changed: Any) -> list[str]:
    new = replace(WEB, **changed)
    marks = {
        ("services", "web"): Mark("/srv/p/compose.yaml", 3, 3),
        ("services", "web", "environment", "LOG_LEVEL"): Mark("/srv/p/compose.yaml", 14, 7),
    }
    wish = project(new, marks=marks)
    return explain(hashing.config_tree(WEB), hashing.config_tree(new), wish, "web")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"environment": {"LOG_LEVEL": "debug", "A": "1"}},
         ['environment.LOG_LEVEL "info" -> "debug" (compose.yaml:14)']),
        ({"environment": {"A": "1"}},
         ['environment.LOG_LEVEL removed, was "info" (compose.yaml:14)']),
        ({"environment": {}},
         ['environment.A removed, was "1" (compose.yaml:3)',
          'environment.LOG_LEVEL removed, was "info" (compose.yaml:14)']),
        ({"labels": {"x": "y"}}, ['labels.x added "y" (compose.yaml:3)']),
        ({"image": "other:2"}, ['image "img" -> "other:2" (compose.yaml:3)']),
        ({"command": ("serve", "--slow")},
         ['command "serve --fast" -> "serve --slow" (compose.yaml:3)']),
        ({"command": None}, ['command removed, was "serve --fast" (compose.yaml:3)']),
        ({"read_only": True}, ["read_only added true (compose.yaml:3)"]),
        ({"ports": (Port(target=80, published="8080"),)},
         ['ports added {"published": "8080", "target": 80} (compose.yaml:3)']),
        ({"healthcheck": Healthcheck(test=("CMD", "true"))},
         ['healthcheck.test added "CMD true" (compose.yaml:3)']),
        ({}, []),
    ],
)  # fmt: skip
def test_a_change_is_told(changed: dict[str, Any], said: list[str]) -> None:
    assert changes(**changed) == said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"ports": [{"target": 1, "published": "80"}]},
         {"ports": [{"target": 1, "published": "81"}]},
         ['ports.0.published "80" -> "81"']),
        ({"dns": ["a", "b"]}, {"dns": ["b", "a"]}, ["dns in another order"]),
        ({"dns": ["a", "b", "c"]}, {"dns": ["b", "d"]},
         ['dns removed "a"', 'dns removed "c"', 'dns added "d"']),
        ({"dns": ["a", "a"]}, {"dns": ["a"]}, ['dns removed "a"']),
        ({"x": True}, {"x": 1}, ["x true -> 1"]),
        ({"x": (1, 2)}, {"x": [1, 2]}, []),
        ({"healthcheck": {"test": ["CMD", "a"]}}, {"healthcheck": {"test": ["CMD", "b"]}},
         ['healthcheck.test "CMD a" -> "CMD b"']),
        ({"x": {"a": 1}}, {"x": [1]}, ['x {"a": 1} -> [1]']),
    ],
)  # fmt: skip
def test_trees_are_compared_entry_by_entry(
    old: dict[str, Any], new: dict[str, Any], said: list[str]
) -> None:
    assert explain_trees(old, new, where=lambda *path: "") == said


@pytest.mark.parametrize(
    "key", ["DB_PASSWORD", "secretKey", "API_TOKEN", "SSH_KEY", "passwd", "AWS_CREDENTIALS"]
)
def test_a_secret_is_never_shown(key: str) -> None:
    (said,) = changes(environment={**WEB.environment, key: "hunter2"})
    assert said == f'environment.{key} added "***" (compose.yaml:3)'


@pytest.mark.parametrize(
    "value",
    [
        "postgres://u:hunter2@db/x",
        "--password=hunter2 -v",
        "API_TOKEN=hunter2;b",
        "secret: hunter2",
    ],
)
def test_a_secret_inside_a_value_is_never_shown(value: str) -> None:
    (said,) = changes(labels={"x": value})
    assert "hunter2" not in said
    assert "***" in said


def test_a_long_value_is_shortened() -> None:
    (said,) = changes(labels={"x": "a" * 500 + "b" * 500})
    assert len(said) < 120
    assert "aaa…bbb" in said


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
trees = st.dictionaries(st.sampled_from(["a", "command", "test", "b"]), values)


@given(trees)
def test_the_same_tree_has_no_reason(tree: dict[str, Any]) -> None:
    assert explain_trees(tree, tree, where=lambda *path: "") == []


@given(trees, trees)
def test_different_trees_have_one(old: dict[str, Any], new: dict[str, Any]) -> None:
    said = explain_trees(old, new, where=lambda *path: "")
    assert bool(said) == (hashing.config_hash(old) != hashing.config_hash(new))


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ({}, {"a": {"": []}}, "a. added []"),
        ({"a": {}}, {}, "a removed, was {}"),
        ({"a": None}, {"a": []}, "a null -> []"),
        ({"a": {"b": 1}}, {"a": {"b": True}}, "a.b 1 -> true"),
    ],
)
def test_what_hardly_differs_is_told_too(
    old: dict[str, Any], new: dict[str, Any], text: str
) -> None:
    assert explain_trees(old, new, where=lambda *path: "") == [text]


def test_a_fresh_service_and_its_stored_tree_are_the_same() -> None:
    import json

    made: Service = replace(WEB, ports=(Port(target=1),), tmpfs=("/a", "/b"))
    stored = json.loads(json.dumps(hashing.config_tree(made)))
    assert explain(stored, hashing.config_tree(made), project(made), "web") == []
