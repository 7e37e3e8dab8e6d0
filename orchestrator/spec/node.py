"""Node: a value of the tree together with the place where it was written.

The phases hand nodes on, so a value keeps its place through merging and rewriting.  A node of a
mapping entry is placed at its key, a node of a list at its item.  Knows nothing of Compose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from orchestrator.spec.tree import Mark, Path, Tree

Scalar = str | int | float | bool | None
Value = dict[str, "Node"] | list["Node"] | Scalar

RESET = "!reset"
OVERRIDE = "!override"


class Node:
    """A plain class, not a dataclass: some thousands are made on every start."""

    __slots__ = ("column", "file", "line", "tag", "value")

    def __init__(self, value: Value, file: str, line: int, column: int, tag: str = "") -> None:
        self.value = value
        self.file = file
        self.line = line
        self.column = column
        self.tag = tag

    def __repr__(self) -> str:
        return f"Node({plain(self)!r}, {self.file}:{self.line}:{self.column})"

    @property
    def entries(self) -> dict[str, Node]:
        """The entries of a mapping; none for everything else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list[Node]:
        """The items of a list; none for everything else."""
        return self.value if isinstance(self.value, list) else []

    @property
    def mark(self) -> Mark:
        return Mark(self.file, self.line, self.column)

    def get(self, *keys: str) -> Node | None:
        """The node below, by the keys of nested mappings."""
        node: Node | None = self
        for key in keys:
            if node is None or not isinstance(node.value, dict):
                return None
            node = node.value.get(key)
        return node

    def copy(self, value: Value) -> Node:
        """Another value at the same place, without the tag."""
        return Node(value, self.file, self.line, self.column)

    def valued(self, value: Value) -> Node:
        """The value of a `NAME=VALUE` that this node is, at the same place."""
        return self.copy(value)

    def over(self, beaten: Node, rule: str = "") -> Node:
        """This node in the place of `beaten`, by `rule` ("": the later file wins).  Only a node of
        `provenance` remembers it."""
        return self


def plain(node: Node) -> Tree:
    """The value without places."""
    value = node.value
    if isinstance(value, dict):
        return {key: plain(child) for key, child in value.items()}
    if isinstance(value, list):
        return [plain(child) for child in value]
    return value


def walked(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    waiting = [node]
    while waiting:
        found = waiting.pop()
        yield found
        if isinstance(found.value, dict):
            waiting.extend(found.value.values())
        elif isinstance(found.value, list):
            waiting.extend(found.value)


def find(node: Node, path: Path) -> Node | None:
    """The node at exactly this path."""
    found: Node | None = node
    for part in path:
        if found is None:
            return None
        if isinstance(found.value, dict):
            found = found.value.get(str(part))
        elif isinstance(found.value, list) and isinstance(part, int):
            found = found.value[part] if -1 < part < len(found.value) else None
        else:
            return None
    return found


class NodeMarks(Mapping[Path, Mark]):
    """The places of a tree as a mapping from path to mark; looked up when asked, never listed."""

    __slots__ = ("_root",)

    def __init__(self, root: Node) -> None:
        self._root = root

    def __getitem__(self, path: Path) -> Mark:
        node = find(self._root, path)
        if node is None or not node.line:
            raise KeyError(path)
        return node.mark

    def __iter__(self) -> Iterator[Path]:
        return _paths(self._root, ())

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _paths(node: Node, path: Path) -> Iterator[Path]:
    if node.line:
        yield path
    for key, child in node.entries.items():
        yield from _paths(child, (*path, key))
    for index, child in enumerate(node.items):
        yield from _paths(child, (*path, index))
