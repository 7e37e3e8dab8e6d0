"""What build steps have made: key -> layer, kept so that a later build need not do it again.

    ROOT/steps/KEY.json      one finished step; KEY is 64 hexadecimal digits
    ROOT/memos/KEY.json      what was found out about content, for the same reason

The store keeps the layers that are named here as it keeps those of images.  How a key comes about
is the builder's affair.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

from orchestrator.dataclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One finished step."""

    diff_id: str
    """Empty: the step changed nothing."""
    name: str
    """Of the layer's directory."""
    size: int
    created: float
    """Seconds since the epoch."""
    text: str
    """The instruction, for who looks at the cache."""


class StepRecords:
    """The records below one store."""

    def __init__(self, root: str) -> None:
        self._root = root

    def get(self, key: str) -> Step | None:
        """The step of that key, which counts as used now."""
        path = f"{self._root}/steps/{key}.json"
        data = _read(path)
        try:
            step = Step(**data) if data else None
            if step is not None:
                os.utime(path)
        except (TypeError, OSError):
            return None  # of another version, or just removed
        return step

    def put(self, key: str, step: Step) -> None:
        """Remember it; the layer must be in the store."""
        _write(f"{self._root}/steps/{key}.json", {n: getattr(step, n) for n in step.__slots__})

    def memo(self, key: str) -> dict[str, Any] | None:  # JSON has no narrower type
        """What `remember` was told."""
        return _read(f"{self._root}/memos/{key}.json")

    def remember(self, key: str, data: dict[str, Any]) -> None:  # as above
        """Keep what was found out."""
        _write(f"{self._root}/memos/{key}.json", data)

    def all(self) -> Iterator[tuple[str, Step, float]]:
        """(key, step, when it was used last) of each."""
        for key in _names(f"{self._root}/steps"):
            path = f"{self._root}/steps/{key}.json"
            try:
                yield key, Step(**_read(path) or {}), os.stat(path).st_mtime
            except (TypeError, OSError):
                continue

    def layer_names(self) -> set[str]:
        """Directories of layers that must stay."""
        return {step.name for _, step, _ in self.all()}

    def forget(self, *, unused_since: float | None = None) -> int:
        """Drop the records that were not used since then, or all; how many.  Their layers go with
        the next sweep of the store."""
        limit = time.time() + 1 if unused_since is None else unused_since
        gone = 0
        for kind in ("steps", "memos"):
            for key in _names(f"{self._root}/{kind}"):
                path = f"{self._root}/{kind}/{key}.json"
                if os.stat(path).st_mtime < limit:
                    os.unlink(path)
                    gone += kind == "steps"
        return gone


def _names(directory: str) -> list[str]:
    try:
        return [name[:-5] for name in os.listdir(directory) if name.endswith(".json")]
    except FileNotFoundError:
        return []


def _read(path: str) -> dict[str, Any] | None:  # our own JSON
    try:
        with open(path, "rb") as file:
            data = json.load(file)
    except (OSError, ValueError):
        return None  # never made, or cut off by a loss of power: it is made again
    return data if isinstance(data, dict) else None


def _write(path: str, data: dict[str, Any]) -> None:
    """Whole or not at all."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{os.getpid()}-{time.time_ns()}"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(data, file)
    os.rename(temporary, path)
