"""Misses: the names that containers asked for and nobody has, counted.

A name without a dot is meant for a peer, so it is most likely misspelt, or its service is on
another network; `ps --verbose` shows the counts, and each first, tenth, hundredth … time is an
event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.network.nametable import NameTable
    from orchestrator.supervisor.project import Project

_NAMES = 100
"""Of one container; who asks for more names than these asks at random."""


class Misses:
    """The counts of one project's containers."""

    def __init__(self, project: Project, table: NameTable) -> None:
        self._project, self._table = project, table
        self._counts: dict[str, dict[str, int]] = {}

    def count(self, container: str, name: str) -> None:
        """The container asked for a name that nobody knows; names of domains are not counted."""
        if not name or "." in name:
            return
        counts = self._counts.setdefault(container, {})
        if name not in counts and len(counts) >= _NAMES:
            return
        counts[name] = times = counts.get(name, 0) + 1
        lane = self._project.lanes.get(container)
        if lane is not None and str(times).strip("0") == "1":
            lane.publish("dns_miss", host=name, count=str(times), near=self._near(container, name))

    def forget(self, container: str) -> None:
        """It has ended."""
        self._counts.pop(container, None)

    def to_json(self) -> dict[str, dict[str, dict[str, object]]]:
        """container id -> name -> {count, near: what it may have meant}."""
        return {
            container: {name: {"count": count, "near": self._near(container, name)}
                        for name, count in counts.items()}
            for container, counts in self._counts.items()
        }  # fmt: skip

    def _near(self, container: str, name: str) -> str:
        from difflib import get_close_matches

        found = get_close_matches(name, self._table.names(container), n=1)
        return found[0] if found else ""
