"""House rules that no linter knows, as tests."""

from __future__ import annotations

import ast
import re
import statistics

import pytest

from tests.source_tree import ROOT, functions, length, modules, tree

VAGUE = {"utils", "util", "helpers", "common", "manager", "handler", "base", "misc"}
LONGEST_FILE = 600
LONGEST_FUNCTION = 80
THEIR_SIGNATURES = {"orchestrator.testing.testcontainers"}
"""Modules that stand in for those of others, whose callers give booleans by position."""

named = pytest.mark.parametrize("module", sorted(modules()))


@named
def test_a_file_is_short_enough_to_know(module: str) -> None:
    assert len(modules()[module].read_text().splitlines()) <= LONGEST_FILE


@named
def test_a_module_says_what_it_owns(module: str) -> None:
    path = modules()[module]
    if path.name == "__init__.py" and module != "orchestrator":
        assert path.read_text() == ""
    else:
        assert ast.get_docstring(tree(path))


@named
def test_a_name_says_something(module: str) -> None:
    assert not set(module.split(".")) & VAGUE


@named
def test_a_function_is_short_and_has_few_positional_parameters(module: str) -> None:
    for function in functions(modules()[module]):
        assert length(function) <= LONGEST_FUNCTION, f"{module}:{function.lineno}"
        positional = [a for a in function.args.args if a.arg not in ("self", "cls")]
        typed = [a for a in positional if a.annotation]
        booleans = [a.arg for a in typed if ast.unparse(a.annotation or a) == "bool"]
        if module not in THEIR_SIGNATURES:
            assert not booleans, f"{module}:{function.lineno} boolean by position: {booleans}"


def test_most_functions_are_very_short() -> None:
    lengths = [length(f) for path in modules().values() for f in functions(path)]
    assert statistics.median(lengths) <= 8
    assert statistics.quantiles(lengths, n=10)[8] <= 30


@named
def test_nobody_but_the_command_line_prints_or_exits(module: str) -> None:
    if module.startswith(("orchestrator.cli", "orchestrator.runtime.oci", "orchestrator.__main__")):
        return
    for node in ast.walk(tree(modules()[module])):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in ("print", "sys.exit", "exit"), (
                f"{module}:{node.lineno}"
            )


def test_no_path_of_a_machine_and_no_unfinished_work_is_left_in_the_sources() -> None:
    unfinished = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
    for path in modules().values():
        text = path.read_text()
        assert not unfinished.search(text), path.relative_to(ROOT)
        assert "/work/" not in text, path.relative_to(ROOT)
