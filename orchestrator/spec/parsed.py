"""Documents parsed before, kept by the hash of their bytes: a file that has not changed needs no
YAML library (10 ms to import) and no parsing.  A cache that cannot be read or written is no error.
"""

from __future__ import annotations

import marshal
import sys
from typing import Any

from orchestrator.spec import cache, yaml
from orchestrator.spec.node import Node

VERSION = 2
"""Raise it when the parser reads a text in another way."""

LARGEST = 1 << 20
"""Bytes of a kept entry; what expands beyond that is parsed each time."""

Packed = tuple[Any, int, int, str]
"""(value, line, column, tag); the value of a mapping or list holds packed nodes."""


def documents(data: bytes, *, file: str, shown: str, cache_dir: str | None) -> list[Node]:
    """As `yaml.documents`, which see; remembers what it has read."""
    if cache_dir is None:
        return yaml.documents(data, file=file, shown=shown)
    path = cache.entry(cache_dir, "parsed", b"%d %d " % (VERSION, sys.hexversion) + data)
    known = _remembered(path, file)
    if known is not None:
        return known
    found = yaml.documents(data, file=file, shown=shown)
    content = marshal.dumps([_packed(node) for node in found])
    if len(content) <= LARGEST:
        cache.write(path, content)
    return found


def _remembered(path: str, file: str) -> list[Node] | None:
    content = cache.read(path)
    if content is None:
        return None
    try:
        return [_unpacked(packed, file) for packed in marshal.loads(content)]
    except (EOFError, ValueError, TypeError):
        return None


def _packed(node: Node) -> Packed:
    value: Any = node.value
    if isinstance(value, dict):
        value = {key: _packed(child) for key, child in value.items()}
    elif isinstance(value, list):
        value = [_packed(child) for child in value]
    return value, node.line, node.column, node.tag


def _unpacked(packed: Packed, file: str) -> Node:
    value, line, column, tag = packed
    if isinstance(value, dict):
        value = {key: _unpacked(child, file) for key, child in value.items()}
    elif isinstance(value, list):
        value = [_unpacked(child, file) for child in value]
    return Node(value, file, line, column, tag)
