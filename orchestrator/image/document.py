"""Strict reading of JSON that a stranger wrote: every value has the type that was asked for.

Owns the words of complaint (`manifest: layers[3].digest is not a text`); knows no format.
"""

from __future__ import annotations

import json
from typing import Any

from orchestrator.errors import ImageError

LARGEST = 4 << 20
"""Bytes; the registry specification lets clients refuse manifests above 4 MiB."""
DEEPEST = 64


class Node:
    """A value inside a document and the path that led to it."""

    __slots__ = ("path", "value")

    def __init__(self, value: Any, path: str) -> None:  # a JSON value has no narrower type
        self.value = value
        self.path = path

    def fault(self, expected: str) -> ImageError:
        """The error that says what was expected here."""
        return ImageError(f"{self.path} is not {expected}")

    def get(self, key: str) -> Node:
        """The member; absent and null are the same to the formats read here."""
        if not isinstance(self.value, dict):
            raise self.fault("an object")
        # Docker writes `Config`, OCI `config`: who knows both asks for each by its own name
        return Node(self.value.get(key), f"{self.path}.{key}")

    @property
    def is_absent(self) -> bool:
        return self.value is None

    def text(self, default: str | None = None) -> str:
        """A text without NUL; `default` where it is absent."""
        if self.value is None and default is not None:
            return default
        if not isinstance(self.value, str) or "\0" in self.value:
            raise self.fault("a text")
        return self.value

    def number(self, default: int | None = None) -> int:
        """A whole number, not negative, of 63 bits at most."""
        if self.value is None and default is not None:
            return default
        if type(self.value) is not int or not 0 <= self.value < 1 << 63:
            raise self.fault("a number")
        return self.value

    def items(self) -> list[Node]:
        """The elements of an array; absent is empty."""
        if self.value is None:
            return []
        if not isinstance(self.value, list):
            raise self.fault("an array")
        return [Node(item, f"{self.path}[{i}]") for i, item in enumerate(self.value)]

    def texts(self) -> tuple[str, ...]:
        """An array of texts; absent is empty."""
        return tuple(item.text() for item in self.items())

    def members(self) -> list[tuple[str, Node]]:
        """The members of an object; absent is empty."""
        if self.value is None:
            return []
        if not isinstance(self.value, dict):
            raise self.fault("an object")
        if any("\0" in key for key in self.value):
            raise self.fault("free of NUL")
        return [(key, Node(value, f"{self.path}.{key}")) for key, value in self.value.items()]

    def mapping(self) -> dict[str, str]:
        """An object of texts; absent is empty."""
        return {key: node.text("") for key, node in self.members()}


def parse(data: bytes, *, what: str, largest: int = LARGEST) -> Node:
    """The document in `data`; ImageError where it is too large, too deep or no JSON."""
    if len(data) > largest:
        raise ImageError(f"{what} is larger than {largest} bytes")
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as exc:
        raise ImageError(f"{what} is no valid JSON: {str(exc)[:200]}") from exc
    if not _is_shallow(value):
        raise ImageError(f"{what} is nested more than {DEEPEST} deep")
    return Node(value, what)


def _is_shallow(value: Any) -> bool:  # a JSON value has no narrower type
    level = [value]
    for _ in range(DEEPEST):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return True
    return False
