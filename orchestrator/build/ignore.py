"""Patterns of .dockerignore and of --exclude: which paths of a context take no part.

Owns their grammar (that of moby's patternmatcher): `*` and `?` within one part of a path, `[…]`,
`**` for any number of parts, `!` for exceptions; the last pattern that fits decides; a pattern that
fits a directory fits all below it, an exception only where it has changed something for the
directory.  Pure.  Patterns become regular expressions whose parts cannot
be tried again (atomic groups), so that matching takes time in proportion to the path.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from orchestrator.dataclass import dataclass

MAGIC = frozenset("*?[\\")
_MOST_WIDE = 2
"""Parts of one pattern that have `**` beside something else, and may fit over several parts of a
path; with each one more it takes as many times longer as the path has characters."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One pattern."""

    fits: re.Pattern[str]
    """The path itself."""
    is_exception: bool
    literal: str
    """The parts before the first with a wild card: nothing elsewhere can fit."""


class Rules:
    """The patterns of a file, in order."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._rules = tuple(rules)
        self._exceptions = [rule for rule in self._rules if rule.is_exception]
        self._directories: dict[str, tuple[bool, ...]] = {}
        """Which rules fit a directory, or one above it."""

    def __bool__(self) -> bool:
        return bool(self._rules)

    def ignores(self, path: str) -> bool:
        """Whether the path, relative and without `.`, is left out."""
        if not self._rules:
            return False
        return self._judge(path, self._above(path))[0]

    def _above(self, path: str) -> tuple[bool, ...]:
        """The rules that fit what is above the path."""
        fits = (False,) * len(self._rules)
        for end, char in enumerate(path):
            if char == "/":
                known = self._directories.get(path[:end])
                if known is None:
                    known = self._directories[path[:end]] = self._judge(path[:end], fits)[1]
                fits = known
        return fits

    def _judge(self, path: str, above: tuple[bool, ...]) -> tuple[bool, tuple[bool, ...]]:
        """(whether it is left out, which rules fit it or what is above it).  A rule that would
        change nothing is not tried, so that it says nothing of what is below either."""
        found, fits = False, []
        for rule, is_inherited in zip(self._rules, above, strict=True):
            fit = is_inherited or (rule.is_exception == found
                                   and rule.fits.fullmatch(path) is not None)  # fmt: skip
            fits.append(fit)
            found = not rule.is_exception if fit else found
        return found, tuple(fits)

    def may_hold(self, directory: str) -> bool:
        """Whether below an ignored directory something may not be ignored."""
        inside = f"{directory}/"
        return any(
            f"{rule.literal}/".startswith(inside) or inside.startswith(f"{rule.literal}/")
            or not rule.literal
            for rule in self._exceptions
        )


def read(text: str) -> Rules:
    """The rules of a .dockerignore.  ValueError says which line is wrong."""
    rules = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if line.startswith("#"):
            continue
        try:
            made = rule(line.strip())
        except ValueError as exc:
            raise ValueError(f"line {number}: {exc}") from exc
        if made is not None:
            rules.append(made)
    return Rules(rules)


def rule(text: str) -> Rule | None:
    """The rule of one pattern; None for one that says nothing."""
    is_exception = text.startswith("!")
    pattern = text.removeprefix("!").strip()
    if is_exception and not pattern:
        raise ValueError("a `!` needs a pattern after it")
    if not pattern:
        return None
    parts = [part for part in posixpath.normpath(pattern).split("/") if part not in ("", ".")]
    if not parts or parts[0] == "..":
        return None  # outside of the context there is nothing
    expression = re.compile(_path(parts), re.DOTALL)
    literal = []
    for part in parts:
        if MAGIC & set(part):
            break
        literal.append(part)
    return Rule(expression, is_exception, "/".join(literal))


def segment(pattern: str) -> re.Pattern[str]:
    """The expression of one part of a path, as wild cards of COPY have it."""
    return re.compile(_part(pattern), re.DOTALL)


def _path(parts: list[str]) -> str:
    """Runs of parts between `**`: all but the last run are taken where they fit first."""
    wide = [part for part in parts if "**" in part and part != "**"]
    if len(wide) > _MOST_WIDE:
        raise ValueError(f"`{wide[0]}` and {len(wide) - 1} more: `**` must be a whole part of the "
                         "path")  # fmt: skip
    runs: list[list[str]] = [[]]
    for part in parts:
        if part == "**":
            runs.append([])
        else:
            runs[-1].append(_part(part))
    first, *others = ["/".join(run) for run in runs]
    if not others:
        return first
    found = f"{first}/" if first else ""
    for run in others[:-1]:
        if run:
            found += rf"(?>(?:[^/]+/)*?{run}/)"
    return found + (rf"(?:[^/]+/)*{others[-1]}" if others[-1] else ".+")


def _part(pattern: str) -> str:
    """Texts between stars: all but the last are taken where they fit first."""
    texts: list[list[str]] = [[]]
    position = 0
    wide = 0
    while position < len(pattern):
        if pattern.startswith("**", position):
            wide += 1
            texts.append([])
        elif pattern[position] == "*":
            texts.append([])
        else:
            piece, position = _piece(pattern, position)
            texts[-1].append(piece)
            continue
        position = len(pattern) - len(pattern[position:].lstrip("*"))
    first, *others = ["".join(text) for text in texts]
    if wide:
        if len(others) > 1:
            raise ValueError(f"`{pattern}`: `**` must be a whole part of the path")
        return first + ".*" + others[0]
    middle = "".join(rf"(?>[^/]*?{text})" for text in others[:-1] if text)
    return first + middle + (rf"[^/]*{others[-1]}" if others else "")


def _piece(pattern: str, position: int) -> tuple[str, int]:
    char = pattern[position]
    if char == "?":
        return "[^/]", position + 1
    if char == "\\":
        if position + 1 == len(pattern):
            raise ValueError(f"`{pattern}` ends in an escape")
        return re.escape(pattern[position + 1]), position + 2
    if char != "[":
        return re.escape(char), position + 1
    return _class(pattern, position + 1)


def _class(pattern: str, position: int) -> tuple[str, int]:
    """`[a-z]`, `[^x]`; a backslash takes the meaning of what follows away."""
    negated = pattern[position : position + 1] in ("^", "!")
    position += negated
    ranges: list[str] = []
    while pattern[position : position + 1] != "]" or not ranges:
        low, position = _member(pattern, position)
        high = low
        if pattern[position : position + 1] == "-" and pattern[position + 1 : position + 2] != "]":
            high, position = _member(pattern, position + 1)
        if high < low:
            raise ValueError(f"`{pattern}` has a range that is upside down")
        ranges.append(f"{re.escape(low)}-{re.escape(high)}")
    return f"(?!/)[{'^' if negated else ''}{''.join(ranges)}]", position + 1


def _member(pattern: str, position: int) -> tuple[str, int]:
    if pattern[position : position + 1] == "\\":
        position += 1
    if position >= len(pattern):
        raise ValueError(f"`{pattern}` has a `[` without `]`")
    return pattern[position], position + 1
