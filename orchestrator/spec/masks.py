"""Templates kept together while text around them is taken apart: `config --no-interpolate`.

In `${V:-/tmp}:/x` the colon inside the braces separates nothing.  Pure.
"""

from __future__ import annotations

from orchestrator.spec.node import Node
from orchestrator.spec.rules import Rule
from orchestrator.spec.template import braced

_OPEN, _CLOSE = "\ue000", "\ue001"


def around(rule: Rule, node: Node) -> Node:
    """What the rule makes of the tree when every `${…}` in it is one opaque word."""
    templates: list[str] = []
    return _unmasked(rule(_masked(node, templates)), templates)


def _masked(node: Node, templates: list[str]) -> Node:
    value = node.value
    if isinstance(value, str):
        parts = []
        start = 0
        for begin, end in braced(value):
            parts += [value[start:begin], f"{_OPEN}{len(templates)}{_CLOSE}"]
            templates.append(value[begin:end])
            start = end
        return node.copy("".join([*parts, value[start:]])) if parts else node
    if isinstance(value, dict):
        return node.copy({key: _masked(child, templates) for key, child in value.items()})
    if isinstance(value, list):
        return node.copy([_masked(child, templates) for child in value])
    return node


def _unmasked(node: Node, templates: list[str]) -> Node:
    value = node.value
    if isinstance(value, str) and _OPEN in value:
        return node.copy(_filled(value, templates))
    if isinstance(value, dict):
        return node.copy({
            _filled(key, templates): _unmasked(child, templates) for key, child in value.items()
        })  # fmt: skip
    if isinstance(value, list):
        return node.copy([_unmasked(child, templates) for child in value])
    return node


def _filled(text: str, templates: list[str]) -> str:
    for number, template in enumerate(templates if _OPEN in text else ()):
        text = text.replace(f"{_OPEN}{number}{_CLOSE}", template)
    return text
