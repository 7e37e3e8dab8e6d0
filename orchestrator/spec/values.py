"""The small grammars inside values: durations, sizes, numbers, truth, command lines.

Each `parse_` takes the text as written and raises ValueError with what is wrong; `format_` prints
as the Compose implementations do.  Pure.
"""

from __future__ import annotations

import math
import re

_SECONDS = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3,
    "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0,
}  # fmt: skip
_DURATION_PART = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|[smhdw])"
_BEYOND = 1 << 63
"""What a number of the kernel, or one of Go, has to be below."""
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_SIZE = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+) ?(?:([kmgtp]?)(?:i?b)?)"


def parse_duration(text: str) -> float:
    """`1m30s` in seconds."""
    sign = -1.0 if text.startswith("-") else 1.0
    rest = text[1:] if text.startswith(("+", "-")) else text
    if rest == "0":
        return 0.0
    total, end = 0.0, 0
    part = re.compile(_DURATION_PART).match
    while match := part(rest, end):
        total += float(match[1]) * _SECONDS[match[2]]
        end = match.end()
    if not rest or end != len(rest):
        raise ValueError(f"{_short(text)!r} is not a duration such as 90s, 1m30s or 500ms")
    if total * 1e9 >= _BEYOND:
        raise ValueError(f"{_short(text)} is longer than 292 years")
    return sign * total if total >= 1e-9 else 0.0  # a nanosecond is the least there is


def format_duration(seconds: float) -> str:
    """Seconds as Go prints them: `1m30s`, `24h0m0s`, `500ms`."""
    nanoseconds = round(abs(seconds) * 1e9)
    sign = "-" if seconds < 0 else ""
    if nanoseconds == 0:
        return "0s"
    for unit, size in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if nanoseconds < size * 1000:
            return f"{sign}{_fraction(nanoseconds, size)}{unit}"
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    text = f"{_fraction(rest, 10**9)}s"
    if minutes:
        hours, minutes = divmod(minutes, 60)
        text = f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}"
    return sign + text


def _fraction(amount: int, size: int) -> str:
    whole, rest = divmod(amount, size)
    digits = str(rest).rjust(len(str(size)) - 1, "0").rstrip("0") if rest else ""
    return f"{whole}.{digits}" if digits else str(whole)


def parse_size(value: object) -> int:
    """`1.5g` or a number of bytes; suffixes are powers of 1024 whatever their spelling."""
    if isinstance(value, bool):
        raise ValueError("a size is a number of bytes or text such as 512m")
    if isinstance(value, int | float):
        return whole(value)
    text = str(value).strip().lower()
    if text == "-1":  # as `config` prints "no limit"
        return -1
    match = re.fullmatch(_SIZE, text)
    if match is None:
        raise ValueError(f"{_short(str(value))!r} is not a size such as 512m or 1.5g")
    return whole(float(match[1]) * 1024 ** _POWERS[match[2]])


def whole(number: float) -> int:
    """A number as an integer of 64 bits."""
    if -_BEYOND <= number < _BEYOND:
        return int(number)
    raise ValueError(f"{_short(format_scalar(number))} is no integer of 64 bits")


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"


def parse_boolean(text: str) -> bool:
    """`true`/`false` in any case, and the words of YAML 1.1."""
    lowered = text.lower()
    if lowered in ("true", "y", "yes", "on"):
        return True
    if lowered in ("false", "n", "no", "off"):
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def parse_integer(text: str) -> int:
    """A decimal integer of 64 bits."""
    if re.fullmatch(r"[-+]?[0-9]{1,19}", text):
        return whole(int(text))
    raise ValueError(f"{_short(text)!r} is not an integer")


def parse_number(text: str) -> float:
    """A decimal number."""
    if re.fullmatch(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", text):
        return float(text)
    raise ValueError(f"{_short(text)!r} is not a number")


def format_scalar(value: object) -> str:
    """A YAML scalar as the text of an environment variable or label."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return format_float(value)
    return str(value)


def format_float(value: float) -> str:
    """Shortest digits, with an exponent outside of 1e-4 to 1e6: as the reference prints floats
    in variables (Go's %v)."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        return repr(value).removesuffix(".0")
    for precision in range(17):
        text = f"{value:.{precision}e}"
        if float(text) == value:
            return text
    return repr(value)


_PLAIN_END = frozenset(";&|<>")


def split_command(line: str) -> list[str]:
    """Words of a command line, by the rules of the reference: quotes and backslashes as in a
    shell, no expansion, and an unquoted `; & | < >` ends the command.  `$(…)` and backticks stay
    words.  Raises ValueError."""
    return _Words(line).split()


class _Words:
    def __init__(self, line: str) -> None:
        self._line = line
        self._at = 0
        self._word: list[str] = []
        self._begun = False

    def split(self) -> list[str]:
        words: list[str] = []
        while self._at < len(self._line):
            character = self._line[self._at]
            self._at += 1
            if character.isspace() or character in _PLAIN_END:
                words += self._finished(before=character)
                if character in _PLAIN_END:
                    return words
            else:
                self._begun = True
                self._take(character)
        return words + self._finished(before="")

    def _finished(self, *, before: str) -> list[str]:
        word = "".join(self._word)
        begun, self._begun, self._word = self._begun, False, []
        if before in ("<", ">") and word.isdecimal():
            return []  # `2>` is a redirection of descriptor 2, not a word
        return [word] if begun else []

    def _take(self, character: str) -> None:
        if character == "\\":
            if self._at >= len(self._line):
                raise ValueError("the command line ends with a backslash")
            self._word.append(self._line[self._at])
            self._at += 1
        elif character == "'":
            self._word.append(self._until("'"))
        elif character == '"':
            self._double()
        elif character == "`":
            self._word.append(f"`{self._until('`')}`")
        elif character == "(":
            self._parenthesis()
        else:
            self._word.append(character)

    def _until(self, quote: str) -> str:
        end = self._line.find(quote, self._at)
        if end < 0:
            raise ValueError(f"a {quote} is never closed in the command line")
        text = self._line[self._at : end]
        self._at = end + 1
        return text

    def _double(self) -> None:
        while True:
            if self._at >= len(self._line):
                raise ValueError('a " is never closed in the command line')
            character = self._line[self._at]
            self._at += 1
            if character == '"':
                return
            if character == "\\" and self._at < len(self._line):
                character = self._line[self._at]
                self._at += 1
            self._word.append(character)

    def _parenthesis(self) -> None:
        if not self._word or self._word[-1] != "$":
            raise ValueError("an unquoted ( has no meaning here: no shell reads the command line")
        depth, start = 1, self._at
        while depth:
            if self._at >= len(self._line):
                raise ValueError("a $( is never closed in the command line")
            depth += {"(": 1, ")": -1}.get(self._line[self._at], 0)
            self._at += 1
        self._word.append("(" + self._line[start : self._at])
