"""Patterns with `*` and `?`, matched in time that grows with text times pattern, never faster.

For the operators of variables (`${name%%pattern}`).  A pattern is a list of one-character tests run
side by side over the text, so that no pattern of a stranger can keep us busy.  Pure.
"""

from __future__ import annotations

_ANY, _STAR = "?", "*"


class _Machine:
    """The states a pattern can be in, as bits: bit N is set when N parts have been matched."""

    def __init__(self, parts: list[tuple[str, bool]]) -> None:
        """`parts` are (character, whether it has its special meaning)."""
        self._final = 1 << len(parts)
        self._stars = sum(1 << n for n, part in enumerate(parts) if part == (_STAR, True))
        self._any = sum(1 << n for n, part in enumerate(parts) if part == (_ANY, True))
        self._letters: dict[str, int] = {}
        for number, (char, special) in enumerate(parts):
            if not special:
                self._letters[char] = self._letters.get(char, 0) | 1 << number

    def lengths(self, text: str, start: int = 0) -> list[int]:
        """How many characters from `start` on the whole pattern can take, ascending."""
        states = self._closed(1)
        found = [0] if states & self._final else []
        for position in range(start, len(text)):
            taken = states & (self._letters.get(text[position], 0) | self._any)
            states = self._closed(taken << 1 | states & self._stars)
            if not states:
                break
            if states & self._final:
                found.append(position - start + 1)
        return found

    def _closed(self, states: int) -> int:
        """A star may also take nothing."""
        while more := (states & self._stars) << 1 & ~states:
            states |= more
        return states


def _parts(pattern: str) -> list[tuple[str, bool]]:
    parts = []
    characters = iter(pattern)
    for char in characters:
        if char == "\\":
            parts.append((next(characters, "\\"), False))
        else:
            parts.append((char, char in (_ANY, _STAR)))
    return parts


def cut_prefix(text: str, pattern: str, *, longest: bool) -> str:
    """The text without the shortest or longest beginning that fits."""
    lengths = _Machine(_parts(pattern)).lengths(text)
    return text[lengths[-1 if longest else 0]:] if lengths else text


def cut_suffix(text: str, pattern: str, *, longest: bool) -> str:
    """The text without the shortest or longest end that fits."""
    lengths = _Machine(_parts(pattern)[::-1]).lengths(text[::-1])
    return text[: len(text) - lengths[-1 if longest else 0]] if lengths else text


def replace(text: str, pattern: str, word: str, *, everywhere: bool) -> str:
    """The text with `word` in place of the first longest fit, or of every one."""
    machine = _Machine(_parts(pattern))
    found: list[str] = []
    position = 0
    while position < len(text):
        length = next(reversed(machine.lengths(text, position)), 0)
        if not length:
            found.append(text[position])
            position += 1
            continue
        found.append(word)
        position += length
        if not everywhere:
            break
    return "".join(found) + text[position:]
