"""The `--mount` flag of RUN: `type=cache,target=/x`, in CSV.

Two steps: names of keys are checked when the file is read, values when variables are known.  Pure.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from typing import Literal, cast

from orchestrator.build.fault import Place, fault, near
from orchestrator.build.instructions import MountFlag
from orchestrator.dataclass import dataclass

Type = Literal["bind", "cache", "tmpfs", "secret", "ssh"]
_ALIASES = {
    "src": "source", "dst": "target", "destination": "target", "ro": "readonly",
    "rw": "readwrite",
}  # fmt: skip
ALIAS = "begin a stage with `FROM $NAME AS stage` and name the stage"
"""What to do where stages have to be known before variables are."""
_SHARED = ("type", "target")
_KEYS: dict[str, tuple[str, ...]] = {
    "bind": ("from", "source", "readonly", "readwrite"),
    "cache": ("id", "from", "source", "readonly", "readwrite", "sharing", "mode", "uid", "gid"),
    "tmpfs": ("size",),
    "secret": ("id", "source", "required", "mode", "uid", "gid", "env"),
    "ssh": ("id", "required", "mode", "uid", "gid"),
}
_SWITCHES = ("readonly", "readwrite", "required")
_SHARINGS = ("shared", "private", "locked")
_SIZES = {"": 1, "b": 1, "k": 1 << 10, "kb": 1 << 10, "m": 1 << 20, "mb": 1 << 20, "g": 1 << 30,
          "gb": 1 << 30}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A mount of one RUN, variables put in."""

    type: Type
    target: str
    """Absolute; empty for a secret that is a variable only."""
    source: str = ""
    """bind, cache: a path in `origin`."""
    origin: str = ""
    """A stage, image or named context; empty: the build's context."""
    read_only: bool = False
    id: str = ""
    sharing: str = "shared"
    required: bool = False
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    """tmpfs: bytes; 0: no limit but the machine's."""
    env: str = ""
    """secret: the variable that holds it."""
    place: Place

    def has_path(self) -> bool:
        """Whether something is mounted at all."""
        return bool(self.target)


def read(text: str, *, place: Place) -> MountFlag:
    """The pairs of the flag.  BuildError for a key that is none."""
    items: list[tuple[str, str]] = []
    for part in _fields(text, place):
        name, equals, value = part.partition("=")
        key = _ALIASES.get(name.strip().lower(), name.strip().lower())
        if not equals and key not in _SWITCHES:
            raise fault(place, f"--mount: `{part}` is not key=value")
        if any(key == other for other, _ in items):
            raise fault(place, f"--mount: {key} is there twice")
        if key == "from" and "$" in value:
            raise fault(place, "--mount: `from` takes no variables", hint=ALIAS)
        items.append((key, value if equals else "true"))
    kind = dict(items).get("type", "bind")
    if kind not in _KEYS and "$" not in kind:
        raise fault(place, f"--mount: unknown type `{kind}`",
                    hint=near(kind, _KEYS) or "one of " + ", ".join(_KEYS))
    known = (*_SHARED, *_KEYS.get(kind, ()))
    for key, _ in items:
        if key not in known and kind in _KEYS:
            raise fault(place, f"--mount: a {kind} mount has no `{key}`",
                        hint=near(key, known) or "it has " + ", ".join(known))
    flag = MountFlag(items=tuple(items), place=place)
    if "$" not in text:
        resolve(flag, lambda value: value, cwd="/")
    return flag


def _fields(text: str, place: Place) -> list[str]:
    import csv

    if not text or "\n" in text:
        raise fault(place, "--mount needs key=value pairs", hint="--mount=type=cache,target=/path")
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as exc:
        raise fault(place, f"--mount: {exc}") from exc
    return [field for row in rows for field in row]


def resolve(flag: MountFlag, expand: Callable[[str], str], *, cwd: str) -> Mount:
    """The mount that the pairs mean; relative targets are below `cwd`."""
    said = {key: expand(value) for key, value in flag.items}
    place = flag.place
    kind = said.get("type", "bind")
    if kind not in _KEYS:
        raise fault(place, f"--mount: unknown type `{kind}`")
    switches = {name: _switch(said, name, place) for name in _SWITCHES}
    writable = switches["readwrite"] or (kind == "cache" and not switches["readonly"])
    sharing = said.get("sharing", "shared")
    if sharing not in _SHARINGS:
        raise fault(place, f"--mount: sharing cannot be `{sharing}`",
                    hint=near(sharing, _SHARINGS) or "one of " + ", ".join(_SHARINGS))
    target = _target(kind, said, place, cwd)
    return Mount(
        type=cast("Type", kind), target=target, source=said.get("source", ""),
        origin=said.get("from", ""), id=_id(kind, said, target), sharing=sharing,
        read_only=switches["readonly"] or (kind == "bind" and not writable),
        required=switches["required"], mode=_mode(kind, said, place),
        uid=_number(said, "uid", place), gid=_number(said, "gid", place),
        size=_size(said.get("size", ""), place), env=said.get("env", ""), place=place,
    )  # fmt: skip


def _target(kind: str, said: Mapping[str, str], place: Place, cwd: str) -> str:
    given = said.get("target", "")
    if kind == "secret":
        name = _id(kind, said, "")
        if not name:
            raise fault(place, "--mount: a secret needs an id")
        given = given or ("" if "env" in said else f"/run/secrets/{posixpath.basename(name)}")
        return posixpath.normpath(posixpath.join(cwd, given)) if given else ""
    if kind == "ssh":
        return given  # without one, the solver counts them
    if not given:
        raise fault(place, f"--mount: a {kind} mount needs a target")
    path = posixpath.normpath(posixpath.join(cwd, given))
    if path == "/":
        raise fault(place, "--mount: the target cannot be the root directory")
    return path


def _id(kind: str, said: Mapping[str, str], target: str) -> str:
    if kind == "cache":
        return said.get("id") or target
    if kind == "ssh":
        return said.get("id") or "default"
    given = said.get("id") or posixpath.basename(said.get("source", ""))
    return given or posixpath.basename(said.get("target", ""))


def _switch(said: Mapping[str, str], name: str, place: Place) -> bool:
    text = said.get(name, "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise fault(place, f"--mount: {name} is true or false, not `{text}`")
    return text in ("true", "1")


def _mode(kind: str, said: Mapping[str, str], place: Place) -> int:
    text = said.get("mode", {"secret": "0400", "ssh": "0600"}.get(kind, "0755"))
    if not text or text.strip("01234567") or int(text, 8) > 0o7777:
        raise fault(place, f"--mount: `{text}` is no mode", hint="octal digits, such as 0755")
    return int(text, 8)


def _number(said: Mapping[str, str], name: str, place: Place) -> int:
    text = said.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) < 11 and int(text) < (1 << 32) - 1):
        raise fault(place, f"--mount: {name} is a number, not `{text}`")
    return int(text)


def _size(text: str, place: Place) -> int:
    digits = text.rstrip("bkmgBKMG")
    unit = text[len(digits):].lower()
    if not text:
        return 0
    if not (digits.isascii() and digits.isdigit() and len(digits) < 16) or unit not in _SIZES:
        raise fault(place, f"--mount: `{text}` is no size", hint="for example 64m")
    return int(digits) * _SIZES[unit]
