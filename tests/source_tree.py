"""The package's own source as data, for the tests that read it: files, imports, functions."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "orchestrator"


@dataclass(frozen=True, slots=True)
class Import:
    """One import statement's target and whether it stands inside a function."""

    module: str
    line: int
    inside_function: bool
    for_types_only: bool


@cache
def modules() -> dict[str, Path]:
    """Dotted name -> file, of every module of the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path
    return found


@cache
def tree(path: Path) -> ast.Module:
    """The parsed file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> list[Import]:
    """Every import of a file, with `from package import module` resolved to the module."""
    found: list[Import] = []
    _collect(tree(path), found, inside=False, types=False)
    return found


def _collect(node: ast.AST, found: list[Import], *, inside: bool, types: bool) -> None:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            found += [Import(a.name, child.lineno, inside, types) for a in child.names]
        elif isinstance(child, ast.ImportFrom):
            found += [
                Import(_target(child.module or "", a.name), child.lineno, inside, types)
                for a in child.names
            ]
        else:
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            checking = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            _collect(child, found, inside=inside or function, types=types or checking)


def _target(module: str, name: str) -> str:
    full = f"{module}.{name}"
    return full if full in modules() else module


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a file."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(tree(path)) if isinstance(node, kinds)]


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    total = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        total -= (first.end_lineno or first.lineno) - first.lineno + 1
    return total
