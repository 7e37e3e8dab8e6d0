"""Words of a Dockerfile: how a line is split, how quotes and variables are read.

Owns the little shell language that BuildKit's frontend has for everything but RUN, CMD and
ENTRYPOINT: quotes, the escape character of the file (`\\` or `` ` ``), `$NAME` and `${NAME…}` with
the operators `- + ? :- :+ :? # ## % %% / //`.  Pure; faults are ValueError with words for a user.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set

from orchestrator.build import globs
from orchestrator.dataclass import dataclass

_NAME_START = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_DIGITS = frozenset("0123456789")
_NAME = _NAME_START | _DIGITS
_SPECIAL = frozenset("@*#?-$!")
"""Parameters of a shell; no build has them, so they are empty."""
_QUOTES = frozenset("'\"")
_MOST_NESTED = 50


@dataclass(frozen=True, slots=True)
class Word:
    """A piece of a line, quotes and escapes as they were written."""

    text: str
    offset: int


def split(text: str, *, escape: str = "\\") -> list[Word]:
    """The words between unquoted white space."""
    found: list[Word] = []
    position, size = 0, len(text)
    while position < size:
        if text[position].isspace():
            position += 1
            continue
        end = _end_of_word(text, position, escape)
        found.append(Word(text[position:end], position))
        position = end
    return found


def _end_of_word(text: str, position: int, escape: str) -> int:
    quote = ""
    while position < len(text):
        char = text[position]
        if char == escape and quote != "'":
            position += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char.isspace():
            break
        position += 1
    return min(position, len(text))


def expand_document(text: str, variables: Mapping[str, str]) -> str:
    """A here-document: variables are put in, quotes stay where they are, a backslash (whatever the
    file's escape character is) means the character after it."""
    return _Reader(text, Reading(variables=variables, has_quotes=False)).whole()


def unset(
    text: str, known: Set[str], *, escape: str = "\\", has_quotes: bool = True
) -> list[str]:  # fmt: skip
    """Names of variables that the text asks for, that are not known, and that no operator gives
    a value instead; none in a text that cannot be read."""
    found: list[str] = []
    reading = Reading(variables=dict.fromkeys(known, "x"), escape=escape, has_quotes=has_quotes,
                      on_unset=found.append)  # fmt: skip
    try:
        _Reader(text, reading).whole()
    except ValueError:
        return []
    return [name for name in dict.fromkeys(found) if name[0] in _NAME_START]


def _nobody(name: str) -> None:
    """Who is told of variables without a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a text is read: what variables are worth and what is left as it stands."""

    variables: Mapping[str, str]
    escape: str = "\\"
    keep_quotes: bool = False
    keep_escapes: bool = False
    keep_unset: bool = False
    """`$NAME` of a variable without a value stays `$NAME`."""
    has_quotes: bool = True
    """False in a here-document, where only `$` and the backslash mean something."""
    on_unset: Callable[[str], None] = _nobody
    """Told the name of each variable that has no value and no operator for that case."""


def expand(text: str, variables: Mapping[str, str], *, escape: str = "\\") -> str:
    """The text with variables in and quotes off; white space is kept."""
    return _Reader(text, Reading(variables=variables, escape=escape)).whole()


def expand_words(text: str, variables: Mapping[str, str], *, escape: str = "\\") -> list[str]:
    """As `expand`, split at white space outside quotes, that of variables' values too."""
    return read_words(text, Reading(variables=variables, escape=escape))


def read_words(text: str, reading: Reading) -> list[str]:
    """The words of the text, read in that way."""
    reader = _Reader(text, reading)
    reader.whole()
    return reader.words()


class _Reader:
    """One pass over a text."""

    def __init__(self, text: str, reading: Reading, *, depth: int = 0) -> None:
        if depth > _MOST_NESTED:
            raise ValueError(f"variables are nested more than {_MOST_NESTED} deep")
        self._text = text
        self._reading = reading
        self._depth = depth
        self._at = 0
        self._words: list[str] = []
        self._word: list[str] | None = None

    def whole(self) -> str:
        return self._until("")

    def words(self) -> list[str]:
        """What `whole` has found, as words."""
        return [*self._words, *([] if self._word is None else ["".join(self._word)])]

    def _until(self, stop: str) -> str:
        """Up to the unquoted character `stop`, which is taken too; all of it for an empty one."""
        found: list[str] = []
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == stop:
                self._at += 1
                return "".join(found)
            found.append(self._piece(char))
        if stop:
            raise ValueError(f"`{stop}` is missing at the end of `{self._text}`")
        return "".join(found)

    def _piece(self, char: str) -> str:
        if char in _QUOTES and self._reading.has_quotes:
            return self._raw(self._single() if char == "'" else self._double())
        if char == "$":
            return self._split(self._dollar())
        self._at += 1
        if char == self._reading.escape:
            return self._raw(self._escaped())
        if char.isspace():
            self._end_word()
            return char
        return self._raw(char)

    # ---- words ----

    def _raw(self, text: str) -> str:
        if self._word is None:
            self._word = []
        self._word.append(text)
        return text

    def _split(self, text: str) -> str:
        for char in text:
            if char.isspace():
                self._end_word()
            else:
                self._raw(char)
        return text

    def _end_word(self) -> None:
        if self._word is not None:
            self._words.append("".join(self._word))
            self._word = None

    # ---- quotes ----

    def _escaped(self) -> str:
        kept = self._reading.escape if self._reading.keep_escapes else ""
        if self._at >= len(self._text):
            return kept  # an escape at the very end is a line that goes on: nothing
        self._at += 1
        return kept + self._text[self._at - 1]

    def _single(self) -> str:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise ValueError(f"a single quote is not closed: {self._text[self._at:]}")
        quoted = self._text[self._at : end + 1]
        self._at = end + 1
        return quoted if self._reading.keep_quotes else quoted[1:-1]

    def _double(self) -> str:
        start = self._at
        self._at += 1
        found: list[str] = []
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == '"':
                self._at += 1
                text = "".join(found)
                return f'"{text}"' if self._reading.keep_quotes else text
            if char == "$":
                found.append(self._dollar())
                continue
            self._at += 1
            if char == self._reading.escape and self._at < len(self._text):
                found.append(self._escaped_in_double())
            else:
                found.append(char)
        raise ValueError(f"a double quote is not closed: {self._text[start:]}")

    def _escaped_in_double(self) -> str:
        """Only the quote, the dollar and the escape itself can be escaped."""
        following = self._text[self._at]
        self._at += 1
        if following in ('"', "$", self._reading.escape) and not self._reading.keep_escapes:
            return following
        return self._reading.escape + following

    # ---- variables ----

    def _dollar(self) -> str:
        start = self._at
        self._at += 1
        if self._peek() == "{":
            self._at += 1
            return self._braced(start)
        name = self._name()
        if not name:
            return "$"
        return self._value(name, self._text[start : self._at])

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _name(self) -> str:
        start = self._at
        first = self._peek()
        if first in _SPECIAL and first:
            self._at += 1
        elif first in _NAME_START or first in _DIGITS:
            allowed = _DIGITS if first in _DIGITS else _NAME
            while self._peek() and self._peek() in allowed:
                self._at += 1
        return self._text[start : self._at]

    def _value(self, name: str, written: str) -> str:
        value = self._reading.variables.get(name)
        if value is None:
            self._reading.on_unset(name)
            return written if self._reading.keep_unset else ""
        return value

    def _braced(self, start: int) -> str:
        name = self._name()
        if not name:
            raise ValueError(f"`{self._text[start:]}` names no variable")
        operator = self._operator(name)
        if operator == "}":
            return self._value(name, self._text[start : self._at])
        if operator in _CHOICES:
            word = self._operand()
            if self._reading.keep_unset:
                return self._text[start : self._at]
            return _CHOICES[operator](name, self._reading.variables, word)
        return self._patterned(name, operator, start)

    def _operator(self, name: str) -> str:
        for length in (2, 1):
            found = self._text[self._at : self._at + length]
            if found in _CHOICES or found in _PATTERNED or found == "}":
                self._at += length
                return found
        if not self._peek():
            raise ValueError(f"`}}` is missing after `${{{name}`")
        raise ValueError(f"unknown operator `{self._text[self._at : self._at + 2]}` in `${{{name}`")

    def _operand(self, stop: str = "}") -> str:
        """The word of an operator, itself with variables and quotes."""
        inner = _Reader(self._text, self._reading, depth=self._depth + 1)
        inner._at = self._at
        word = inner._until(stop)
        self._at = inner._at
        return word

    def _patterned(self, name: str, operator: str, start: int) -> str:
        pattern = self._pattern("}" if operator[0] in "#%" else "/")
        replacement = self._operand() if operator[0] == "/" else ""
        if self._reading.keep_unset:
            return self._text[start : self._at]
        value = self._value(name, "")
        return _PATTERNED[operator](value, pattern, replacement)

    def _pattern(self, stop: str) -> str:
        """Raw up to `stop`, escapes kept for the pattern itself; variables are put in."""
        found: list[str] = []
        while char := self._peek():
            if char == stop:
                self._at += 1
                return "".join(found)
            if char == "$":
                found.append(self._dollar())
            elif char == self._reading.escape and self._at + 1 < len(self._text):
                found.append("\\" + self._text[self._at + 1])
                self._at += 2
            elif char == "}":
                break
            else:
                found.append(char)
                self._at += 1
        raise ValueError(f"`{stop}` is missing in `{self._text}`")


def _required(name: str, value: str | None, word: str) -> str:
    if value is None:
        raise ValueError(f"{name}: {word or 'is not set'}")
    return value


Choice = Callable[[str, Mapping[str, str], str], str]
_CHOICES: dict[str, Choice] = {
    "-": lambda name, known, word: known.get(name, word),
    ":-": lambda name, known, word: known.get(name) or word,
    "+": lambda name, known, word: word if name in known else "",
    ":+": lambda name, known, word: word if known.get(name) else "",
    "?": lambda name, known, word: _required(name, known.get(name), word),
    ":?": lambda name, known, word: _required(name, known.get(name) or None, word),
}
_PATTERNED: dict[str, Callable[[str, str, str], str]] = {
    "#": lambda value, pattern, _: globs.cut_prefix(value, pattern, longest=False),
    "##": lambda value, pattern, _: globs.cut_prefix(value, pattern, longest=True),
    "%": lambda value, pattern, _: globs.cut_suffix(value, pattern, longest=False),
    "%%": lambda value, pattern, _: globs.cut_suffix(value, pattern, longest=True),
    "/": lambda value, pattern, word: globs.replace(value, pattern, word, everywhere=False),
    "//": lambda value, pattern, word: globs.replace(value, pattern, word, everywhere=True),
}
