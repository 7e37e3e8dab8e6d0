"""The `${VAR:-default}` grammar.

    $NAME  ${NAME}  ${NAME:-d}  ${NAME-d}  ${NAME:?m}  ${NAME?m}  ${NAME:+a}  ${NAME+a}  $$

Pure: where values come from, and what happens with a variable that is not set, is the caller's
affair.  Knows neither files nor trees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

Lookup = Callable[[str], str | None]

DEEPEST = 50
LONGEST = 16 << 20
"""Characters of one text once it is filled in: `B=$A$A`, `C=$B$B`, … doubles with every line."""
_NAME_START = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_NAME = _NAME_START | frozenset("0123456789")


class TemplateError(Exception):
    """The text is not a template: `message` says why."""


class RequiredError(Exception):
    """`${NAME:?message}` and NAME is missing."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(name, message)
        self.name = name
        self.message = message


def substitute(text: str, lookup: Lookup, *, missing: Callable[[str], None]) -> str:
    """`text` with all variables replaced; `missing` is told each one that is not set and has no
    alternative.  Raises TemplateError, RequiredError."""
    return text if "$" not in text else _expand(text, lookup, missing, 0)


def _expand(text: str, lookup: Lookup, missing: Callable[[str], None], depth: int) -> str:
    if depth > DEEPEST:
        raise TemplateError(f"variables are nested deeper than {DEEPEST}")
    parts = []
    start = length = 0
    while (dollar := text.find("$", start)) >= 0:
        parts.append(text[start:dollar])
        length += dollar - start
        after = text[dollar + 1 : dollar + 2]
        if after == "{":
            end = _closing(text, dollar + 1)
            parts.append(_braced(text[dollar + 2 : end], lookup, missing, depth))
            start = end + 1
        elif after in _NAME_START:
            start = name_end(text, dollar + 1)
            parts.append(_value(text[dollar + 1 : start], lookup, missing))
        else:  # `$$` is an escaped dollar; before anything else the dollar is just itself
            parts.append("$")
            start = dollar + (2 if after == "$" else 1)
        length += len(parts[-1])
        if length > LONGEST:
            raise TemplateError(f"the text becomes longer than {LONGEST >> 20} MiB")
    parts.append(text[start:])
    return "".join(parts)


def uses(text: str, depth: int = 0) -> Iterator[tuple[str, str, str]]:
    """Every variable as (name, operator, word), those in a word behind the one it belongs to.
    Raises TemplateError."""
    if depth > DEEPEST:
        raise TemplateError(f"variables are nested deeper than {DEEPEST}")
    start = 0
    while (dollar := text.find("$", start)) >= 0:
        after = text[dollar + 1 : dollar + 2]
        if after == "{":
            end = _closing(text, dollar + 1)
            found = split(text[dollar + 2 : end])
            yield found
            yield from uses(found[2], depth + 1)
            start = end + 1
        elif after in _NAME_START:
            start = name_end(text, dollar + 1)
            yield text[dollar + 1 : start], "", ""
        else:
            start = dollar + (2 if after == "$" else 1)


def braced(text: str) -> Iterator[tuple[int, int]]:
    """Where each `${…}` begins and ends; one that is never closed is none."""
    start = 0
    while (dollar := text.find("$", start)) >= 0:
        start = dollar + (2 if text[dollar + 1 : dollar + 2] == "$" else 1)
        if text[dollar + 1 : dollar + 2] == "{":
            try:
                start = _closing(text, dollar + 1) + 1
            except TemplateError:
                return
            yield dollar, start


def name_end(text: str, start: int) -> int:
    """Where the name that begins at `start` ends."""
    end = start
    while end < len(text) and text[end] in _NAME:
        end += 1
    return end


def _closing(text: str, opening: int) -> int:
    depth = 0
    for index in range(opening, len(text)):
        if text[index] == "{":
            depth += 1
            if depth > DEEPEST:
                raise TemplateError(f"braces are nested deeper than {DEEPEST}")
        elif text[index] == "}":
            depth -= 1
            if depth == 0:
                return index
    raise TemplateError("`${` is never closed")


def _value(name: str, lookup: Lookup, missing: Callable[[str], None]) -> str:
    value = lookup(name)
    if value is None:
        missing(name)
        return ""
    return value


def split(body: str) -> tuple[str, str, str]:
    """What stands between the braces as (name, operator, word).  Raises TemplateError."""
    end = name_end(body, 0) if body[:1] in _NAME_START else 0
    name, rest = body[:end], body[end:]
    operator = rest[:2] if rest[:1] == ":" else rest[:1]
    if not name:
        raise TemplateError(f"`${{{body}}}` has no variable name")
    if rest and operator not in (":-", "-", ":?", "?", ":+", "+"):
        raise TemplateError(f"`${{{body}}}`: {name} is followed by none of :- - :? ? :+ +")
    return name, operator, rest[len(operator) :]


def _braced(body: str, lookup: Lookup, missing: Callable[[str], None], depth: int) -> str:
    name, operator, word = split(body)
    if not operator:
        return _value(name, lookup, missing)
    value = lookup(name)
    given = value is not None and (value != "" or operator[0] != ":")
    if operator[-1] == "+":
        return _expand(word, lookup, missing, depth + 1) if given else ""
    if given:
        return value or ""
    word = _expand(word, lookup, missing, depth + 1)
    if operator[-1] == "?":
        raise RequiredError(name, word)
    return word
