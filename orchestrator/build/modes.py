"""The value of --chmod: octal, or the symbolic form of chmod(1).  Pure."""

from __future__ import annotations

import re

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=][rwxXst]*)+)")
_ACTION = re.compile(r"([-+=])([rwxXst]*)")
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111}
_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o0007}
_EVERYBODY = 0o6777


class ModeChange:
    """What --chmod does to a mode."""

    def __init__(self, text: str) -> None:
        """ValueError where the text is no mode."""
        self._octal: int | None = None
        self._actions: list[tuple[int, str, str]] = []
        if text and not text.strip("01234567") and len(text) <= 5 and int(text, 8) <= 0o7777:
            self._octal = int(text, 8)
            return
        for clause in text.split(","):
            found = _CLAUSE.fullmatch(clause)
            if found is None:
                raise ValueError(f"`{text}` is no mode")
            mask = 0
            for who in found[1]:
                mask |= _EVERYBODY if who == "a" else _WHO[who]
            self._actions += [(mask or _EVERYBODY, *action) for action in _ACTION.findall(found[2])]

    def apply(self, mode: int, *, is_directory: bool) -> int:
        """The new permission bits."""
        if self._octal is not None:
            return self._octal
        for mask, operator, letters in self._actions:
            bits = _letters(letters, mask, mode, is_directory=is_directory)
            if operator == "+":
                mode |= bits
            elif operator == "-":
                mode &= ~bits
            else:
                mode = (mode & ~mask) | bits
        return mode


def _letters(letters: str, mask: int, mode: int, *, is_directory: bool) -> int:
    bits = 0
    for letter in letters:
        if letter == "X":
            bits |= 0o111 & mask if is_directory or mode & 0o111 else 0
        elif letter == "s":
            bits |= 0o6000 & mask
        elif letter == "t":
            bits |= 0o1000
        else:
            bits |= _BITS[letter] & mask
    return bits
