"""The grammar of `.env` files and of `env_file`.

    # comment
    export NAME=plain text, $VARIABLES are replaced   # comment after a blank
    NAME: 'as it is'
    NAME="with \\n escapes and ${VARIABLES}, and
    more lines"
    NAME                     inherited from the environment

Pure: text in, entries out.  Knows nothing of files and services.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from orchestrator.spec import template

_BLANK = " \t\v\f\r\x85\xa0"
_KEY_EXTRA = frozenset("_.-[]" + _BLANK)
_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", '"': '"', "$": "$$",
}  # fmt: skip


class Entry(NamedTuple):
    """One variable; `value` None means: named, but nobody has a value for it."""

    name: str
    value: str | None
    line: int


class DotenvError(Exception):
    """A line that cannot be read."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


def parse(
    text: str, *, lookup: template.Lookup, before: Mapping[str, str] | None = None,
    missing: Callable[[str], None] = lambda name: None,
) -> list[Entry]:  # fmt: skip
    """All entries in order, later ones of the same name included; values see `lookup` first, then
    the entries above them and those of `before`.  Raises DotenvError."""
    return _Parser(text, lookup, dict(before or {}), missing).entries()


def parse_raw(text: str, *, lookup: template.Lookup) -> list[Entry]:
    """`format: raw`: `NAME=value` with the value as it is, quotes and dollars included."""
    entries = []
    for number, line in enumerate(_lines(text).split("\n"), 1):
        name, equals, value = line.lstrip().partition("=")
        if not name or name.startswith("#"):
            if equals and not name:
                raise DotenvError(number, "no variable name before the value")
            continue
        if any(character.isspace() for character in name):
            raise DotenvError(number, f"variable {name!r} contains a blank")
        _check(value, number)
        entries.append(Entry(name, value if equals else lookup(name), number))
    return entries


def _check(value: str, line: int) -> None:
    """DotenvError where the kernel could not hand the value over."""
    if "\0" in value:
        raise DotenvError(line, "a value cannot contain a NUL character")


def _lines(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


class _Parser:
    def __init__(
        self, text: str, lookup: template.Lookup, known: dict[str, str],
        missing: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._text = _lines(text)
        self._at = 0
        self._line = 1
        self._given = lookup
        self._missing = missing
        self._known = known
        self._length = 0

    def entries(self) -> list[Entry]:
        found = []
        while self._skip_to_statement():
            line = self._line
            name, inherited = self._name()
            value = self._given(name) if inherited else self._value()
            if value is not None:
                self._known[name] = value
                self._length += len(value)
                _check(value, line)
            if self._length > template.LONGEST:
                text = f"the values together are longer than {template.LONGEST >> 20} MiB"
                raise DotenvError(line, text)
            found.append(Entry(name, value, line))
        return found

    def _advance(self, end: int) -> str:
        taken = self._text[self._at : end]
        self._at = end
        self._line += taken.count("\n")
        return taken

    def _skip_to_statement(self) -> bool:
        text = self._text
        while self._at < len(text):
            if text[self._at] == "#":
                self._advance(self._end_of_line())
            elif text[self._at].isspace():
                self._advance(self._at + 1)
            else:
                return True
        return False

    def _end_of_line(self) -> int:
        end = self._text.find("\n", self._at)
        return len(self._text) if end < 0 else end

    def _name(self) -> tuple[str, bool]:
        if re.match(r"export[ \t]", self._text[self._at : self._at + 7]):
            self._advance(self._at + 7)
        end = self._end_of_line()
        for index in range(self._at, end):
            character = self._text[index]
            if character in "=:":
                name = self._checked(self._text[self._at : index])
                self._advance(index + 1)
                return name, False
            if not (character.isalnum() or character in _KEY_EXTRA):
                line = self._text[self._at : min(end, self._at + 80)]
                raise DotenvError(
                    self._line, f"unexpected character {character!r} in variable name {line!r}"
                )
        name = self._checked(self._text[self._at : end])
        self._advance(end)
        return name, True

    def _checked(self, written: str) -> str:
        name = written.strip(_BLANK)
        if not name:
            raise DotenvError(self._line, "no variable name before the value")
        if " " in name:
            raise DotenvError(self._line, f"variable name {name!r} contains a blank")
        return name

    def _value(self) -> str:
        while self._at < len(self._text) and self._text[self._at] in _BLANK:
            self._at += 1
        quote = self._text[self._at : self._at + 1]
        if quote and quote in "\"'":
            return self._quoted(quote)
        written = self._advance(self._end_of_line())
        comment = re.search(r"[ \t]#", written)
        return self._expanded((written[: comment.start()] if comment else written).strip())

    def _quoted(self, quote: str) -> str:
        start = self._at + 1
        end = self._text.find(quote, start)
        while end >= 0 and self._is_escaped(start, end):
            end = self._text.find(quote, end + 1)
        if end < 0:
            shown = self._text[self._at : min(self._end_of_line(), self._at + 80)]
            raise DotenvError(self._line, f"the quote is never closed: {shown}")
        self._at += 1
        line = self._line
        written = self._advance(end)
        self._at += 1
        if quote == "'":
            return written.replace("\\'", "'")
        unescaped = re.sub(r'\\([abfnrtv$"\\]|0[0-7]{0,3})', _unescaped, written)
        return self._expanded(unescaped, line)

    def _is_escaped(self, start: int, at: int) -> bool:
        """Whether an odd number of backslashes stands before `at`."""
        first = at
        while first > start and self._text[first - 1] == "\\":
            first -= 1
        return (at - first) % 2 == 1

    def _expanded(self, value: str, line: int | None = None) -> str:
        try:
            return template.substitute(value, self._lookup, missing=self._missing)
        except template.TemplateError as exc:
            raise DotenvError(line or self._line, str(exc)) from exc
        except template.RequiredError as exc:
            said = f": {exc.message}" if exc.message else ""
            text = f"required variable {exc.name} is missing a value{said}"
            raise DotenvError(line or self._line, text) from exc

    def _lookup(self, name: str) -> str | None:
        value = self._given(name)
        return self._known.get(name) if value is None else value


def _unescaped(match: re.Match[str]) -> str:
    sequence = match[1]
    if sequence[0] == "0":
        return chr(int(sequence, 8) & 0xFF)
    return _ESCAPES[sequence]
