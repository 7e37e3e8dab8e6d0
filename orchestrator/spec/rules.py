"""Applying rules to the values of a tree: each key of a mapping has its own, and whatever cannot
be read is told with its place.

What `canonical` and `decode` are written in; knows no attribute of Compose.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.spec.fields import Misread
from orchestrator.spec.node import Node, find
from orchestrator.spec.report import Report
from orchestrator.spec.tree import Path, dotted

Rule = Callable[[Node], Node]
Rules = dict[str, Rule]

MOST_ITEMS = 2 * 65536
"""Entries one list may become; every port of both protocols are no more."""


def apply(node: Node, rules: Rules, path: Path, report: Report | None) -> Node:
    """The mapping with each key's rule applied; what cannot be read becomes problems at their
    places, or stays as it is where there is no report."""
    if not isinstance(node.value, dict):
        return node
    entries: dict[str, Node] = {}
    for key, child in node.value.items():
        rule = rules.get(key)
        entries[key] = child
        if rule is None or child.value is None:
            continue
        try:
            entries[key] = rule(child)
        except Misread as exc:
            for below, message in exc.found if report else ():
                _tell(report, child, (*path, key), below, message)
        except ValueError as exc:
            _tell(report, child, (*path, key), (), str(exc))
    return node.copy(entries)


def _tell(report: Report | None, node: Node, path: Path, below: Path, message: str) -> None:
    if report is not None:
        place = find(node, below) or node
        report.add(place, f"{dotted((*path, *below))}: {message}")


def nested(rules: Rules) -> Rule:
    """A rule for a mapping, of rules for its keys."""

    def convert(node: Node) -> Node:
        if not isinstance(node.value, dict):
            return node
        entries: dict[str, Node] = {}
        errors: list[tuple[Path, str]] = []
        for key, child in node.value.items():
            rule = rules.get(key)
            try:
                entries[key] = child if rule is None or child.value is None else rule(child)
            except Misread as exc:
                errors += [((key, *path), message) for path, message in exc.found]
            except ValueError as exc:
                errors.append(((key,), str(exc)))
        if errors:
            raise Misread(errors)
        return node.copy(entries)

    return convert


def each(node: Node, convert: Callable[[Node], list[Node]]) -> list[Node]:
    """What the items of a list become, one after the other."""
    found: list[Node] = []
    errors: list[tuple[Path, str]] = []
    for index, item in enumerate(node.items):
        try:
            found += convert(item)
        except Misread as exc:
            errors += [((index, *path), message) for path, message in exc.found]
        except ValueError as exc:
            errors.append(((index,), str(exc)))
        if len(found) > MOST_ITEMS:
            raise ValueError(f"the ranges stand for more than {MOST_ITEMS} entries")
    if errors:
        raise Misread(errors)
    return found


def list_of(rule: Rule) -> Rule:
    """A rule for a list, of the rule for its items."""
    return lambda node: (
        node.copy(each(node, lambda item: [rule(item)])) if isinstance(node.value, list) else node
    )


def map_of(rule: Rule) -> Rule:
    """A rule for a mapping whose keys are the user's, of the rule for its entries."""
    return lambda node: nested(dict.fromkeys(node.entries, rule))(node)
