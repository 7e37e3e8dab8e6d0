"""The tags `!reset` and `!override`: what a document takes away from everything said before it.

A list's item cannot take anything away: tagged `!reset` it is simply not there.  Pure.
"""

from __future__ import annotations

from orchestrator.spec.node import RESET, Node
from orchestrator.spec.tree import Path


def resets(document: Node) -> list[Path]:
    """The paths of all tagged values outside of lists."""
    found: list[Path] = []
    _collect(document, (), found)
    return found


def _collect(node: Node, path: Path, found: list[Path]) -> None:
    for key, child in node.entries.items():
        if child.tag:
            found.append((*path, key))
        if isinstance(child.value, dict):
            _collect(child, (*path, key), found)


def untagged(node: Node) -> Node:
    """The document without the values tagged `!reset`, and without tags."""
    value = node.value
    if isinstance(value, dict):
        return node.copy({
            key: untagged(child) for key, child in value.items() if child.tag != RESET
        })  # fmt: skip
    if isinstance(value, list):
        return node.copy([untagged(child) for child in value if child.tag != RESET])
    return node.copy(value) if node.tag else node


def is_tagged(node: Node) -> bool:
    """Whether a tag is anywhere below."""
    if node.tag:
        return True
    value = node.value
    if isinstance(value, dict):
        return any(is_tagged(child) for child in value.values())
    return isinstance(value, list) and any(is_tagged(child) for child in value)


def without(tree: Node, paths: list[Path]) -> Node:
    """The tree with nothing at these paths."""
    for path in paths:
        tree = _without(tree, path)
    return tree


def _without(node: Node, path: Path) -> Node:
    key = str(path[0])
    child = node.entries.get(key)
    if child is None:
        return node
    if len(path) == 1:
        return node.copy({k: v for k, v in node.entries.items() if k != key})
    changed = _without(child, path[1:])
    return node if changed is child else node.copy({**node.entries, key: changed})
