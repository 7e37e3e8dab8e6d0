"""The part of Go's text/template that scripts use with `--format`.

    {{.State}} {{json .}} {{.Labels | upper}} {{if eq .State "running"}}up{{else}}down{{end}}
    {{range .Publishers}}{{.URL}}:{{.PublishedPort}} {{end}}{{len .Mounts}}{{"\\t"}}

Values are JSON data; the functions are Docker's and those of Go that make sense for them.  A row
that is missing a field is an error, as there.  Source: pkg.go.dev/text/template.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orchestrator.dataclass import dataclass
from orchestrator.errors import UsageError

Value = Any
"""JSON data, and functions of one text such as `.Label`."""

_ACTION = re.compile(r"\{\{(- )?\s*(.*?)\s*( -)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:("(?:\\.|[^"\\])*"|`[^`]*`)|(-?\d+(?:\.\d+)?)|(\.(?:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)?)|"""
    r"""(\$)(\.[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)?|([A-Za-z_]\w*)|([|()]))"""
)
_DEEPEST = 50
_LONGEST = 1 << 16


@dataclass(frozen=True, slots=True)
class _Text:
    text: str


@dataclass(frozen=True, slots=True)
class _Print:
    pipeline: str


@dataclass(frozen=True, slots=True)
class _Block:
    """if, range or with: what it asks, what then, what else."""

    kind: str
    pipeline: str
    then: tuple[_Node, ...]
    other: tuple[_Node, ...]


_Node = _Text | _Print | _Block


class Template:
    """A parsed template; UsageError where it is none."""

    def __init__(self, text: str) -> None:
        if len(text) > _LONGEST:
            raise UsageError("the template is too long")
        self._source = text
        parser = _Parser(text)
        self._nodes, end = parser.nodes(level=0)
        if end:
            raise _fault(f"unexpected {{{{{end}}}}}")

    def render(self, row: Value) -> str:
        """The text for one row; UsageError where it asks for what there is not."""
        out: list[str] = []
        _Run(row, out).run(self._nodes, row)
        return "".join(out)

    def fields(self) -> list[str]:
        """Names of the fields that are printed, in order: the heads of a table's columns."""
        return re.findall(r"\{\{[^{}]*?\.(\w+)[^{}]*\}\}", self._source)


def _fault(message: str) -> UsageError:
    return UsageError(f"template parsing error: {message}",
                      hint="as in Go: {{.Name}}, {{json .}}, {{range .Publishers}}…{{end}}")


class _Parser:
    def __init__(self, text: str) -> None:
        self._pieces = list(_pieces(text))
        self._at = 0

    def nodes(self, *, level: int) -> tuple[tuple[_Node, ...], str]:
        """The nodes up to `{{end}}` or `{{else …}}`, and which; the end of all is empty."""
        if level > _DEEPEST:
            raise _fault("nested too deeply")
        found: list[_Node] = []
        while self._at < len(self._pieces):
            is_action, text = self._pieces[self._at]
            self._at += 1
            if not is_action:
                found.append(_Text(text))
                continue
            word, _, rest = text.partition(" ")
            if word in ("if", "range", "with"):
                found.append(self._block(word, rest.strip(), level))
            elif word == "end" or word == "else":
                return tuple(found), text
            elif text and not text.startswith("/*"):
                _check(text)
                found.append(_Print(text))
        return tuple(found), ""

    def _block(self, kind: str, pipeline: str, level: int) -> _Block:
        _check(pipeline)
        then, end = self.nodes(level=level + 1)
        other: tuple[_Node, ...] = ()
        if end.startswith("else if "):
            return _Block(kind, pipeline, then, (self._block("if", end[8:].strip(), level + 1),))
        if end == "else":
            other, end = self.nodes(level=level + 1)
        if end != "end":
            raise _fault(f"{{{{{kind}}}}} has no {{{{end}}}}")
        return _Block(kind, pipeline, then, other)


def _pieces(text: str) -> list[tuple[bool, str]]:
    """(whether it is an action, text) with blanks trimmed where `{{- ` and ` -}}` ask for it."""
    found: list[tuple[bool, str]] = []
    at, trims = 0, False
    for action in _ACTION.finditer(text):
        before = text[at : action.start()]
        before = before.lstrip() if trims else before
        found += [(False, before.rstrip() if action[1] else before), (True, action[2])]
        at, trims = action.end(), bool(action[3])
    rest = text[at:].lstrip() if trims else text[at:]
    if "{{" in rest:
        raise _fault("an action is not closed")
    return [piece for piece in (*found, (False, rest)) if piece != (False, "")]


def _tokens(pipeline: str) -> list[re.Match[str]]:
    found, at = [], 0
    while at < len(pipeline.rstrip()):
        token = _TOKEN.match(pipeline, at)
        if token is None:
            raise _fault(f"unexpected {pipeline[at:].strip()[:20]!r} in {{{{{pipeline}}}}}")
        found.append(token)
        at = token.end()
    return found


def _check(pipeline: str) -> None:
    names = [t[6] for t in _tokens(pipeline) if t[6]]
    if not pipeline:
        raise _fault("missing value for an action")
    for name in names:
        if name not in (*FUNCTIONS, "true", "false", "nil"):
            raise _fault(f'function "{name}" not defined')


