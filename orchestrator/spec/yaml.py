"""YAML text -> nodes with places; the only user of PyYAML.

Builds the tree from the parser's events itself: duplicate keys are refused with both places, keys
are strings, scalars follow the YAML 1.2 core schema as Compose reads it (`yes` is text, `0755` is
octal), aliases are shared and their expansion is bounded.  Knows nothing of Compose but the two
tags `!reset` and `!override`.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from orchestrator.errors import SpecError
from orchestrator.spec.node import OVERRIDE, RESET, Node, Scalar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yaml import Mark

Event = Any
"""An event of the C parser or of the Python one; they share no type with all the fields."""

MOST_NODES = 200_000
"""Nodes of a document with every alias expanded; a real one of 80 services has some 5000."""
DEEPEST = 100
LARGEST = 32 << 20
"""Bytes of one file; more is not a Compose file."""

_WORDS: dict[str, Scalar] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    ".inf": float("inf"), ".Inf": float("inf"), ".INF": float("inf"),
    "+.inf": float("inf"), "+.Inf": float("inf"), "+.INF": float("inf"),
    "-.inf": float("-inf"), "-.Inf": float("-inf"), "-.INF": float("-inf"),
    ".nan": float("nan"), ".NaN": float("nan"), ".NAN": float("nan"),
}  # fmt: skip
_NUMBER_STARTS = frozenset("+-.0123456789")
_FLOAT = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
_INTEGER = r"[-+]?(?:0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+|0[0-7]*|[1-9][0-9]*)"
_TIME = (
    r"(\d{4})-(\d{1,2})-(\d{1,2})"
    r"(?:(?:[Tt]|[ ])(\d{1,2}):(\d{1,2}):(\d{1,2})(\.\d{1,9})?(?:[ ]?(Z|[-+]\d\d:?\d\d))?)?"
)
_ABOUT = {
    "found character that cannot start any token": "a tab, `@` or backtick begins no value; "
    "indent with spaces and quote such text",
    "mapping values are not allowed in this context": "quote a value that contains `: `, and "
    "check the indentation",
    "did not find expected key": "check the indentation of this line and the ones before it",
    "could not find expected ':'": "a key needs a colon and a blank after it",
}


def documents(data: bytes, *, file: str, shown: str) -> list[Node]:
    """Every document of a file; an empty one is left out.

    `file` becomes part of every mark, `shown` names the file in errors.  Raises SpecError.
    """
    if len(data) > LARGEST:
        raise SpecError(f"the file is larger than {LARGEST >> 20} MiB", where=shown)
    text = _decoded(data, shown)
    import yaml  # 15 ms, and `ps` does not need it

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Builder(yaml.parse(text, Loader=loader), file=file, shown=shown).documents()
    except yaml.MarkedYAMLError as exc:
        raise _syntax_error(exc, text=text, shown=shown) from exc
    except yaml.reader.ReaderError as exc:
        where = _place(text, exc.position, shown)
        code = exc.character if isinstance(exc.character, int) else ord(exc.character)
        raise SpecError(f"character U+{code:04X} is not allowed in YAML", where=where) from exc


Span = tuple[int, int, str]
"""Where a scalar begins and ends, in characters of the text, and its anchor."""


def spans(data: bytes) -> dict[tuple[int, int], Span]:
    """Where the scalars of a file stand, by line and column of the nodes that `documents` makes of
    them; of a text that it has read."""
    import yaml

    found: dict[tuple[int, int], Span] = {}
    around: list[_Collection] = []
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    event: Event
    for event in yaml.parse(_decoded(data, ""), loader):
        kind = type(event).__name__
        if kind in ("MappingEndEvent", "SequenceEndEvent"):
            around.pop()
        if kind not in ("ScalarEvent", "AliasEvent", "MappingStartEvent", "SequenceStartEvent"):
            continue
        place = around[-1].place(event.start_mark) if around else event.start_mark
        if kind in ("MappingStartEvent", "SequenceStartEvent"):
            around.append(_Collection(is_mapping=kind == "MappingStartEvent"))
        elif place is not None:
            anchor = event.anchor or "" if kind == "ScalarEvent" else ""
            at = (place.line + 1, place.column + 1)
            found[at] = (event.start_mark.index, event.end_mark.index, anchor)
    return found


class _Collection:
    """A mapping or sequence whose events are coming."""

    __slots__ = ("is_mapping", "key")

    def __init__(self, *, is_mapping: bool) -> None:
        self.is_mapping = is_mapping
        self.key: Mark | None = None

    def place(self, mark: Mark) -> Mark | None:
        """Where the node that begins at `mark` is placed: a value at its key, an item at itself;
        None: it is a key."""
        if not self.is_mapping:
            return mark
        key, self.key = self.key, mark if self.key is None else None
        return key


def _decoded(data: bytes, shown: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        before = data[: exc.start].decode("utf-8", "replace")
        where = _place(before, len(before), shown)
        message = f"byte 0x{data[exc.start]:02x} is not UTF-8"
        raise SpecError(message, where=where, hint="save the file as UTF-8") from exc
    forbidden = re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", text)
    if forbidden:
        where = _place(text, forbidden.start(), shown)
        raise SpecError(f"character U+{ord(forbidden[0]):04X} is not allowed in YAML", where=where)
    return text


def _place(text: str, position: int, shown: str) -> str:
    before = text[:position]
    return f"{shown}:{before.count(chr(10)) + 1}:{position - before.rfind(chr(10))}"


def _syntax_error(exc: Exception, *, text: str, shown: str) -> SpecError:
    mark: Mark | None = getattr(exc, "problem_mark", None) or getattr(exc, "context_mark", None)
    message = str(getattr(exc, "problem", None) or "the text is not YAML")
    context = getattr(exc, "context", None)
    hint = _ABOUT.get(message)
    if message == "exceeded maximum nesting depth":  # libyaml's own bound, above ours
        message, context = f"values are nested deeper than {DEEPEST}", None
    lines = text.split("\n")
    if mark and mark.line < len(lines) and lines[mark.line][mark.column :][:1] == "\t":
        message, context, hint = "a tab cannot indent YAML", None, "indent with spaces"
    where = f"{shown}:{mark.line + 1}:{mark.column + 1}" if mark else shown
    return SpecError(f"{message} ({context})" if context else message, where=where, hint=hint)


class _Anchored:
    """A finished anchor: its node, how many nodes it stands for and how deep they reach."""

    __slots__ = ("height", "node", "size")

    def __init__(self, node: Node, size: int, height: int) -> None:
        self.node = node
        self.size = size
        self.height = height


class _Builder:
    """One file's events -> nodes."""

    def __init__(self, events: Iterator[Event], *, file: str, shown: str) -> None:
        self._next = events.__next__
        self._file = file
        self._shown = shown
        self._count = 0
        self._reach = 0
        self._anchors: dict[str, _Anchored] = {}
        self._open: set[str] = set()
        self._problems: list[tuple[str, str, str | None]] = []

    def documents(self) -> list[Node]:
        found = []
        self._next()
        while type(self._next()).__name__ != "StreamEndEvent":
            self._anchors.clear()
            self._count = 0
            event = self._next()
            node = self._node(event, event.start_mark, 0)
            self._next()
            if node.value is not None:
                found.append(node)
        if self._problems:
            raise SpecError("", problems=tuple(self._problems))
        return found

    def _node(self, event: Event, mark: Mark, depth: int) -> Node:
        """The node that begins with `event`, placed at `mark`."""
        self._count += 1
        self._reach = max(self._reach, depth)
        kind = type(event).__name__
        if kind == "AliasEvent":
            return self._alias(event, mark, depth)
        self._bound(mark)
        anchor: str | None = event.anchor
        if anchor is None:
            return self._fresh(kind, event, mark, depth)
        return self._anchor(anchor, kind, event, mark, depth)

    def _bound(self, mark: Mark) -> None:
        if self._count > MOST_NODES:
            raise SpecError(
                f"the document has more than {MOST_NODES} values once its aliases are expanded",
                where=self._where(mark),
            )
        if self._reach > DEEPEST:
            raise SpecError(f"values are nested deeper than {DEEPEST}", where=self._where(mark))

    def _anchor(self, anchor: str, kind: str, event: Event, mark: Mark, depth: int) -> Node:
        before, reach = self._count, self._reach
        self._open.add(anchor)
        self._reach = depth
        node = self._fresh(kind, event, mark, depth)
        height = self._reach - depth
        self._reach = max(reach, self._reach)
        self._open.discard(anchor)
        self._anchors[anchor] = _Anchored(node, self._count - before, height)
        return node

    def _alias(self, event: Event, mark: Mark, depth: int) -> Node:
        known = self._anchors.get(event.anchor)
        if known is None or event.anchor in self._open:
            inside = event.anchor in self._open
            text = f"alias *{event.anchor} " + ("contains itself" if inside else "has no anchor")
            raise SpecError(text, where=self._where(event.start_mark))
        self._count += known.size
        self._reach = max(self._reach, depth + known.height)
        self._bound(event.start_mark)
        return Node(known.node.value, self._file, mark.line + 1, mark.column + 1, known.node.tag)

    def _fresh(self, kind: str, event: Event, mark: Mark, depth: int) -> Node:
        node = Node(None, self._file, mark.line + 1, mark.column + 1)
        tag: str | None = event.tag
        if tag is not None and tag in (RESET, OVERRIDE):
            node.tag, tag = tag, None
        if kind == "ScalarEvent":
            node.value = self._scalar(event, tag)
        elif kind == "MappingStartEvent":
            node.value = self._mapping(depth + 1)
        else:
            node.value = self._sequence(depth + 1)
        return node

    def _sequence(self, depth: int) -> list[Node]:
        items = []
        while type(event := self._next()).__name__ != "SequenceEndEvent":
            items.append(self._node(event, event.start_mark, depth))
        return items

    def _mapping(self, depth: int) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        places: dict[str, Mark] = {}
        merged: list[Node] = []
        while type(event := self._next()).__name__ != "MappingEndEvent":
            mark = event.start_mark
            is_merge = getattr(event, "value", None) == "<<" and event.implicit[0]
            key = "<<" if is_merge else self._key(event, mark, depth)
            node = self._node(self._next(), mark, depth)
            if key in places:
                first = places[key].line + 1
                self._problem(mark, f"key `{key}` is given twice, first in line {first}")
                continue
            places[key] = mark
            if is_merge:
                merged = self._merged(node)
            else:
                entries[key] = node
        for source in merged:
            for key, node in source.entries.items():
                entries.setdefault(key, node)
        return entries

    def _merged(self, node: Node) -> list[Node]:
        sources = node.items if isinstance(node.value, list) else [node]
        for source in sources:
            if not isinstance(source.value, dict):
                where = f"{self._shown}:{source.line}:{source.column}"
                raise SpecError("`<<` takes a mapping or a list of mappings", where=where)
        return sources

    def _key(self, event: Event, mark: Mark, depth: int) -> str:
        value = self._node(event, mark, depth).value
        if isinstance(value, str):
            return value
        if isinstance(value, dict | list):
            self._problem(mark, "a key must be text, not a mapping or a list")
        else:
            written = getattr(event, "value", "")
            hint = f'write it in quotes: "{written}"' if written else None
            self._problem(mark, f"key {written or 'null'} is not text", hint)
        return f"\x00{mark.line}:{mark.column}"

    def _scalar(self, event: Event, tag: str | None) -> Scalar:
        text: str = event.value
        if "\0" in text:  # nowhere can the kernel take one: path, argument, variable
            self._problem(event.start_mark, "a value cannot contain a NUL character")
            return text.replace("\0", "")
        if tag is None:
            value = resolve(text) if event.implicit[0] else text
            if isinstance(value, float) and not math.isfinite(value):
                self._problem(event.start_mark, f"{text} is not a number here", "quote it")
            return value
        if not tag.startswith("tag:yaml.org,2002:") or tag.endswith((":str", ":binary")):
            return text
        value = resolve(text)
        wanted = tag.rpartition(":")[2]
        if wanted == "float" and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        kinds = {"int": int, "float": float, "bool": bool, "null": type(None)}
        if type(value) is not kinds.get(wanted, type(value)):
            self._problem(event.start_mark, f"`{text}` is not of type {wanted}")
        return value

    def _where(self, mark: Mark) -> str:
        return f"{self._shown}:{mark.line + 1}:{mark.column + 1}"

    def _problem(self, mark: Mark, message: str, hint: str | None = None) -> None:
        self._problems.append((self._where(mark), message, hint))


