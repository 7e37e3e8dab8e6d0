"""Plan: a directed acyclic graph of actions; its text is what `plan` prints and tests assert."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.dataclass import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orchestrator.plan.actions import Action


@dataclass(frozen=True, slots=True)
class Node:
    """One action and the numbers of the nodes that must be done first."""

    number: int
    action: Action
    after: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Nodes in an order that already respects `after`: a node's prerequisites precede it."""

    nodes: tuple[Node, ...] = ()
    warnings: tuple[str, ...] = ()
    """Orphans, foreign resources: printed, not fatal."""
    unchanged: tuple[str, ...] = ()
    """Names of containers that stay as they are, for `Container x Running`."""

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __bool__(self) -> bool:
        return bool(self.nodes)

    def __str__(self) -> str:
        lines = []
        for node in self.nodes:
            after = ",".join(map(str, node.after))
            lines.append(f"[{after}] -> #{node.number} {node.action}")
        return "\n".join(lines)

    def reasons(self) -> tuple[str, ...]:
        """Why services are recreated, once each: `recreate web: environment.LOG_LEVEL "info" ->
        "debug" (compose.yaml:14)`."""
        from orchestrator.plan.actions import CreateContainer

        found = {
            f"recreate {n.action.service}: {n.action.cause}": None
            for n in self.nodes
            if isinstance(n.action, CreateContainer) and n.action.replaces
        }
        return tuple(found)

    def to_json(self) -> list[dict[str, Any]]:  # JSON has no narrower type
        """For `plan --format json`."""
        from orchestrator.dataclass import asdict

        return [
            {
                "number": n.number,
                "after": list(n.after),
                "action": type(n.action).__name__,
                **asdict(n.action),
            }
            for n in self.nodes
        ]


@dataclass(slots=True)
class PlanBuilder:
    """Collects nodes; `add` returns the number that later nodes name in `after`."""

    nodes: list[Node] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    _before: list[int] = field(default_factory=lambda: [0])
    """By number: all nodes that come before, as a set of bits."""

    def add(self, action: Action, *, after: Iterable[int] = ()) -> int:
        """Append an action; its prerequisites must have been added before.  One that another one
        waits for already is left out."""
        needed, covered = [], 0
        for prior in sorted(set(after), reverse=True):
            if not covered >> prior & 1:
                needed.append(prior)
            covered |= self._before[prior] | 1 << prior
        number = len(self.nodes) + 1
        self.nodes.append(Node(number, action, tuple(reversed(needed))))
        self._before.append(covered)
        return number

    def build(self) -> Plan:
        """The finished plan."""
        return Plan(tuple(self.nodes), tuple(self.warnings), tuple(self.unchanged))
