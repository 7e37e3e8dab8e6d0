"""Documents made from a JSON Schema: some that it accepts, and some that are nearly so."""

from __future__ import annotations

import copy
import functools
import operator
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

Schema = dict[str, Any]
Place = tuple[str | int, ...]

TEXTS = st.sampled_from([
    "", "a", "b", "s", "1", "-1", "0", "80:80", "1-3:1-3", "./x:/y", "vol:/z:ro", "1g", "5s",
    "true", "no", "A=1", "A", "=", "h=1.1.1.1", "service:b", "$A", "${A:?x}", "a b 'c", "/abs", "~",
    "CMD", "10.0.0.0/8", "on-failure:3", "bridge", "tmpfs", "bind", "\0", "é", "9" * 21, "all",
    "every_5m", "missing", "${A:-${B:-c}}", "$$", "::1", "[::1]:80:80", "docker-image://x",
])  # fmt: skip
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXTS, "boolean": st.booleans(), "integer": st.integers(-3, 70000),
    "number": st.integers(-3, 70000) | st.floats(allow_nan=False, allow_infinity=False),
    "null": st.none(),
}  # fmt: skip
NAMES = st.sampled_from(["a", "b", "s", "default", "vol", "nofile"])
ODD_NAMES = st.sampled_from(["a b", "A", "x-y", "é", "name", "image", "0", "."])
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-2000, 2000), st.sampled_from([0.5, 1.0, 1e300]), TEXTS,
    st.just({}), st.just([]), st.just({"a": "b"}), st.just(["a", "a"]), st.just([1, 1.0]),
    st.just([{}]), st.just({"": 1}), st.just({"x-a": 1}), st.just([["a"]]),
).map(copy.deepcopy)  # fmt: skip  # what is drawn may be changed further


def resolved(node: Any, root: Schema) -> Any:
    """The part of a schema with its reference followed."""
    while isinstance(node, dict) and "$ref" in node:
        rest = {key: value for key, value in node.items() if key != "$ref"}
        node = {**root["$defs"][node["$ref"].rpartition("/")[2]], **rest}
    return node


def alternatives(node: Any, root: Schema) -> list[Schema]:
    """One schema for each shape that a value may have."""
    node = resolved(node, root)
    if not isinstance(node, dict):
        return [{"type": "string"}]
    if "oneOf" in node:
        return [found for part in node["oneOf"] for found in alternatives(part, root)]
    types = node.get("type", "string")
    return [{**node, "type": name} for name in ([types] if isinstance(types, str) else types)]


def shaped(node: Any, root: Schema, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values that this part of the schema accepts, but for repetitions and patterns."""
    if depth > 9:
        return TEXTS
    choices = [_of_type(part, root, depth) for part in alternatives(node, root)]
    return st.one_of(choices)


def _of_type(node: Schema, root: Schema, depth: int) -> st.SearchStrategy[Any]:
    if "enum" in node:
        return st.sampled_from(node["enum"])
    if node["type"] == "array":
        return st.lists(shaped(node.get("items"), root, depth + 1), max_size=3)
    if node["type"] != "object":
        return KINDS[node["type"]]
    known = {k: shaped(child, root, depth + 1) for k, child in node.get("properties", {}).items()}
    named = [part for key, part in node.get("patternProperties", {}).items() if key != "^x-"]
    if named or not known:
        part = named[0] if named else node.get("additionalProperties")
        return st.dictionaries(NAMES, shaped(part, root, depth + 1), max_size=2)
    required = {key: known.pop(key) for key in node.get("required", ())}
    if not known:
        return st.fixed_dictionaries(required)
    chosen = st.lists(st.sampled_from(sorted(known)), max_size=5, unique=True)
    return chosen.flatmap(
        lambda keys: st.fixed_dictionaries({**required, **{key: known[key] for key in keys}})
    )


def files(root: Schema) -> st.SearchStrategy[dict[str, Any]]:
    """Whole Compose files."""
    sections = root["properties"]
    return st.fixed_dictionaries(
        {"services": shaped(sections["services"], root)},
        optional={key: shaped(sections[key], root) for key in sections if key != "services"},
    )


def places(value: Any, path: Place = ()) -> Iterator[Place]:
    """The path of every value below this one."""
    if isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        for key, child in entries:
            yield (*path, key)
            yield from places(child, (*path, key))


@st.composite
def mutated(draw: st.DrawFn, document: Any) -> Any:
    """The document with up to four values replaced, added, renamed, repeated or taken away."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 4))):
        found = list(places(document))
        if found:
            _mutate(draw, document, draw(st.sampled_from(found)))
    return document


def _mutate(draw: st.DrawFn, document: Any, path: Place) -> None:
    parent = functools.reduce(operator.getitem, path[:-1], document)
    last: Any = path[-1]
    how = draw(st.sampled_from(["replace", "remove", "add", "rename", "repeat"]))
    if how == "replace":
        parent[last] = draw(JUNK)
    elif how == "remove":
        del parent[last]
    elif isinstance(parent, list):
        parent.append(copy.deepcopy(parent[last]) if how == "repeat" else draw(JUNK))
    elif how == "rename":
        parent[draw(ODD_NAMES)] = parent.pop(last)
    else:
        parent[draw(ODD_NAMES)] = draw(JUNK)
