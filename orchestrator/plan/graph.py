"""Graphs of names: order, closure, cycles.  Knows nothing of services or actions.

A graph is a mapping name -> the names it needs; needs that are no keys themselves are ignored.
networkx is imported only where a cycle has to be explained: the order that every `up` needs is
twenty lines, the import 160 ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush

from orchestrator.errors import CycleError

Graph = Mapping[str, Iterable[str]]


def order(dependencies: Graph) -> list[str]:
    """All names, each after what it needs; ties are alphabetical.  CycleError with the path."""
    waiting = {
        name: {d for d in needs if d in dependencies} for name, needs in dependencies.items()
    }
    needed_by = reverse(dependencies)
    free = [name for name, needs in waiting.items() if not needs]
    heapify(free)
    done: list[str] = []
    while free:
        name = heappop(free)
        done.append(name)
        for dependent in needed_by[name]:
            waiting[dependent].discard(name)
            if not waiting[dependent]:
                heappush(free, dependent)
    if len(done) < len(waiting):
        path = " -> ".join(find_cycle(dependencies) or ())
        raise CycleError(f"services wait for each other: {path}", hint="remove one of these edges")
    return done


def reverse(dependencies: Graph) -> dict[str, list[str]]:
    """name -> who needs it, in the order of the keys."""
    found: dict[str, list[str]] = {name: [] for name in dependencies}
    for name, needs in dependencies.items():
        for need in dict.fromkeys(needs):
            if need in found:
                found[need].append(name)
    return found


def closure(dependencies: Graph, names: Iterable[str]) -> set[str]:
    """`names` and everything they need, directly or not."""
    found: set[str] = set()
    todo = [name for name in names if name in dependencies]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += [d for d in dependencies[name] if d in dependencies]
    return found


def find_cycle(dependencies: Graph) -> list[str] | None:
    """A shortest cycle as a path that ends where it begins, `[a, b, a]`; None if there is none.
    Of several, the one whose least name comes first; it begins there."""
    import networkx

    graph: networkx.DiGraph[str] = networkx.DiGraph()
    graph.add_nodes_from(dependencies)
    graph.add_edges_from((n, d) for n, needs in dependencies.items() for d in needs)
    found = []
    for component in networkx.strongly_connected_components(graph):
        part = graph.subgraph(component)
        for tail, head in part.edges:
            found.append([tail, *networkx.shortest_path(part, head, tail)])
    if not found:
        return None
    return min((_from_least(cycle) for cycle in found), key=lambda c: (len(c), c))


def _from_least(cycle: list[str]) -> list[str]:
    ring = cycle[:-1]
    start = ring.index(min(ring))
    return [*ring[start:], *ring[:start], ring[start]]
