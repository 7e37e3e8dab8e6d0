"""Relative paths of the files become absolute ones.

Takes a tree in long form.  Asks the file system only where watched paths are symbolic links.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable

from orchestrator.spec.node import Node
from orchestrator.spec.rules import Rule, Rules, list_of, map_of, nested


def absolute(root: Node, *, working_dir: str, home: str) -> Node:
    """The tree with every path of the host absolute, seen from `working_dir`."""
    places = _Places(working_dir, home)
    entries = dict(root.entries)
    for section, rule in (
        ("services", places.service), ("secrets", places.file), ("configs", places.file),
        ("volumes", places.volume),
    ):  # fmt: skip
        node = entries.get(section)
        if node is not None and isinstance(node.value, dict):
            entries[section] = map_of(rule)(node)
    return root.copy(entries)


def absolute_service(node: Node, *, working_dir: str, home: str) -> Node:
    """The same for one service."""
    return _Places(working_dir, home).service(node)


def resolved(path: str, *, working_dir: str, home: str) -> str:
    """`path` seen from `working_dir`; `~` is `home`; an absolute path stays as written."""
    if path.startswith("~") and home:
        return posixpath.normpath(posixpath.join(home, path[1:].lstrip("/")))
    if path.startswith("/"):
        return path
    return posixpath.normpath(posixpath.join(working_dir, path))


def is_windows(path: str) -> bool:
    """Whether this is an absolute path of Windows, which stays as it is."""
    return path[1:3] in (":\\", ":/") or path.startswith("\\\\")


_REMOTE = ("git@", "github.com/", "service:", "docker-image:", "oci-layout:")


def is_remote(context: str) -> bool:
    """Whether a build context is no directory of this machine."""
    return "://" in context or context.startswith(_REMOTE)


class _Places:
    """The rules for one working directory."""

    def __init__(self, working_dir: str, home: str) -> None:
        def resolve(path: str) -> str:
            return resolved(path, working_dir=working_dir, home=home)

        path: Rule = _on_text(lambda text: resolve(text) if text else text)
        source: Rule = _on_text(lambda text: text if is_windows(text) else resolve(text))
        context: Rule = _on_text(
            lambda text: text if is_remote(text) or not text else resolve(text)
        )
        watched: Rule = _on_text(lambda text: os.path.realpath(resolve(text)))
        keys: Rule = _on_text(lambda text: resolve(text) if text else text)
        self.service: Rule = nested({
            "build": nested({
                "context": context, "additional_contexts": map_of(context), "ssh": map_of(keys),
            }),
            "develop": nested({"watch": list_of(nested({"path": watched}))}),
            "env_file": list_of(nested({"path": path})),
            "extends": nested({"file": path}),
            "label_file": list_of(path),
            "volumes": list_of(_of_type("type", "bind", {"source": source})),
        })  # fmt: skip
        self.file: Rule = nested({"file": source})
        self.volume: Rule = _of_type("driver", "local", {
            "driver_opts": _of_type("o", "bind", {"device": source}),
        })  # fmt: skip


def _on_text(convert: Callable[[str], str]) -> Rule:
    return lambda node: node.copy(convert(node.value)) if isinstance(node.value, str) else node


def _of_type(key: str, wanted: str, rules: Rules) -> Rule:
    """The rules, for a mapping whose `key` is `wanted`."""

    def convert(node: Node) -> Node:
        kind = node.get(key)
        return nested(rules)(node) if kind is not None and kind.value == wanted else node

    return convert
