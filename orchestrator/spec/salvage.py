"""Going on after a fault: what problems are about is taken out of the tree, so that the rest of the
files can be looked at too and all independent problems are told in one go.

Whatever others may refer to stays, as a stand-in, so that no problem follows from another.  Pure.
"""

from __future__ import annotations

from orchestrator.spec.node import Node, walked
from orchestrator.spec.report import Report

_STAND_INS: dict[str, tuple[str, str | bool]] = {
    "services": ("image", "unknown"), "models": ("model", "unknown"),
    **dict.fromkeys(("networks", "volumes", "secrets", "configs"), ("external", True)),
}  # fmt: skip
_SOURCES = frozenset({"image", "build", "provider", "extends"})
"""A service needs one of them."""


def salvaged(root: Node, report: Report) -> Node:
    """The tree without what the report's problems are about, which are set aside in it.  Raises
    SpecError with all of them where one is not about a part that can be missed."""
    if not report.problems:
        return root
    places = {place for place, _, _ in report.problems}
    rescue = _Rescue(report, places)
    saved = rescue.root(root)
    if rescue.missed:
        report.check()
    report.set_aside()
    return saved


class _Rescue:
    def __init__(self, report: Report, places: set[str]) -> None:
        self._report = report
        self._places = places
        self.missed = set(places)
        """Places of problems that are in no part taken out."""

    def root(self, root: Node) -> Node:
        kept: dict[str, Node] = {}
        for key, node in root.entries.items():
            if key in _STAND_INS:
                kept[key] = self._section(key, node)
            elif key == "include" or not self._is_faulty(node):  # services may be missing for it
                kept[key] = node
        return root.copy(kept)

    def _section(self, section: str, node: Node) -> Node:
        if not isinstance(node.value, dict):
            return node
        part = self._service if section == "services" else self._resource
        return node.copy({name: part(section, child) for name, child in node.value.items()})

    def _service(self, section: str, node: Node) -> Node:
        if self._report.place(node) in self._places or not isinstance(node.value, dict):
            return self._resource(section, node)
        kept = {key: child for key, child in node.value.items() if not self._is_faulty(child)}
        if len(kept) == len(node.value):
            return node
        if not _SOURCES.intersection(kept):
            kept = {**kept, **_stand_in(section, node).entries}
        return node.copy(kept)

    def _resource(self, section: str, node: Node) -> Node:
        return _stand_in(section, node) if self._is_faulty(node) else node

    def _is_faulty(self, node: Node) -> bool:
        found = {self._report.place(child) for child in walked(node)} & self._places
        self.missed -= found
        return bool(found)


def _stand_in(section: str, node: Node) -> Node:
    key, value = _STAND_INS[section]
    return node.copy({key: node.copy(value)})
