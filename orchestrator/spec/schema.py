"""Is the tree shaped as a Compose file?  The only user of jsonschema.

The schema is ours (`schemas/compose.json`).  `validator` accepts what is right at once; every fault
of what it does not accept is found by jsonschema, imported only then, and becomes words for people.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from orchestrator.errors import InternalError
from orchestrator.spec import validator
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


def validate(root: Node, report: Report) -> None:
    """Adds every fault of shape to the report, each at its place."""
    if _compiled().accepts(root):
        return
    from jsonschema import Draft202012Validator

    for error in Draft202012Validator(_schema()).iter_errors(plain(root)):
        fault = Fault(error, root)
        _EXPLAIN.get(fault.keyword, _other)(fault, report)


@functools.cache
def _schema() -> dict[str, Any]:
    import json

    with open(schema_path(), encoding="utf-8") as file:
        return dict(json.load(file))


@functools.cache
def _compiled() -> validator.Shape:
    return validator.compiled(_schema())


class Fault:
    """`keyword` of `source`, a part of the schema, is broken by `node` at `path`."""

    def __init__(self, error: ValidationError, root: Node) -> None:
        self.keyword = str(error.validator)
        self.source: dict[str, Any] = error.schema if isinstance(error.schema, dict) else {}
        self.path: Path = tuple(error.absolute_path)
        self.node = find(root, self.path) or root


def _say(report: Report, node: Node, path: Path, text: str, hint: str | None = None) -> None:
    report.add(node, f"{dotted(path)}: {text}" if path else text, hint=hint)


def _unknown_keys(fault: Fault, report: Report) -> None:
    path = fault.path
    known = list(fault.source.get("properties", ()))
    patterns = list(fault.source.get("patternProperties", ()))
    for key, child in fault.node.entries.items():
        if key in known or any(validator.searcher(pattern)(key) for pattern in patterns):
            continue
        if not known:
            _say(report, child, (*path, key), _NAMES[patterns[0]])
            continue
        near = nearest_name(key, known)
        hint = f"did you mean `{near}`?" if near else _elsewhere(key, path)
        _say(report, child, (*path, key), "unknown key", hint)


_NAMES = {
    "^[a-zA-Z0-9._-]+(?!\\n)$": "a name has only letters, digits and `._-`",
    "^[a-z]+(?!\\n)$": "the name of a limit has only small letters",
    ".+": "the key is empty",
}


def _elsewhere(key: str, path: Path) -> str | None:
    if not path and key not in ("", "<<"):
        return f"is `{key}` a service? it belongs below `services:`"
    return None


def _wrong_type(fault: Fault, report: Report) -> None:
    schema, path, node = fault.source, fault.path, fault.node
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


def _not_listed(fault: Fault, report: Report) -> None:
    path, node = fault.path, fault.node
    words = [str(word) for word in fault.source["enum"]]
    near = nearest_name(str(node.value), words)
    hint = f"did you mean `{near}`?" if near else None
    _say(report, node, path, f"must be one of {', '.join(words)}, not {_kind(node)}", hint)


def _missing_keys(fault: Fault, report: Report) -> None:
    for key in fault.source["required"]:
        if key not in fault.node.entries:
            _say(report, fault.node, fault.path, f"`{key}` is missing")


def _repeated(fault: Fault, report: Report) -> None:
    seen: dict[str, int] = {}
    for item in fault.node.items:
        text = repr(validator.comparable(item))
        if text in seen:
            said = f"{_kind(item)} is given twice, first in line {seen[text]}"
            _say(report, item, fault.path, said)
        seen.setdefault(text, item.line)


def _other(fault: Fault, report: Report) -> None:
    wanted = fault.source["description"]
    _say(report, fault.node, fault.path, f"must be {wanted}, not {_kind(fault.node)}")


_EXPLAIN: dict[str, Callable[[Fault, Report], None]] = {
    "additionalProperties": _unknown_keys,
    "type": _wrong_type,
    "enum": _not_listed,
    "required": _missing_keys,
    "uniqueItems": _repeated,
}
