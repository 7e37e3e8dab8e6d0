"""Keys of steps: what a step depends on, said in words, so that a miss can be explained.

A key is the digest of named ingredients: the layers below, the instruction, each variable, each
file.  The times and places of files are none of them, nor is the project, so that projects share
what they have in common.  Beside the records of steps lies, for each instruction of each
Dockerfile, what its ingredients were last time; only explanations read that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import Any

from orchestrator.dataclass import dataclass
from orchestrator.image.steps import StepRecords

_SHOWN = 4
NEW = "it was never built here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingredients:
    """What a step is made of, by name."""

    parts: Mapping[str, str]
    """`instruction`, `below`, `variable NAME`, …"""
    files: Mapping[str, str]
    """Path -> what counts of the file."""

    def key(self) -> str:
        """64 hexadecimal digits."""
        return digest([dict(self.parts), dict(self.files)])


def digest(value: Any) -> str:  # JSON has no narrower type
    """The digest of plain data."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def chain(above: str, diff_id: str) -> str:
    """What stands for a stack of layers: the stack below and one more."""
    return digest([above, diff_id])


def chain_of(start: str, diff_ids: Iterable[str]) -> str:
    """As `chain`, several at once, lowest first."""
    for diff_id in diff_ids:
        start = chain(start, diff_id)
    return start


def reason(records: StepRecords, slot: str, now: Ingredients) -> str:
    """Why there is no step of these ingredients: what is different from the last time the same
    instruction of the same file was built."""
    before = records.memo(slot)
    if before is None:
        return NEW
    parts = [text for name, text in _differences(before.get("parts", {}), now.parts)]
    files = _differences(before.get("files", {}), now.files)
    parts += [f"file {name} {text}" for name, text in files[:_SHOWN]]
    if len(files) > _SHOWN:
        parts.append(f"{len(files) - _SHOWN} more files")
    return ", ".join(parts) or "its layer is no longer in the store"


def _differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[tuple[str, str]]:
    found = []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if old != new:
            found.append((name, _difference(name, old, new)))
    return found


def _difference(name: str, old: str | None, new: str | None) -> str:
    if name == "below":
        return "a step before it was built anew"
    if name.startswith("variable "):
        what = name.removeprefix("variable ")
        if old is None:
            return f"{what} is set now"
        return f"{what} is no longer set" if new is None else f"{what} has another value"
    if name in _NAMES:
        return f"the {_NAMES[name]} is another"
    return "is new" if old is None else "is gone" if new is None else "has changed"


_NAMES = {
    "instruction": "instruction", "directory": "working directory", "user": "user",
    "network": "network", "hosts": "list of extra hosts", "target": "target", "owner": "owner",
    "mode": "mode", "source": "source", "mounts": "list of mounts", "security": "security",
    "shell": "shell", "limits": "list of limits", "time": "SOURCE_DATE_EPOCH",
}  # fmt: skip


def note(records: StepRecords, slot: str, now: Ingredients) -> None:
    """Remember the ingredients for the next explanation."""
    records.remember(slot, {"parts": dict(now.parts), "files": dict(now.files)})


def described(
    records: StepRecords, key: list[object], describe: Callable[[], Mapping[str, str]]
) -> dict[str, str]:
    """What counts of a part of finished layers, found out once: they never change."""
    name = digest(["described", *key])
    known = records.memo(name)
    if known is not None and isinstance(known.get("files"), dict):
        return dict(known["files"])
    found = dict(describe())
    records.remember(name, {"files": found})
    return found
