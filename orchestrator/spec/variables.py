"""Which variables the files ask for: `config --variables`.  Pure."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.dataclass import dataclass
from orchestrator.spec import template
from orchestrator.spec.node import Node
from orchestrator.spec.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A variable as all its uses together write it."""

    name: str
    required: bool = False
    """`${NAME:?…}`."""
    default: str = ""
    """`${NAME:-default}`."""
    alternate: str = ""
    """`${NAME:+alternate}`."""


def variables(root: Node, report: Report) -> dict[str, Variable]:
    """By name, all that templates in the tree use; those that are none go into the report."""
    found: dict[str, Variable] = {}
    for node, text in _templates(root):
        try:
            for name, operator, word in template.uses(text):
                found[name] = _used(found.get(name), name, operator[-1:], word)
        except template.TemplateError as exc:
            report.add(node, f"invalid interpolation format: {exc}",
                       hint="write $$ where a dollar is meant")  # fmt: skip
    return dict(sorted(found.items()))


def _used(before: Variable | None, name: str, operator: str, word: str) -> Variable:
    before = before or Variable(name=name)
    return Variable(
        name=name, required=before.required or operator == "?",
        default=before.default or (word if operator == "-" else ""),
        alternate=before.alternate or (word if operator == "+" else ""),
    )  # fmt: skip


def _templates(node: Node) -> Iterator[tuple[Node, str]]:
    if isinstance(node.value, str):
        if "$" in node.value:
            yield node, node.value
        return
    for child in (*node.entries.values(), *node.items):
        yield from _templates(child)
