"""From one shape of a value to another: list to mapping, text to list, name to object.

Each function leaves alone what it does not understand: the schema says what is wrong with it.
"""

from __future__ import annotations

from orchestrator.spec import values
from orchestrator.spec.node import Node


def made(node: Node, **entries: object) -> Node:
    """A mapping at the place of `node`; None is left out, nodes are taken as they are."""
    return node.copy({
        key: value if isinstance(value, Node) else node.copy(value)  # type: ignore[arg-type]
        for key, value in entries.items() if value is not None
    })  # fmt: skip


def pairs(node: Node) -> Node:
    """A mapping of text, from a mapping of scalars or a list of `NAME=VALUE`."""
    if isinstance(node.value, dict):
        return node.copy({key: _text(child) for key, child in node.value.items()})
    if not isinstance(node.value, list):
        return node
    entries: dict[str, Node] = {}
    for item in node.value:
        if not isinstance(item.value, str):
            return node
        name, equals, value = item.value.partition("=")
        entries[name] = item.valued(value if equals else None)
    return node.copy(entries)


def sequence(node: Node) -> Node:
    """A list of `NAME=VALUE`, sorted, from a mapping of scalars; a list of one from text."""
    if isinstance(node.value, str):
        return node.copy([node.copy(node.value)])
    if not isinstance(node.value, dict):
        return node
    if any(isinstance(child.value, dict | list) for child in node.value.values()):
        return node
    return node.copy([
        child.copy(key if child.value is None else f"{key}={values.format_scalar(child.value)}")
        for key, child in sorted(node.value.items())
    ])  # fmt: skip


def _text(node: Node) -> Node:
    value = node.value
    if value is None or isinstance(value, str | dict | list):
        return node
    return node.copy(values.format_scalar(value))


def texts(node: Node) -> Node:
    """Every scalar item of a list, or value of a mapping, as text."""
    if isinstance(node.value, dict):
        return node.copy({key: _text(child) for key, child in node.value.items()})
    return node.copy([_text(child) for child in node.items])


def whole_text(node: Node) -> Node:
    """A scalar that is no fraction, as text."""
    if isinstance(node.value, float):
        raise ValueError(f"{values.format_scalar(node.value)} is neither text nor whole")
    return _text(node)


def listed(node: Node) -> Node:
    """A list, from a list or one item."""
    return node.copy([node.copy(node.value)]) if isinstance(node.value, str) else node


def names(node: Node) -> Node:
    """A mapping from name to null, from a list of names."""
    if not isinstance(node.value, list):
        return node
    if not all(isinstance(item.value, str) for item in node.value):
        return node
    return node.copy({str(item.value): item.copy(None) for item in node.value})


def dependencies(node: Node) -> Node:
    """`depends_on` as a mapping with conditions, from a list of services."""
    if not isinstance(node.value, list):
        return node
    if not all(isinstance(item.value, str) for item in node.value):
        return node
    return node.copy({
        str(item.value): made(item, condition="service_started", required=True)
        for item in node.value
    })  # fmt: skip


def below(node: Node, key: str) -> Node:
    """A mapping with one key, from text."""
    return made(node, **{key: node.value}) if isinstance(node.value, str) else node


def hosts(node: Node) -> Node:
    """`extra_hosts` as a list of `HOST=ADDRESS`, from a mapping or a list."""
    if isinstance(node.value, dict):
        return node.copy([
            address.copy(f"{host}={address.value}")
            for host, child in node.value.items()
            for address in (child.value if isinstance(child.value, list) else [child])
        ])  # fmt: skip
    return node


def unique(nodes: list[Node], keys: list[object]) -> list[Node]:
    """The nodes once per key: a later one takes the place of the earlier."""
    found: dict[object, Node] = {}
    for key, node in zip(keys, nodes, strict=True):
        found[key] = node.over(found[key], "once in the list") if key in found else node
    return list(found.values())


def unique_texts(node: Node) -> Node:
    """A list of text once per text before `=`."""
    items = node.items
    return node.copy(unique(items, [str(item.value).partition("=")[0] for item in items]))
