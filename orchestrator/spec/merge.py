"""Two trees into one: the later file over the earlier.

Mappings merge key by key, lists append, scalars and everything of different kind are replaced, a
null leaves what was.  The exceptions are the tables below.  Works on trees in any mixture of
short and long forms; `canonical` settles those and what may be there only once.
"""

from __future__ import annotations

from orchestrator.spec import shapes
from orchestrator.spec.node import OVERRIDE, RESET, Node
from orchestrator.spec.tree import Path

_REPLACED = frozenset({("command",), ("entrypoint",), ("healthcheck", "test")})
_PAIRS = frozenset({
    ("annotations",), ("environment",), ("labels",), ("sysctls",), ("build", "args"),
    ("build", "labels"), ("build", "additional_contexts"), ("deploy", "labels"),
})  # fmt: skip
_LISTS = frozenset({("dns",), ("dns_search",), ("env_file",), ("label_file",), ("tmpfs",)})
_NAMES = frozenset({("networks",), ("models",)})


def merge(base: Node | None, other: Node) -> Node:
    """`other` over `base`; with no base, `other` with its `!reset` values left out."""
    if base is None:
        return without_resets(other)
    return _merged(base, other, ())


def without_resets(node: Node) -> Node:
    """The node with every value tagged `!reset` removed and `!override` tags dropped."""
    if isinstance(node.value, dict):
        return node.copy({
            key: without_resets(child) for key, child in node.value.items() if child.tag != RESET
        })  # fmt: skip
    if isinstance(node.value, list):
        return node.copy([without_resets(child) for child in node.value if child.tag != RESET])
    return node.copy(node.value) if node.tag else node


def _merged(base: Node, other: Node, path: Path) -> Node:
    if other.tag == OVERRIDE:
        return without_resets(other).over(base, OVERRIDE)
    inner = path[2:] if path[:1] == ("services",) else None
    if inner in _REPLACED:
        return without_resets(other).over(base, "replaced as a whole")
    if other.value is None:
        return base.over(other, "null leaves what was")
    if inner is not None:
        if inner == ("logging",) and _other_driver(base, other):
            return without_resets(other).over(base, "another driver replaces all options")
        if len(inner) == 2 and inner[0] == "ulimits":
            return without_resets(other).over(base, "replaced as a whole")
        if inner in _PAIRS:
            return _pairs(base, other)
        base, other = _alike(base, other, inner)
    elif path[2:] == ("labels",) or path[2:] == ("ipam", "config"):
        if path[-1] == "config":
            return _pools(base, other)
        return _pairs(base, other)
    return _joined(base, other, path)


def _pairs(base: Node, other: Node) -> Node:
    """Variables and labels: each is replaced as a whole, also by one without a value."""
    one, two = shapes.pairs(base), shapes.pairs(other)
    if not isinstance(one.value, dict) or not isinstance(two.value, dict):
        return without_resets(other).over(base)
    kept = {key: node for key, node in one.value.items() if key not in two.value}
    later = {
        key: node.over(one.value[key]) if key in one.value else node
        for key, node in without_resets(two).entries.items()
    }
    return two.copy({**kept, **later})


def _joined(base: Node, other: Node, path: Path) -> Node:
    if isinstance(base.value, dict) and isinstance(other.value, dict):
        return _mappings(base.value, other, path)
    if isinstance(base.value, list) and isinstance(other.value, list):
        return base.copy(base.value + [without_resets(n) for n in other.value if n.tag != RESET])
    return without_resets(other).over(base)


def _mappings(base: dict[str, Node], other: Node, path: Path) -> Node:
    merged = dict(base)
    for key, child in other.entries.items():
        if child.tag == RESET:
            merged.pop(key, None)
        elif key in merged:
            merged[key] = _merged(merged[key], child, (*path, key))
        else:
            merged[key] = without_resets(child)
    return other.copy(merged)


def _alike(base: Node, other: Node, inner: Path) -> tuple[Node, Node]:
    """Both sides in the same form where one attribute has several."""
    if inner in _LISTS:
        return shapes.listed(base), shapes.listed(other)
    if inner in _NAMES:
        return shapes.names(base), shapes.names(other)
    if inner == ("depends_on",):
        return shapes.dependencies(base), shapes.dependencies(other)
    if inner in (("extra_hosts",), ("build", "extra_hosts")):
        return _hosts(base, other)
    if inner == ("build",):
        return shapes.below(base, "context"), shapes.below(other, "context")
    return base, other


def _hosts(base: Node, other: Node) -> tuple[Node, Node]:
    base, other = shapes.hosts(base), shapes.hosts(other)
    known = {node.value for node in base.items}
    if isinstance(other.value, list):
        other = other.copy([node for node in other.value if node.value not in known])
    return base, other


def _other_driver(base: Node, other: Node) -> bool:
    before, after = base.get("driver"), other.get("driver")
    return before is not None and after is not None and before.value != after.value


def _pools(base: Node, other: Node) -> Node:
    """`ipam.config` by subnet: what the later file does not repeat is gone."""
    known = {_subnet(node): node for node in base.items}
    if not isinstance(other.value, list):
        return without_resets(other)
    return other.copy([
        _joined(known[_subnet(node)], node, ()) if _subnet(node) in known else node
        for node in other.value
    ])  # fmt: skip


def _subnet(node: Node) -> str:
    subnet = node.get("subnet")
    return str(subnet.value) if subnet else ""
