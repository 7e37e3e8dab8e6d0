"""`include`: other applications whose services, networks, volumes, secrets, configs and models
become part of this one.

An included set of files is assembled as the project's own is, with its own directory and with its
own `.env` under the variables of whoever includes it.  What is defined here wins over what is
included, what is included earlier over what comes later.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.dataclass import dataclass, replace
from orchestrator.errors import PcomposeError, SpecError
from orchestrator.spec import assemble, inputs, merge, reading, reset
from orchestrator.spec.node import Node, plain
from orchestrator.spec.suggestion import nearest_name
from orchestrator.spec.tree import Path

if TYPE_CHECKING:
    from orchestrator.spec.assemble import Scope

SECTIONS = ("services", "volumes", "networks", "secrets", "configs", "models")
DEEPEST = 50
"""Files that include each other; more is a mistake."""
MOST = 1000
"""Entries of all files; two that each include two others, and so on, double with every level."""
_KEYS = ("path", "project_directory", "env_file")
REMOTE = ("https://", "http://", "git://", "ssh://", "github.com/", "git@")
"""Beginnings of what docker compose can also include, and we cannot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One entry of `include`, as written."""

    node: Node
    paths: list[Node]
    env_files: list[Node]
    project_directory: Node | None


def with_included(document: Node, scope: Scope, taken: list[Path]) -> Node:
    """The document over everything it includes, less what it takes away (`taken`, of `reset`).
    What is wrong with an included file is in the report; the others are looked at all the same."""
    entries = dict(document.entries)
    node = entries.pop("include")
    found = document.copy(entries)
    for entry in _entries(node, scope):
        try:
            imported = _imported(entry, scope)
        except SpecError as exc:
            scope.report.take(exc)
            continue
        if imported is not None:
            found = _under(found, reset.without(imported, taken), scope)
    return found


def _entries(node: Node, scope: Scope) -> list[_Entry]:
    if not isinstance(node.value, list):
        if node.value is not None:
            scope.report.add(node, "include: must be a list",
                             hint="write `- ` before the path")  # fmt: skip
        return []
    found = []
    for index, item in enumerate(node.value):
        entry = _entry(item, f"include.{index}", scope)
        if entry is not None:
            found.append(entry)
    return found


def _entry(item: Node, where: str, scope: Scope) -> _Entry | None:
    report = scope.report
    if isinstance(item.value, str):
        return _Entry(node=item, paths=[item], env_files=[], project_directory=None)
    if not isinstance(item.value, dict):
        report.add(item, f"{where}: must be a path, or a mapping with `path`")
        return None
    for key, child in item.value.items():
        if key not in _KEYS and not key.startswith("x-"):
            near = nearest_name(key, _KEYS)
            hint = f"; did you mean `{near}`?" if near else ""
            report.warn(f"{report.place(child)}: {where}.{key}: unknown key, ignored{hint}")
    directory = item.get("project_directory")
    if directory is not None and not isinstance(directory.value, str):
        report.add(directory, f"{where}.project_directory: must be text")
        return None
    return _Entry(
        node=item, paths=_texts(item, "path", where, scope),
        env_files=_texts(item, "env_file", where, scope), project_directory=directory,
    )  # fmt: skip


def _texts(item: Node, key: str, where: str, scope: Scope) -> list[Node]:
    node = item.get(key)
    if node is None or node.value is None:
        return []
    items = node.value if isinstance(node.value, list) else [node]
    if all(isinstance(child.value, str) for child in items):
        return items
    scope.report.add(node, f"{where}.{key}: must be text or a list of texts")
    return []


def _imported(entry: _Entry, scope: Scope) -> Node | None:
    """The tree of what an entry includes."""
    files: list[str] = []
    for node in entry.paths:
        found = _located(node, scope)
        if found is None:
            return None
        files += found
    if not files:
        return None
    cycle = _cycle(files[0], scope.chain)
    if cycle:
        shown = " -> ".join(scope.report.shown(file) for file in cycle)
        scope.report.add(entry.paths[0], f"include: the files include each other: {shown}")
        return None
    scope.sources.included += 1
    if scope.sources.included == MOST + 1:
        scope.report.add(entry.node, f"include: more than {MOST} entries")
    if scope.sources.included > MOST:
        scope.report.check()
    if len(scope.chain) > DEEPEST:
        scope.report.add(entry.node, f"include: files are nested deeper than {DEEPEST}")
        return None
    directory = os.path.dirname(files[0])
    if entry.project_directory is not None and entry.project_directory.value:
        directory = _joined(scope.search_dir, str(entry.project_directory.value))
    variables = _variables(entry, directory, scope)
    if variables is None:
        return None
    inner = replace(
        scope, variables=variables, search_dir=directory,
        working_dir=directory if os.path.isdir(directory) else os.path.dirname(directory),
        skip=scope.skip & {"interpolation"}, chain=(*scope.chain, *files),
        role="include",
    )  # fmt: skip
    return assemble.assemble(files, inner)


def _located(node: Node, scope: Scope) -> Sequence[str] | None:
    """The files that a path of an entry names; None, and told: there are none."""
    path = str(node.value)
    if path.startswith(inputs.OCI):
        try:
            return scope.sources.fetched(path)
        except PcomposeError as exc:
            scope.report.add(node, f"include: {exc.message}", hint=exc.hint)
            return None
    if path.startswith(REMOTE):
        scope.report.add(node, f"include: {path} is not on this machine; only local files and "
                         "oci:// can be included", hint="clone it and include the files")
        return None
    file = _joined(scope.search_dir, path)
    if os.path.isfile(file):
        return (file,)
    scope.report.add(node, f"include: {reading.why_no_file(file)}: {scope.report.shown(file)}")
    return None


def _joined(directory: str, path: str) -> str:
    return os.path.normpath(os.path.join(directory, path))


def _cycle(file: str, chain: tuple[str, ...]) -> list[str]:
    real = os.path.realpath(file)
    for index, earlier in enumerate(chain):
        if os.path.realpath(earlier) == real:
            return [*chain[index:], file]
    return []


def _variables(entry: _Entry, directory: str, scope: Scope) -> dict[str, str] | None:
    """Those of the includer over those of the entry's env files."""
    if not entry.env_files:
        default = os.path.join(directory, ".env")
        files = [default] if os.path.isfile(default) else []
    else:
        files = [_joined(scope.search_dir, str(n.value)) for n in entry.env_files
                 if n.value != os.devnull]  # fmt: skip
    try:
        return inputs.with_env_files(files, scope.variables, root=scope.report.root,
                                     trace=scope.report.trace)  # fmt: skip
    except SpecError as exc:
        if exc.problems[0][0]:
            raise
        scope.report.add((entry.env_files or [entry.node])[0], f"include: {exc.message}")
        return None


def _under(document: Node, imported: Node, scope: Scope) -> Node:
    """The document over the imported resources; the same said twice is no conflict."""
    entries = dict(document.entries)
    for section in SECTIONS:
        theirs = imported.get(section)
        if theirs is None or not theirs.entries:
            continue
        own = entries.get(section)
        if own is not None and own.value is not None and not isinstance(own.value, dict):
            continue  # the schema says what is wrong with it
        merged = dict(theirs.entries)
        for name, node in (own.entries if own else {}).items():
            merged[name] = _over(merged.get(name), node, (section, name), scope)
        entries[section] = (own or theirs).copy(merged)
    return document.copy(entries)


def _over(theirs: Node | None, own: Node, path: Path, scope: Scope) -> Node:
    if theirs is None or plain(theirs) == plain(own):
        return own
    scope.report.warn(
        f"{scope.report.place(own)}: {path[0]}.{path[1]} is defined by the included "
        f"{scope.report.place(theirs)} as well; what is said here wins"
    )
    root = theirs.copy({str(path[0]): theirs.copy({str(path[1]): theirs})})
    other = own.copy({str(path[0]): own.copy({str(path[1]): own})})
    merged = merge.merge(root, other, scope.report).get(str(path[0]), str(path[1]))
    return merged or own
