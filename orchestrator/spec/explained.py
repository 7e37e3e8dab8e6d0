"""Why a value is what it is: `config --explain`.

Takes the tree of a traced load (`provenance`) and a path into it; gives everything that was said
about the value, from which place, which rule chose, and the variables it was made of.  Pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

from orchestrator.dataclass import dataclass, replace
from orchestrator.errors import UsageError
from orchestrator.spec import template
from orchestrator.spec.node import Node, plain
from orchestrator.spec.provenance import Beaten, Role, Trace, Traced
from orchestrator.spec.suggestion import nearest_name
from orchestrator.spec.tree import Path, Tree, dotted

_LATER = {
    "file": "a later file wins",
    "include": "the file wins over what it includes",
    "extends": "the service wins over what it extends",
    "env_file": "a later env file wins",
}
_ROLES: Mapping[Role, str] = {
    "file": "", "include": "included", "extends": "extended", "env_file": "env_file",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One thing that was said about the value."""

    value: Tree
    where: str
    """`compose.yaml:14:5`; empty: nobody wrote it, it is a default."""
    role: str
    """`included`, `extended`, `env_file`, or empty for a file of the project's own."""
    rule: str
    """Why it lost; empty for the one that was chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A variable in the template that the value was written as."""

    name: str
    value: str | None
    """None: it is not set."""
    origin: str
    """`the shell`, `.env:3`, `default of the template`, …"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All that is known about one value."""

    path: str
    value: Tree
    where: str
    rule: str
    """Why this one: in words."""
    template: str | None
    candidates: tuple[Candidate, ...]
    """Oldest first; the last one was chosen."""
    variables: tuple[Use, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What the names of files and variables mean to the reader."""

    trace: Trace
    environ: Mapping[str, str]
    """The process environment."""
    shown: Callable[[str], str]
    """The name of a file as the reader knows it."""


def explain(root: Node, path: str, sources: Sources, *, printed: Tree) -> Explanation:
    """What is known of the value at `services.web.environment.DB_URL`; a key may have dots in it.
    What is only in `printed`, all that `config` shows, is a default.  UsageError where there is
    nothing, with the nearest one."""
    try:
        keys, node = find(root, path)
    except UsageError:
        try:
            keys, node = find(_unwritten(printed), path)
        except UsageError:
            pass
        else:
            return _explanation(keys, node, sources)
        raise
    return _explanation(keys, node, sources)


def _unwritten(value: Tree) -> Node:
    """Nodes that nobody wrote."""
    if isinstance(value, dict):
        return Node({key: _unwritten(child) for key, child in value.items()}, "", 0, 0)
    if isinstance(value, list):
        return Node([_unwritten(child) for child in value], "", 0, 0)
    return Node(value, "", 0, 0)


def _explanation(keys: Path, node: Node, sources: Sources) -> Explanation:
    candidates = tuple(_candidates(node, sources))
    uses = tuple(_uses(node, keys, sources))
    written = node.written if isinstance(node, Traced) else None
    is_template = isinstance(written, str) and "$" in written
    chosen = candidates[-1]
    return Explanation(
        path=dotted(keys), value=plain(node), where=chosen.where, candidates=candidates,
        template=str(written) if is_template else None, variables=uses,
        rule=_reason(candidates, uses, is_template=is_template),
    )  # fmt: skip


def find(root: Node, path: str) -> tuple[Path, Node]:
    """The keys and the node of a dotted path.  UsageError."""
    keys: list[str | int] = []
    node, rest = root, path
    while rest:
        step = _step(node, rest)
        if step is None:
            raise _nothing_at(node, keys, rest)
        key, node, rest = step
        keys.append(key)
    return tuple(keys), node


def _step(node: Node, rest: str) -> tuple[str | int, Node, str] | None:
    """The longest key that `rest` begins with, its node, and what is left of `rest`."""
    if isinstance(node.value, list):
        head, _, tail = rest.partition(".")
        number = int(head) if head.isascii() and head.isdigit() and len(head) < 9 else -1
        return (number, node.value[number], tail) if 0 <= number < len(node.value) else None
    parts = rest.split(".")
    for end in range(len(parts), 0, -1):
        key = ".".join(parts[:end])
        child = node.entries.get(key)
        if child is not None:
            return key, child, ".".join(parts[end:])
    return None


def _nothing_at(node: Node, keys: list[str | int], rest: str) -> UsageError:
    wanted = rest.partition(".")[0]
    before = dotted(tuple(keys))
    message = f"{before} has no {wanted}" if before else f"the files have no {wanted}"
    if isinstance(node.value, list):
        hint = f"it is a list with the entries 0 to {len(node.value) - 1}" if node.value else None
        return UsageError(message, hint=hint)
    near = nearest_name(wanted, node.entries)
    hint = f"did you mean `{dotted((*keys, near))}`?" if near else None
    return UsageError(message, hint=hint or _known(node))


def _known(node: Node) -> str | None:
    return f"there are {', '.join(sorted(node.entries)[:12])}" if node.entries else None


def _candidates(node: Node, sources: Sources) -> Iterator[Candidate]:
    beaten = node.beaten if isinstance(node, Traced) else ()
    followers = [*(lost.node for lost in beaten), node][1:]
    for lost, winner in zip(beaten, followers, strict=True):
        yield replace(_candidate(lost.node, sources), rule=_rule(lost, winner))
    yield _candidate(node, sources)


def _candidate(node: Node, sources: Sources) -> Candidate:
    role = _ROLES[node.layer.role] if isinstance(node, Traced) else ""
    where = f"{sources.shown(node.file)}:{node.line}:{node.column}" if node.line else ""
    return Candidate(value=plain(node), where=where, role=role, rule="")


def _rule(lost: Beaten, winner: Node) -> str:
    if lost.rule:
        return lost.rule
    if not isinstance(lost.node, Traced):
        return _LATER["file"]
    if not isinstance(winner, Traced) or winner.layer is not lost.node.layer:
        return _LATER[lost.node.layer.role]
    if winner.path[:2] != lost.node.path[:2]:  # another service of the same document
        return _LATER["extends"]
    return "a later one of the same file wins"


def _reason(
    candidates: tuple[Candidate, ...], uses: tuple[Use, ...], *, is_template: bool
) -> str:
    if len(candidates) > 1:
        return candidates[-2].rule
    if not candidates[-1].where:
        return "nobody said it: a default"
    if not uses:
        return "it is said once"
    return "its template was filled in" if is_template else "it is said without a value"


def _uses(node: Node, keys: Path, sources: Sources) -> Iterator[Use]:
    if not isinstance(node, Traced):
        return
    variables = node.layer.variables
    if node.written is None and isinstance(node.value, str) and keys:
        yield _use(str(keys[-1]), "", "", variables, sources)  # `environment: {NAME: }`
    if not isinstance(node.written, str):
        return
    try:
        for name, operator, word in template.uses(node.written):
            yield _use(name, operator, word, variables, sources)
    except template.TemplateError:
        return  # the load has told it


def _use(
    name: str, operator: str, word: str, variables: Mapping[str, str], sources: Sources
) -> Use:
    value = variables.get(name)
    if value is None:
        origin = "not set" + (f": default {word!r} of the template" if operator[-1:] == "-" else "")
    elif sources.environ.get(name) == value:
        origin = "the shell"
    elif (place := sources.trace.origin(name, value)) is not None:
        origin = f"{sources.shown(place[0])}:{place[1]}"
    else:
        origin = "pcompose itself"  # COMPOSE_PROJECT_NAME, PWD
    if value == "" and operator in (":-", ":?"):
        origin += f": empty, so the default {word!r} of the template" if operator == ":-" else ""
    return Use(name=name, value=value, origin=origin)


# For people


def text(found: Explanation) -> str:
    """Lines for a person, ending in a newline."""
    lines = [f"{found.path} = {_value(found.value)}{_at(found.where)}", f"  because {found.rule}"]
    if found.template is not None:
        lines.append(f"  written as {found.template}")
    width = max((len(use.name) for use in found.variables), default=0)
    for use in found.variables:
        value = "" if use.value is None else f"{_value(use.value)} from "
        lines.append(f"    {use.name:{width}}  {value}{use.origin}")
    if len(found.candidates) > 1:
        lines.append("  candidates, the last one wins")
        lines += _table(found.candidates)
    return "\n".join(lines) + "\n"


def _table(candidates: tuple[Candidate, ...]) -> Iterator[str]:
    rows = [(c.where or "default", _value(c.value)) for c in candidates]
    first, second = (max(len(row[n]) for row in rows) for n in (0, 1))
    for candidate, (where, value) in zip(candidates, rows, strict=True):
        mark = " " if candidate.rule else "*"
        said = ", ".join(word for word in (candidate.role, candidate.rule) if word)
        yield f"  {mark} {where:{first}}  {value:{second}}  {said}".rstrip()


def _at(where: str) -> str:
    return f"  ({where})" if where else ""


def _value(value: Tree) -> str:
    return json.dumps(value, ensure_ascii=False)