class _Run:
    """One rendering."""

    def __init__(self, root: Value, out: list[str]) -> None:
        self._root, self._out = root, out

    def run(self, nodes: Sequence[_Node], dot: Value) -> None:
        for node in nodes:
            if isinstance(node, _Text):
                self._out.append(node.text)
            elif isinstance(node, _Print):
                self._out.append(show(self._value(node.pipeline, dot)))
            else:
                self._block(node, dot)

    def _block(self, node: _Block, dot: Value) -> None:
        value = self._value(node.pipeline, dot)
        if not value:
            self.run(node.other, dot)
        elif node.kind == "range":
            for item in value.values() if isinstance(value, Mapping) else value:
                self.run(node.then, item)
        else:
            self.run(node.then, value if node.kind == "with" else dot)

    def _value(self, pipeline: str, dot: Value) -> Value:
        tokens = _tokens(pipeline)
        value, rest = self._pipe(tokens, dot, level=0)
        if rest:
            raise _fault(f"unexpected {rest[0][0].strip()!r} in {{{{{pipeline}}}}}")
        return value

    def _pipe(
        self, tokens: list[re.Match[str]], dot: Value, *, level: int
    ) -> tuple[Value, list[re.Match[str]]]:
        """Commands between bars, up to a closing bracket: the last argument is what came before."""
        if level > _DEEPEST:
            raise _fault("nested too deeply")
        value: list[Value] = []
        while True:
            words: list[Value] = []
            while tokens and tokens[0][7] not in ("|", ")"):
                word, tokens = self._word(tokens, dot, level=level)
                words.append(word)
            value = [_call([*words, *value])]
            if not tokens or tokens[0][7] == ")":
                return value[0], tokens
            tokens = tokens[1:]

    def _word(
        self, tokens: list[re.Match[str]], dot: Value, *, level: int
    ) -> tuple[Value, list[re.Match[str]]]:
        token, rest = tokens[0], tokens[1:]
        if token[7] == "(":
            value, rest = self._pipe(rest, dot, level=level + 1)
            if not rest:
                raise _fault("a bracket is not closed")
            return value, rest[1:]
        if token[1]:
            return _unquoted(token[1]), rest
        if token[2]:
            return (float(token[2]) if "." in token[2] else int(token[2])), rest
        if token[3]:
            return _field(dot, token[3]), rest
        if token[4]:
            return _field(self._root, token[5] or "."), rest
        constant = {"true": True, "false": False, "nil": None}
        return constant.get(token[6], FUNCTIONS.get(token[6])), rest


def _unquoted(text: str) -> str:
    if text[0] == "`":
        return text[1:-1]
    try:
        return str(json.loads(text))
    except ValueError:
        raise _fault(f"bad string {text}") from None


def _field(value: Value, path: str) -> Value:
    for name in path.split(".")[1:] if path != "." else ():
        if not isinstance(value, Mapping) or name not in value:
            raise UsageError(f"template: there is no field {name} here",
                             hint=_known(value))  # fmt: skip
        value = value[name]
    return value


def _known(value: Value) -> str:
    if not isinstance(value, Mapping):
        return "it is a plain value: {{.}}"
    return "known are: " + ", ".join(sorted(map(str, value)))


def _call(words: list[Value]) -> Value:
    if not words:
        raise _fault("missing value for an action")
    first, *arguments = words
    if not callable(first):
        if arguments:
            raise _fault("a value is no function")
        return first
    try:
        return first(*arguments)
    except (TypeError, ValueError, IndexError, KeyError, AttributeError) as exc:
        raise UsageError(f"template: {exc}") from exc


def show(value: Value) -> str:
    """As Go prints it."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{k}:{show(value[k])}" for k in sorted(value)) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(show, value)) + "]"
    return str(value)


def _json(value: Value) -> str:
    return json.dumps(_plain(value), separators=(",", ":"), ensure_ascii=False)


def _plain(value: Value) -> Value:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items() if not callable(each)}
    return value


def _index(value: Value, *keys: Value) -> Value:
    for key in keys:
        value = value.get(key, "") if isinstance(value, Mapping) else value[key]
    return value


def _printf(form: str, *values: Value) -> str:
    shown = [v if isinstance(v, int | float) else show(v) for v in values]
    return form.replace("%v", "%s").replace("%q", '"%s"') % tuple(shown)


def _equal(first: Value, *others: Value) -> bool:
    return any(first == other for other in others)


FUNCTIONS: dict[str, Callable[..., Value]] = {
    "json": _json, "upper": lambda text: str(text).upper(), "lower": lambda text: str(text).lower(),
    "title": lambda text: str(text).title(), "join": lambda items, by: by.join(map(show, items)),
    "split": lambda text, by: text.split(by), "len": len, "index": _index, "printf": _printf,
    "print": lambda *values: "".join(map(show, values)),
    "println": lambda *values: " ".join(map(show, values)) + "\n",
    "truncate": lambda text, size: text[:size],
    "pad": lambda text, before, after: " " * before + text + " " * after,
    "eq": _equal, "ne": lambda a, b: a != b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b, "not": lambda a: not a,
    "and": lambda *values: next((v for v in values if not v), values[-1]),
    "or": lambda *values: next((v for v in values if v), values[-1]),
}  # fmt: skip