def resolve(text: str) -> Scalar:
    """What a plain scalar means: null, bool, int, float, date (as text) or text."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_STARTS:
        return text
    digits = text.replace("_", "") if "_" in text else text
    if re.fullmatch(_INTEGER, digits):
        return _integer(digits)
    if re.fullmatch(_FLOAT, digits):
        return float(digits)
    return _date(text) if text[:4].isdecimal() and text[4:5] == "-" else text


def _integer(digits: str) -> int | float:
    bare = digits.lstrip("+-")
    octal = len(bare) > 1 and bare[0] == "0" and bare[1].isdecimal()
    sign = -1 if digits[0] == "-" else 1
    # beyond 64 bits the reference falls back to a float; also bounds the cost of long digits
    if len(bare) > 70:
        return float("inf") * sign if len(bare) > 400 else sign * float(bare)
    value = sign * int(bare, 8 if octal else 0)
    return value if -(1 << 63) <= value < 1 << 64 else float(value)


def _date(text: str) -> str:
    """A YAML timestamp becomes the text the reference makes of it; everything else stays."""
    match = re.fullmatch(_TIME, text)
    if match is None:
        return text
    year, month, day, hour, minute, second = (int(match[n] or 0) for n in range(1, 7))
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 60):
        return text
    fraction = (match[7] or "").rstrip("0").rstrip(".")
    zone = match[8] or "Z"
    offset = "+0000 UTC" if zone == "Z" else "{0} {0}".format(zone.replace(":", ""))
    return f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{fraction} {offset}"
