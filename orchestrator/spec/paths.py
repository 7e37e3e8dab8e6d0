"""Relative paths of the files become absolute ones.  Pure but for the home directory it is told."""

from __future__ import annotations

import posixpath
from collections.abc import Callable

from orchestrator.spec.node import Node


def absolute(root: Node, *, working_dir: str, home: str) -> Node:
    """The canonical tree with every path of the host absolute."""

    def resolve(node: Node) -> Node:
        return node.copy(resolved(str(node.value), working_dir=working_dir, home=home))

    entries = dict(root.entries)
    for section, convert in (
        ("services", _service), ("secrets", _file), ("configs", _file), ("volumes", _device),
    ):  # fmt: skip
        node = entries.get(section)
        if node is not None:
            entries[section] = node.copy({
                name: convert(child, resolve) for name, child in node.entries.items()
            })  # fmt: skip
    return root.copy(entries)


def resolved(path: str, *, working_dir: str, home: str) -> str:
    """`path` seen from `working_dir`; `~` is `home`; an absolute path stays as written."""
    if path == "~" or path.startswith("~/"):
        return posixpath.normpath(posixpath.join(home, path[2:])) if home else path
    if path.startswith("/") or path[1:3] in (":\\", ":/"):
        return path
    return posixpath.normpath(posixpath.join(working_dir, path))


Resolve = Callable[[Node], Node]


def _service(node: Node, resolve: Resolve) -> Node:
    entries = dict(node.entries)
    for key, convert in _CONVERT.items():
        child = entries.get(key)
        if child is not None and child.value is not None:
            entries[key] = convert(child, resolve)
    return node.copy(entries)


def _device(node: Node, resolve: Resolve) -> Node:
    """The directory behind a volume, where the driver is named and its options say `bind` and
    nothing else; as the reference prints it."""
    driver, options = node.get("driver"), node.get("driver_opts")
    said, device = (options.get("o"), options.get("device")) if options else (None, None)
    if driver is None or driver.value != "local":
        return node
    if options is None or said is None or said.value != "bind" or device is None:
        return node
    options = options.copy({**options.entries, "device": resolve(device)})
    return node.copy({**node.entries, "driver_opts": options})


def _volumes(node: Node, resolve: Resolve) -> Node:
    return node.copy([_bind(item, resolve) for item in node.items])


def _bind(item: Node, resolve: Resolve) -> Node:
    kind, source = item.get("type"), item.get("source")
    if kind is None or kind.value != "bind" or source is None:
        return item
    return item.copy({**item.entries, "source": resolve(source)})


def _env_file(node: Node, resolve: Resolve) -> Node:
    return node.copy([
        item.copy({**item.entries, "path": resolve(item.entries["path"])}) for item in node.items
    ])  # fmt: skip


def _label_file(node: Node, resolve: Resolve) -> Node:
    return node.copy([resolve(item) for item in node.items])


_REMOTE = ("git@", "github.com/", "service:", "docker-image:", "oci-layout:")


def _context(node: Node, resolve: Resolve) -> Node:
    text = str(node.value)
    return node if "://" in text or text.startswith(_REMOTE) else resolve(node)


def _build(node: Node, resolve: Resolve) -> Node:
    entries = dict(node.entries)
    if "context" in entries:
        entries["context"] = _context(entries["context"], resolve)
    contexts = entries.get("additional_contexts")
    if contexts is not None:
        entries["additional_contexts"] = contexts.copy({
            key: _context(child, resolve) for key, child in contexts.entries.items()
        })  # fmt: skip
    return node.copy(entries)


def _develop(node: Node, resolve: Resolve) -> Node:
    watch = node.get("watch")
    if watch is None:
        return node
    items = [
        item.copy({**item.entries, "path": resolve(item.entries["path"])}) for item in watch.items
    ]
    return node.copy({**node.entries, "watch": watch.copy(items)})


def _file(node: Node, resolve: Resolve) -> Node:
    path = node.get("file")
    return node if path is None else node.copy({**node.entries, "file": resolve(path)})


_CONVERT: dict[str, Callable[[Node, Resolve], Node]] = {
    "build": _build, "develop": _develop, "env_file": _env_file, "label_file": _label_file,
    "volumes": _volumes,
}  # fmt: skip
