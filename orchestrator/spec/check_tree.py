"""Attributes that exclude or need each other, checked on the tree of each set of files before
paths are made absolute.  One small function per rule."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.spec.node import Node
from orchestrator.spec.report import Report
from orchestrator.spec.tree import Path, dotted

Finding = tuple[Path, Node, str]


def check(root: Node, report: Report) -> None:
    """Adds whatever contradicts itself to the report, at its place."""
    for rule in (_sources, _external_volumes, _requests, _watched):
        for path, node, message in rule(root):
            report.add(node, f"{dotted(path)}: {message}")


def _section(root: Node, name: str) -> Iterator[tuple[str, Node]]:
    node = root.get(name)
    yield from (node.entries if node else {}).items()


def _sources(root: Node) -> Iterator[Finding]:
    for section, keys in (("secrets", ("file", "environment")),
                          ("configs", ("file", "environment", "content"))):  # fmt: skip
        for name, node in _section(root, section):
            said = [key for key in keys if node.get(key) is not None]
            external = node.get("external")
            if len(said) > 1:
                yield (section, name), node, f"{'|'.join(keys)} attributes are mutually exclusive"
            elif not said and node.get("driver") is None and not _is_true(external):
                yield (section, name), node, f"one of {'|'.join(keys)} must be set"


def _is_true(node: Node | None) -> bool:
    return node is not None and node.value not in (None, False)


def _external_volumes(root: Node) -> Iterator[Finding]:
    for name, node in _section(root, "volumes"):
        if not _is_true(node.get("external")):
            continue
        for key, child in node.entries.items():
            if key not in ("name", "external") and not key.startswith("x-"):
                text = f'conflicting parameters "external" and "{key}" specified'
                yield ("volumes", name, key), child, f"{text}: an external volume has only a name"


def _requests(root: Node) -> Iterator[Finding]:
    for name, node in _section(root, "services"):
        for path in (("gpus",), ("deploy", "resources", "reservations", "devices")):
            found = node.get(*path)
            for index, item in enumerate(found.items if found else ()):
                if "count" in item.entries and "device_ids" in item.entries:
                    text = "`count` and `device_ids` exclude each other"
                    yield ("services", name, *path, index), item, text


def _watched(root: Node) -> Iterator[Finding]:
    for name, node in _section(root, "services"):
        found = node.get("develop", "watch")
        for index, item in enumerate(found.items if found else ()):
            path = item.get("path")
            if path is not None and not str(path.value).strip():
                where: Path = ("services", name, "develop", "watch", index, "path")
                yield where, path, "the path is blank"
