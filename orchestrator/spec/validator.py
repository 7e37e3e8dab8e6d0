"""A JSON Schema made ready to accept nodes quickly: yes or no, nothing more.

What is wrong with a tree that is not accepted is found by jsonschema, which costs 90 ms to import
and a millisecond for each service; most trees are right.  Reads the part of JSON Schema 2020-12
that our schema is written in (its tests compare with jsonschema): `type`, `enum`, `pattern`,
`minimum`, `maximum`, `required`, `properties`, `patternProperties`, `additionalProperties: false`,
`items`, `uniqueItems`, `$ref` to `$defs`.  Knows nothing of Compose.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from orchestrator.spec.node import Node, plain

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
    "additionalProperties", "items", "uniqueItems",
})  # fmt: skip


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
        self._unique = source.get("uniqueItems", False)
        scalar_rules = (self._enum, self._search, self._minimum, self._maximum)
        is_simple = scalar_rules == (None,) * 4
        self.simple = self._kinds - {dict, list} if is_simple else frozenset[type]()
        """Kinds of value about which nothing else is asked."""

    def accepts(self, node: Node) -> bool:
        """Whether the node and all that is below it are as the schema wants them."""
        value = node.value
        kind = type(value)
        if self._kinds and kind not in self._kinds and not (
            self._whole and isinstance(value, float) and value.is_integer()
        ):  # fmt: skip
            return False
        if self._enum is not None and value not in self._enum:
            return False
        if isinstance(value, dict):
            return self._accepts_mapping(value)
        if isinstance(value, list):
            return self._accepts_list(value)
        if isinstance(value, str):
            return self._search is None or bool(self._search(value))
        if isinstance(value, int | float) and kind is not bool:
            return (self._minimum is None or value >= self._minimum) and (
                self._maximum is None or value <= self._maximum
            )
        return True

    def _accepts_mapping(self, value: dict[str, Node]) -> bool:
        properties = self._properties
        for key, child in value.items():
            if key not in properties:
                if not self._accepts_named(key, child):
                    return False
                continue
            shape = properties[key]
            if shape is None:
                shape = properties[key] = self._compile(self.source["properties"][key])
            if type(child.value) not in shape.simple and not shape.accepts(child):
                return False
        return all(key in value for key in self._required)

    def _accepts_named(self, key: str, child: Node) -> bool:
        """A key that only patterns can know."""
        is_known = self._free is not False
        for search, shape in self._patterns:
            if not search(key):
                continue
            is_known = True
            if not (shape is None or type(child.value) in shape.simple or shape.accepts(child)):
                return False
        return is_known

    def _accepts_list(self, value: list[Node]) -> bool:
        if self._items is None and "items" in self.source:
            self._items = self._compile(self.source["items"])
        shape = self._items
        if shape is not None:
            for child in value:
                if type(child.value) not in shape.simple and not shape.accepts(child):
                    return False
        return not self._unique or len({repr(comparable(c)) for c in value}) == len(value)


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
    """The pattern's search, as jsonschema does it."""
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
