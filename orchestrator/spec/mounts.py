"""The short form of `volumes`: `[SOURCE:]TARGET[:OPTION,…]`.

Pure; errors are ValueError.
"""

from __future__ import annotations

import posixpath
from typing import NamedTuple

PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_PATH_STARTS = (".", "/", "~", "\\")


class Mount(NamedTuple):
    """One mount as written; `source` is not made absolute."""

    type: str
    source: str | None
    target: str
    read_only: bool = False
    nocopy: bool = False
    propagation: str | None = None
    selinux: str | None = None


def parse_mount(text: str) -> Mount:
    """What a short form means; options that are not known are ignored, as everywhere."""
    if not text:
        raise ValueError("a volume is empty")
    if len(text) <= 2:
        return Mount("volume", None, clean(text))
    parts = _split(text)
    if "" in parts:
        raise ValueError(f"{text!r} has nothing between two colons")
    if len(parts) > 3:
        raise ValueError(f"{text!r} has too many colons")
    if len(parts) == 1:
        return Mount("volume", None, clean(parts[0]))
    kind = "bind" if _is_path(parts[0]) else "volume"
    mount = Mount(kind, parts[0], clean(parts[1]))
    return _with_options(mount, parts[2].split(",")) if len(parts) == 3 else mount


def _split(text: str) -> list[str]:
    """At the colons, but a single letter before one is a drive (`c:\\data`)."""
    parts: list[str] = []
    start = 0
    for index, character in enumerate(text):
        if character != ":":
            continue
        if index - start == 1 and text[start].isalpha():
            continue
        parts.append(text[start:index])
        start = index + 1
    return [*parts, text[start:]]


def _is_path(source: str) -> bool:
    return source.startswith(_PATH_STARTS) or source[1:2] == ":"


def _with_options(mount: Mount, options: list[str]) -> Mount:
    for option in options:
        if option in ("ro", "rw"):
            mount = mount._replace(read_only=option == "ro")
        elif option in ("nocopy", "volume-nocopy"):
            mount = mount._replace(nocopy=True)
        elif option in ("z", "Z"):
            mount = mount._replace(selinux=option)
        elif option in PROPAGATIONS:
            mount = mount._replace(propagation=option)
    return mount


def clean(target: str) -> str:
    """A path inside the container without `//`, `.` and a slash at the end."""
    cleaned = posixpath.normpath(target) if target.startswith("/") else target
    return cleaned[1:] if cleaned.startswith("//") else cleaned
