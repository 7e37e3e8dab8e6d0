"""Is the tree shaped as a Compose file?  The only user of jsonschema.

The schema is ours (`schemas/compose.json`); jsonschema is imported only for a tree that has not
been found valid before (a file named by its hash in the cache says so).
"""

from __future__ import annotations

import marshal
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from orchestrator.errors import InternalError
from orchestrator.spec import cache
from orchestrator.spec.node import Node, find, plain
from orchestrator.spec.report import Report
from orchestrator.spec.suggestion import nearest_name
from orchestrator.spec.tree import Path, dotted

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

_PLACES = ("../_schemas/compose.json", "../../schemas/compose.json")
"""Beside the package in a wheel; in the checkout for an editable install."""


def schema_path() -> str:
    """Where our schema lies."""
    here = os.path.dirname(os.path.abspath(__file__))
    for place in _PLACES:
        path = os.path.normpath(os.path.join(here, place))
        if os.path.exists(path):
            return path
    raise InternalError("the schema of the Compose file was not installed with the package")


def validate(root: Node, report: Report, *, cache_dir: str | None) -> None:
    """Adds every fault of shape to the report, each at its place."""
    tree = plain(root)
    known = _Known(cache_dir, tree)
    if known.is_valid():
        return
    errors = _errors(tree)
    for error in errors:
        _explain(error, root, report)
    if not errors:
        known.remember()


class _Known:
    """The trees found valid before: one empty entry each, named by hash of tree and schema."""

    def __init__(self, cache_dir: str | None, tree: object) -> None:
        self._path: str | None = None
        if cache_dir is not None:
            state = os.stat(schema_path())
            content = marshal.dumps([tree, state.st_size, state.st_mtime_ns], 2)
            self._path = cache.entry(cache_dir, "validated", content)

    def is_valid(self) -> bool:
        return self._path is not None and os.path.exists(self._path)

    def remember(self) -> None:
        if self._path is not None:
            cache.write(self._path, b"")


def _errors(tree: object) -> list[ValidationError]:
    import json

    import jsonschema  # 90 ms

    with open(schema_path(), encoding="utf-8") as file:
        schema = json.load(file)
    return list(jsonschema.Draft202012Validator(schema).iter_errors(tree))


def _explain(error: ValidationError, root: Node, report: Report) -> None:
    path: Path = tuple(error.absolute_path)
    node = find(root, path)
    explain = _EXPLAIN.get(str(error.validator), _other)
    explain(error, path, node or root, report)


def _say(report: Report, node: Node, path: Path, text: str, hint: str | None = None) -> None:
    report.add(node, f"{dotted(path)}: {text}" if path else text, hint=hint)


def _unknown_keys(error: ValidationError, path: Path, node: Node, report: Report) -> None:
    schema = _schema(error)
    known = list(schema.get("properties", ()))
    is_free = "^x-" in schema.get("patternProperties", ())
    for key, child in node.entries.items():
        if key in known or (is_free and key.startswith("x-")):
            continue
        if not known and _is_name(key):
            continue
        if not known:
            _say(report, child, (*path, key), "a name has only letters, digits and `._-`")
            continue
        near = nearest_name(key, known)
        hint = f"did you mean `{near}`?" if near else _elsewhere(key, path)
        _say(report, child, (*path, key), "unknown key", hint)


def _schema(error: ValidationError) -> dict[str, Any]:
    """The part of the schema that was broken."""
    return error.schema if isinstance(error.schema, dict) else {}


def _is_name(key: str) -> bool:
    return bool(key) and all(c.isascii() and (c.isalnum() or c in "._-") for c in key)


def _elsewhere(key: str, path: Path) -> str | None:
    if not path and key not in ("", "<<"):
        return f"is `{key}` a service? it belongs below `services:`"
    return None


def _wrong_type(error: ValidationError, path: Path, node: Node, report: Report) -> None:
    schema = _schema(error)
    wanted = schema.get("description") or " or ".join(_types(schema))
    hint = None
    if node.value is None:
        hint = "it has no value: remove the key, or is the indentation of what follows right?"
    elif _types(schema)[:1] == ["string"] and not isinstance(node.value, dict | list):
        hint = "write it in quotes"
    _say(report, node, path, f"must be {wanted}, not {_kind(node)}", hint)


def _types(schema: dict[str, Any]) -> list[str]:
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else list(types)


def _kind(node: Node) -> str:
    value = node.value
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    text = str(value)
    return f"`{text if len(text) < 40 else text[:37] + '...'}`"


def _not_listed(error: ValidationError, path: Path, node: Node, report: Report) -> None:
    words = [str(word) for word in _schema(error)["enum"]]
    near = nearest_name(str(node.value), words)
    hint = f"did you mean `{near}`?" if near else None
    _say(report, node, path, f"must be one of {', '.join(words)}, not {_kind(node)}", hint)


def _missing_keys(error: ValidationError, path: Path, node: Node, report: Report) -> None:
    for key in _schema(error)["required"]:
        if key not in node.entries:
            _say(report, node, path, f"`{key}` is missing")


def _repeated(error: ValidationError, path: Path, node: Node, report: Report) -> None:
    seen: dict[str, int] = {}
    for item in node.items:
        text = repr(plain(item))
        if text in seen:
            _say(report, item, path, f"{_kind(item)} is given twice, first in line {seen[text]}")
        seen.setdefault(text, item.line)


def _other(error: ValidationError, path: Path, node: Node, report: Report) -> None:
    wanted = _schema(error).get("description")
    text = f"must be {wanted}, not {_kind(node)}" if wanted else error.message
    _say(report, node, path, text)


_EXPLAIN: dict[str, Callable[[ValidationError, Path, Node, Report], None]] = {
    "additionalProperties": _unknown_keys,
    "type": _wrong_type,
    "enum": _not_listed,
    "required": _missing_keys,
    "uniqueItems": _repeated,
}
