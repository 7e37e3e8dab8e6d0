"""Order, closure, cycles of names."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import CycleError
from orchestrator.plan import graph

names = st.sampled_from("abcdef")
graphs = st.dictionaries(names, st.lists(names, max_size=4))


def test_the_order_is_by_need_then_alphabet() -> None:
    assert graph.order({"web": ["api"], "api": ["db"], "db": [], "cache": []}) == [
        "cache", "db", "api", "web",
    ]  # fmt: skip


def test_needs_outside_the_graph_are_ignored() -> None:
    assert graph.order({"a": ["elsewhere"]}) == ["a"]
    assert graph.closure({"a": ["elsewhere"]}, ["a", "nobody"]) == {"a"}


def test_a_cycle_is_told_with_its_shortest_path() -> None:
    with pytest.raises(CycleError, match=r": b -> c -> b$"):
        graph.order({"a": ["b"], "b": ["c"], "c": ["d", "b"], "d": ["b"]})


def test_a_service_that_needs_itself_is_a_cycle() -> None:
    assert graph.find_cycle({"a": ["a"]}) == ["a", "a"]


def test_no_cycle_is_none() -> None:
    assert graph.find_cycle({"a": ["b"], "b": []}) is None


@given(graphs)
def test_each_name_comes_after_its_needs_or_there_is_a_cycle(
    given_graph: dict[str, list[str]],
) -> None:
    try:
        found = graph.order(given_graph)
    except CycleError:
        path = graph.find_cycle(given_graph)
        assert path is not None
        assert path[0] == path[-1]
        assert all(b in given_graph[a] for a, b in pairwise(path))
        return
    assert sorted(found) == sorted(given_graph)
    for name in found:
        needs = [n for n in given_graph[name] if n in given_graph]
        assert all(found.index(n) < found.index(name) for n in needs)


@given(graphs, st.lists(names))
def test_a_closure_is_closed(given_graph: dict[str, list[str]], start: list[str]) -> None:
    found = graph.closure(given_graph, start)
    assert found >= {n for n in start if n in given_graph}
    assert all(d in found for n in found for d in given_graph[n] if d in given_graph)


def test_the_order_needs_no_networkx() -> None:
    program = (
        "import sys; import orchestrator.plan.diff, orchestrator.plan.teardown;"
        "from orchestrator.plan import graph; graph.order({'a': ['b'], 'b': []});"
        "assert 'networkx' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
