"""What values a JSON document may hold: a shape is data, `check` compares.

Shapes: `str`, `bool`; `Number(low, high)`; `Word(…)`; `[shape]` is a list; `Table(shape)` an object
with any keys; a dict is an object with these keys, `!` at the end of a required one.  Knows nothing
of containers.  A null is as good as nothing, as Go's decoder has it; unknown keys are let through.
"""

from __future__ import annotations

from orchestrator.runtime.oci.faults import OciError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Shape = Any  # type | list[Shape] | dict[str, Shape] | Number | Word | Table


class Number:
    """A whole number within bounds, both included."""

    __slots__ = ("high", "low")

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high


class Word:
    """One of these strings."""

    __slots__ = ("words",)

    def __init__(self, *words: str) -> None:
        self.words = words


class Table:
    """Any keys, values of one shape."""

    __slots__ = ("shape",)

    def __init__(self, shape: Shape) -> None:
        self.shape = shape


def check(value: Any, shape: Shape, where: str) -> Any:
    """The value without its nulls; OciError that names the place: `where` is that of the value,
    `config: ` for a document and `config: process.cwd` for something in it."""
    match shape:
        case dict():
            return _object(value, shape, where)
        case list():
            if not isinstance(value, list):
                raise _misfit(where, "a list", value)
            return [check(each, shape[0], f"{where}[{n}]") for n, each in enumerate(value)]
        case Table():
            if not isinstance(value, dict):
                raise _misfit(where, "an object", value)
            return {key: check(inner, shape.shape, f"{where}.{key}")
                    for key, inner in value.items() if inner is not None}
        case _:
            _scalar(value, shape, where)
            return value


def _scalar(value: Any, shape: Any, where: str) -> None:
    if isinstance(shape, Number):
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not shape.low <= value <= shape.high:
            raise _misfit(where, f"a whole number from {shape.low} to {shape.high}", value)
    elif isinstance(shape, Word):
        if not isinstance(value, str) or value not in shape.words:
            raise _misfit(where, f"one of {', '.join(filter(None, shape.words))}", value)
    elif not isinstance(value, shape):
        raise _misfit(where, "a string" if shape is str else "true or false", value)
    elif shape is str and "\0" in value:
        raise OciError(f"{where} has a null byte")


def _misfit(where: str, what: str, value: Any) -> OciError:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return OciError(f"{where.removesuffix(': ')} must be {what}, not {shown}")


def _object(value: Any, shape: dict[str, Any], where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _misfit(where, "an object", value)
    found = {}
    for key, inner in shape.items():
        name = key.rstrip("!")
        place = f"{where}{name}" if where.endswith(": ") else f"{where}.{name}"
        if value.get(name) is not None:
            found[name] = check(value[name], inner, place)
        elif key.endswith("!"):
            raise OciError(f"{place} is missing")
    return found
