"""Two trees into one: the later file over the earlier.

Mappings merge key by key, lists append, a null leaves what was, everything else is replaced; a list
or mapping cannot be replaced by something of another kind.  The exceptions are the tables below.
Works on trees in any mixture of short and long forms; `canonical` settles those, `unicity` what
may be there only once.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from orchestrator.spec import shapes
from orchestrator.spec.node import Node
from orchestrator.spec.report import Report
from orchestrator.spec.tree import Path, dotted


def merge(base: Node | None, other: Node, report: Report) -> Node:
    """`other` over `base`; what cannot be merged goes into the report."""
    return other if base is None else _Merge(report).merged(base, other, ())


def merge_services(base: Node, other: Node, name: str, report: Report) -> Node:
    """The same for the service `name` over the one it extends."""
    return _Merge(report).merged(base, other, ("services", name))


class _Merge:
    def __init__(self, report: Report) -> None:
        self._report = report

    def merged(self, base: Node, other: Node, path: Path) -> Node:
        special = _special(path)
        if special is not None:
            return special(self, base, other, path)
        return self.joined(base, other, path)

    def joined(self, base: Node, other: Node, path: Path) -> Node:
        if other.value is None:
            return base.over(other, "null leaves what was")
        if isinstance(base.value, dict):
            if isinstance(other.value, dict):
                return self._mappings(base.value, other, path)
        elif isinstance(base.value, list):
            if isinstance(other.value, list):
                return base.copy(base.value + other.value)
        else:
            return other.over(base)
        kind = "a mapping" if isinstance(base.value, dict) else "a list"
        self._report.add(other, f"{dotted(path)}: cannot override {kind} by something else",
                         hint="!override replaces the value of the files before")  # fmt: skip
        return base

    def _mappings(self, base: dict[str, Node], other: Node, path: Path) -> Node:
        merged = dict(base)
        for key, child in other.entries.items():
            if key in merged:
                merged[key] = self.merged(merged[key], child, (*path, key))
            else:
                merged[key] = child
        return other.copy(merged)

    # ---- the exceptions ----

    def replaced(self, base: Node, other: Node, path: Path) -> Node:
        return other.over(base, "replaced as a whole")

    def sequences(self, base: Node, other: Node, path: Path) -> Node:
        one, two = shapes.sequence(base), shapes.sequence(other)
        if other.value is None or two.value is None:
            return base
        if not isinstance(one.value, list) or not isinstance(two.value, list):
            return other  # the schema says what is wrong with it
        return two.copy(one.value + two.value)

    def hosts(self, base: Node, other: Node, path: Path) -> Node:
        if other.value is None:
            return base
        one, two = shapes.hosts(base), shapes.hosts(other)
        if not isinstance(one.value, list) or not isinstance(two.value, list):
            return other
        said = {_host(item) for item in two.value}
        kept = [item for item in one.value if _host(item) not in said]
        return two.copy(kept + two.value)

    def dependencies(self, base: Node, other: Node, path: Path) -> Node:
        return self.joined(shapes.dependencies(base), shapes.dependencies(other), path)

    def named(self, base: Node, other: Node, path: Path) -> Node:
        return self.joined(shapes.names(base), shapes.names(other), path)

    def build(self, base: Node, other: Node, path: Path) -> Node:
        return self.joined(shapes.below(base, "context"), shapes.below(other, "context"), path)

    def logging(self, base: Node, other: Node, path: Path) -> Node:
        before, after = base.get("driver"), other.get("driver")
        if before is not None and after is not None and before.value != after.value:
            return other.over(base, "another driver replaces all options")
        return self.joined(base, other, path)

    def pools(self, base: Node, other: Node, path: Path) -> Node:
        """`ipam.config` by subnet: pools the later file does not repeat are gone, as in the
        reference; nothing merges into nothing."""
        if not isinstance(base.value, list) or not isinstance(other.value, list):
            return self.joined(base, other, path)
        found: dict[object, Node] = {}
        for before in base.items:
            for after in other.items:
                subnet = _subnet(after)
                if subnet == _subnet(before):
                    found[subnet] = self.joined(before, after, path)
                else:
                    found.setdefault(subnet, after)
        return other.copy(list(found.values()) or None)


def _host(item: Node) -> str:
    """What stands before the address of an entry of `extra_hosts`."""
    return re.split("[=:]", str(item.value), maxsplit=1)[0]


def _subnet(node: Node) -> object:
    subnet = node.get("subnet")
    return subnet.value if subnet and isinstance(subnet.value, str) else None


Special = Callable[[_Merge, Node, Node, Path], Node]
_SERVICE: dict[Path, Special] = {
    **dict.fromkeys([("command",), ("entrypoint",), ("healthcheck", "test")],
                    _Merge.replaced),
    **dict.fromkeys(
        [("annotations",), ("environment",), ("labels",), ("sysctls",), ("dns",), ("dns_opt",),
         ("dns_search",), ("env_file",), ("label_file",), ("tmpfs",), ("build", "args"),
         ("build", "labels"), ("build", "additional_contexts"), ("deploy", "labels")],
        _Merge.sequences),
    **dict.fromkeys([("networks",), ("models",)], _Merge.named),
    **dict.fromkeys([("extra_hosts",), ("build", "extra_hosts")], _Merge.hosts),
    ("build",): _Merge.build, ("depends_on",): _Merge.dependencies, ("logging",): _Merge.logging,
}  # fmt: skip
_OTHERS: dict[Path, Special] = {
    ("networks", "labels"): _Merge.sequences, ("volumes", "labels"): _Merge.sequences,
    ("networks", "ipam", "config"): _Merge.pools,
}  # fmt: skip


def _special(path: Path) -> Special | None:
    if len(path) < 3:
        return None
    if path[0] != "services":
        return _OTHERS.get((path[0], *path[2:]))
    inner = path[2:]
    if len(inner) == 2 and inner[0] == "ulimits":
        return _Merge.replaced
    return _SERVICE.get(inner)
