"""Where a value of the finished tree comes from, and what it won against: for `config --explain`.

A traced load builds its trees of `Traced` nodes.  They go through the same phases as plain ones and
remember what they were written as, in which role their file was read and whom they replaced.  The
ordinary load makes plain nodes, which remember nothing and pay nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from orchestrator.spec.dotenv import Entry
from orchestrator.spec.node import Node, Value
from orchestrator.spec.tree import Path

Role = Literal["file", "include", "extends", "env_file"]
"""How a file came to be read; `file` is -f, COMPOSE_FILE or found."""


class Layer:
    """One document, or one env file, of those a project is made of."""

    __slots__ = ("file", "number", "role", "variables")

    def __init__(self, file: str, number: int, role: Role) -> None:
        self.file = file
        self.number = number
        """Counts the documents of all files in the order they were read."""
        self.role = role
        self.variables: Mapping[str, str] = {}
        """What its templates saw."""


class Beaten:
    """A node that is not in the finished tree, and the rule it lost by ("" is the usual one)."""

    __slots__ = ("node", "rule")

    def __init__(self, node: Node, rule: str) -> None:
        self.node = node
        self.rule = rule


class Traced(Node):
    """A node that knows its past; `copy` hands the past on."""

    __slots__ = ("beaten", "layer", "path", "written")

    def __init__(
        self, value: Value, file: str, line: int, column: int, tag: str = "", *, layer: Layer,
        path: Path = (), written: Value = None,
    ) -> None:  # fmt: skip
        super().__init__(value, file, line, column, tag)
        self.layer = layer
        self.path = path
        """Where in its document it was written."""
        self.written = written
        """The scalar before variables were replaced."""
        self.beaten: tuple[Beaten, ...] = ()
        """Oldest first."""

    def copy(self, value: Value) -> Traced:
        node = Traced(value, self.file, self.line, self.column, layer=self.layer, path=self.path,
                      written=self.written)  # fmt: skip
        node.beaten = self.beaten
        return node

    def valued(self, value: Value) -> Traced:
        node = self.copy(value)
        node.beaten = tuple(
            Beaten(lost.node.valued(lost.node.value.partition("=")[2]), lost.rule)
            if isinstance(lost.node.value, str) and "=" in lost.node.value else lost
            for lost in self.beaten
        )  # fmt: skip
        return node

    def over(self, beaten: Node, rule: str = "") -> Traced:
        node = self.copy(self.value)
        node.tag = self.tag
        before = beaten.beaten if isinstance(beaten, Traced) else ()
        node.beaten = (*before, Beaten(beaten, rule), *self.beaten)
        return node


class Trace:
    """Gathers the layers of one load."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self._read: dict[tuple[str, str], tuple[str, int]] = {}

    def variables(self, file: str, entries: Iterable[Entry]) -> None:
        """What a file gave to the variables of templates; called again, a later file wins."""
        for entry in entries:
            self._read[entry.name, str(entry.value)] = (file, entry.line)

    def origin(self, name: str, value: str) -> tuple[str, int] | None:
        """(file, line) that gave the variable this value; None: no file did."""
        return self._read.get((name, value))

    def documents(self, found: list[Node], role: Role) -> list[Node]:
        """The documents of a file as traced trees."""
        return [traced(node, self._layer(node.file, role), ()) for node in found]

    def interpolated(self, root: Node, variables: Mapping[str, str]) -> None:
        """Variables are about to be replaced in the document `root`."""
        if isinstance(root, Traced):
            root.layer.variables = variables

    def entry(self, node: Node) -> Node:
        """A variable of an env file."""
        if not self.layers or self.layers[-1].file != node.file:
            self._layer(node.file, "env_file")
        return traced(node, self.layers[-1], ())

    def _layer(self, file: str, role: Role) -> Layer:
        layer = Layer(file, len(self.layers), role)
        self.layers.append(layer)
        return layer


def traced(node: Node, layer: Layer, path: Path) -> Traced:
    """The tree with a past that begins here."""
    value = node.value
    made = Traced(value, node.file, node.line, node.column, node.tag, layer=layer, path=path,
                  written=value)  # fmt: skip
    if isinstance(value, dict):
        made.value = {key: traced(child, layer, (*path, key)) for key, child in value.items()}
    elif isinstance(value, list):
        made.value = [traced(child, layer, (*path, i)) for i, child in enumerate(value)]
    return made
