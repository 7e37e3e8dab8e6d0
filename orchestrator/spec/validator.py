"""A JSON Schema made ready to check nodes: every fault with its node and its path.

Reads the part of JSON Schema 2020-12 that our schema is written in (its tests compare with
jsonschema): `type`, `enum`, `pattern`, `minimum`, `maximum`, `required`, `properties`,
`patternProperties`, `additionalProperties: false`, `items`, `uniqueItems`, `$ref` to `$defs`.
A general validator costs 90 ms to import and a millisecond for each service.  Knows nothing of
Compose; words for people are `schema`'s affair.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from orchestrator.spec.node import Node, plain
from orchestrator.spec.tree import Path

Source = dict[str, Any]
"""A part of a JSON Schema as JSON has it."""

_KINDS: dict[str, frozenset[type]] = {
    "string": frozenset({str}), "boolean": frozenset({bool}), "integer": frozenset({int}),
    "number": frozenset({int, float}), "null": frozenset({type(None)}),
    "object": frozenset({dict}), "array": frozenset({list}),
}  # fmt: skip
_KEYWORDS = frozenset({
    "$ref", "$defs", "$schema", "$comment", "title", "description", "version", "type", "enum",
    "pattern", "minimum", "maximum", "required", "properties", "patternProperties",
    "additionalProperties", "items", "uniqueItems", "repeats",
})  # fmt: skip


class Fault:
    """`keyword` of `source` is broken by `node`; `path` is filled in from the inside out."""

    __slots__ = ("_reversed", "keyword", "node", "source")

    def __init__(self, keyword: str, source: Source, node: Node) -> None:
        self.keyword = keyword
        self.source = source
        self.node = node
        self._reversed: list[str | int] = []

    @property
    def path(self) -> Path:
        return tuple(reversed(self._reversed))

    def below(self, part: str | int) -> None:
        self._reversed.append(part)


class Shape:
    """One part of the schema, compiled; the parts below it are compiled when first met."""

    __slots__ = (
        "_compile", "_enum", "_free", "_items", "_kinds", "_maximum", "_minimum", "_patterns",
        "_properties", "_required", "_search", "_unique", "_whole", "simple", "source",
    )  # fmt: skip

    def __init__(self, source: Source, compile_part: Callable[[Source], Shape]) -> None:
        unknown = source.keys() - _KEYWORDS
        if unknown:
            raise ValueError(f"keywords of JSON Schema that are not read: {sorted(unknown)}")
        self.source = source
        self._compile = compile_part
        types = source.get("type", ())
        names = [types] if isinstance(types, str) else types
        self._kinds = frozenset[type]().union(*(_KINDS[name] for name in names))
        self._whole = "integer" in names and "number" not in names
        self._enum = source.get("enum")
        self._search = searcher(source["pattern"]) if "pattern" in source else None
        self._minimum, self._maximum = source.get("minimum"), source.get("maximum")
        self._required: list[str] = source.get("required", [])
        self._properties: dict[str, Shape | None] = dict.fromkeys(source.get("properties", ()))
        self._patterns = [
            (searcher(pattern), None if part is True else compile_part(part))
            for pattern, part in source.get("patternProperties", {}).items()
        ]
        self._free = source.get("additionalProperties", True)
        self._items: Shape | None = None
        self._unique = source.get("uniqueItems", False) and source.get("repeats") != "dropped"
        scalar_rules = (self._enum, self._search, self._minimum, self._maximum)
        is_simple = scalar_rules == (None,) * 4
        self.simple = self._kinds - {dict, list} if is_simple else frozenset[type]()
        """Kinds of value about which nothing else is asked."""

    def check(self, node: Node, faults: list[Fault]) -> None:
        """Adds every fault of the node and of what is below it."""
        value = node.value
        kind = type(value)
        if self._kinds and kind not in self._kinds and not (
            self._whole and isinstance(value, float) and value.is_integer()
        ):  # fmt: skip
            faults.append(Fault("type", self.source, node))
        elif self._enum is not None and value not in self._enum:
            faults.append(Fault("enum", self.source, node))
        elif isinstance(value, dict):
            self._mapping(node, value, faults)
        elif isinstance(value, list):
            self._list(node, value, faults)
        elif isinstance(value, str):
            if self._search is not None and not self._search(value):
                faults.append(Fault("pattern", self.source, node))
        elif isinstance(value, int | float) and kind is not bool:
            self._number(node, value, faults)

    def _number(self, node: Node, value: float, faults: list[Fault]) -> None:
        if self._minimum is not None and value < self._minimum:
            faults.append(Fault("minimum", self.source, node))
        if self._maximum is not None and value > self._maximum:
            faults.append(Fault("maximum", self.source, node))

    def _mapping(self, node: Node, value: dict[str, Node], faults: list[Fault]) -> None:
        properties = self._properties
        is_unknown = False
        for key, child in value.items():
            if key in properties:
                shape = properties[key]
                if shape is None:
                    shape = properties[key] = self._compile(self.source["properties"][key])
                if type(child.value) not in shape.simple:
                    shape._below(key, child, faults)
            elif not self._matched(key, child, faults):
                is_unknown = True
        if is_unknown and self._free is False:
            faults.append(Fault("additionalProperties", self.source, node))
        for key in self._required:
            if key not in value:
                faults.append(Fault("required", self.source, node))
                break

    def _matched(self, key: str, child: Node, faults: list[Fault]) -> bool:
        """Checks a key that only patterns can know; whether one of them does."""
        is_known = False
        for search, shape in self._patterns:
            if search(key):
                is_known = True
                if shape is not None and type(child.value) not in shape.simple:
                    shape._below(key, child, faults)
        return is_known

    def _list(self, node: Node, value: list[Node], faults: list[Fault]) -> None:
        if self._items is None and "items" in self.source:
            self._items = self._compile(self.source["items"])
        shape = self._items
        if shape is not None:
            for index, child in enumerate(value):
                if type(child.value) not in shape.simple:
                    shape._below(index, child, faults)
        if self._unique and len({repr(comparable(child)) for child in value}) < len(value):
            faults.append(Fault("uniqueItems", self.source, node))

    def _below(self, part: str | int, child: Node, faults: list[Fault]) -> None:
        before = len(faults)
        self.check(child, faults)
        for fault in faults[before:]:
            fault.below(part)


def compiled(schema: Source) -> Shape:
    """The whole schema, ready to check.  Raises ValueError for a keyword that is not read."""
    definitions: Source = schema.get("$defs", {})
    known: dict[int, Shape] = {}

    def compile_part(source: Source) -> Shape:
        shape = known.get(id(source))
        if shape is None:
            shape = known[id(source)] = Shape(_resolved(source, definitions), compile_part)
        return shape

    return compile_part(schema)


def _resolved(source: Source, definitions: Source) -> Source:
    """The part with what it refers to, and beside it what it says itself."""
    reference = source.get("$ref")
    if reference is None:
        return source
    target = _resolved(definitions[reference.removeprefix("#/$defs/")], definitions)
    return {**target, **{key: value for key, value in source.items() if key != "$ref"}}


@functools.cache
def searcher(pattern: str) -> Callable[[str], object]:
    """The pattern's search; here `$` is the very end, as in other languages."""
    if pattern.endswith("$"):
        pattern = pattern[:-1] + r"\Z"
    return re.compile(pattern).search


def comparable(node: Node) -> object:
    """A value whose `repr` is that of every equal one: 1 is 1.0, not true; keys have no order."""
    return _comparable(plain(node))


def _comparable(value: Any) -> object:
    if isinstance(value, dict):
        return {key: _comparable(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
