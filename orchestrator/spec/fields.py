"""How a mapping of the canonical tree becomes the fields of a value of the model: a table says
which key is read how, and whatever cannot be read is told with its path.

Pure; knows no attribute of Compose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from orchestrator.spec import values
from orchestrator.spec.tree import Path

T = TypeVar("T")
Raw = Mapping[str, Any]
"""A mapping of the canonical tree: shapes are those the schema and `canonical` left."""
Read = Callable[[Any], Any]
Table = Mapping[str, Read]


class Misread(ValueError):
    """Values that cannot be read: (path below the value that was given, why)."""

    def __init__(self, found: list[tuple[Path, str]]) -> None:
        super().__init__(found[0][1])
        self.found = found


def read(raw: Raw, table: Table) -> dict[str, Any]:
    """The entries the table knows, each read its way; null is not said.  Raises Misread with
    everything that is wrong."""
    found: dict[str, Any] = {}
    problems: list[tuple[Path, str]] = []
    for key, value in raw.items():
        convert = table.get(key)
        if convert is not None and value is not None:
            _take(found, key, convert, value, problems)
    if problems:
        raise Misread(problems)
    return found


def _take(
    found: dict[Any, Any], key: str | int, convert: Read, value: Any,
    problems: list[tuple[Path, str]],
) -> None:  # fmt: skip
    try:
        found[key] = convert(value)
    except Misread as exc:
        problems += [((key, *path), text) for path, text in exc.found]
    except (ValueError, OverflowError, TypeError) as exc:
        problems.append(((key,), str(exc)))


def each(convert: Callable[[Any], T]) -> Callable[[Sequence[Any]], tuple[T, ...]]:
    """A reader of lists."""

    def convert_all(raw: Sequence[Any]) -> tuple[T, ...]:
        found: dict[int, T] = {}
        problems: list[tuple[Path, str]] = []
        for index, item in enumerate(raw):
            _take(found, index, convert, item, problems)
        if problems:
            raise Misread(problems)
        return tuple(found.values())

    return convert_all


def by_key(convert: Callable[[str, Any], T]) -> Callable[[Raw], dict[str, T]]:
    """A reader of mappings whose keys are the user's."""

    def convert_all(raw: Raw) -> dict[str, T]:
        found: dict[str, T] = {}
        problems: list[tuple[Path, str]] = []
        for key, value in raw.items():
            _take(found, key, partial(convert, key), value, problems)
        if problems:
            raise Misread(problems)
        return found

    return convert_all


def made(cls: Callable[..., T], table: Table, **defaults: Any) -> Callable[[Raw], T]:
    """A reader of mappings into a class of the model; the defaults are for what the class demands
    and the schema does not."""
    return lambda raw: cls(**{**defaults, **read(raw, table)})


def text(value: object) -> str:
    return value if isinstance(value, str) else values.format_scalar(value)


def said(value: object) -> str | None:
    """Text; empty text is as good as none."""
    return text(value) or None


def truth(value: object) -> bool:
    return values.parse_boolean(value) if isinstance(value, str) else bool(value)


def integer(value: object) -> int:
    if isinstance(value, str):
        return values.parse_integer(value)
    return values.whole(value)  # type: ignore[arg-type]


def count(value: object) -> int:
    """An integer that is not negative."""
    number = integer(value)
    if number < 0:
        raise ValueError(f"{number} is less than 0")
    return number


def number(value: object) -> float:
    found = values.parse_number(value) if isinstance(value, str) else float(value)  # type: ignore[arg-type]
    if not math.isfinite(found):
        raise ValueError(f"{value} is not a number")
    return found


def cpus(value: object) -> float:
    found = values.parse_number(value) if isinstance(value, str) else float(value)  # type: ignore[arg-type]
    if not 0 <= found < 100_000:
        raise ValueError(f"{value} is not a number of processors")
    return found


def size(value: object) -> int:
    """Bytes; a fraction without a unit is dropped, as the reference does."""
    found = values.parse_size(value)
    return 0 if isinstance(value, float) else found


def duration(value: object) -> float:
    """Seconds."""
    return values.parse_duration(str(value))


def texts(value: Sequence[object]) -> tuple[str, ...]:
    return tuple(text(item) for item in value)


def pairs(value: Raw) -> dict[str, str]:
    """A mapping of text; null becomes empty."""
    return {key: "" if child is None else text(child) for key, child in value.items()}


def variables(value: Raw) -> dict[str, str | None]:
    """A mapping of text or null."""
    return {key: None if child is None else text(child) for key, child in value.items()}


def hosts(value: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """(host, address) of `HOST=ADDRESS`, sorted."""
    found = [entry.partition("=") for entry in sorted(value)]
    return tuple((host, address) for host, _, address in found)


def mode(value: object) -> int:
    """Permission bits: a number as it is, text in octal."""
    try:
        if isinstance(value, str):
            found = int(value, 8) if value[:2] != "0o" else -1
        else:
            found = values.whole(value)  # type: ignore[arg-type]
    except ValueError:
        found = -1
    if found < 0:
        raise ValueError(f"{value!r} is not an octal mode such as 0440")
    return found
