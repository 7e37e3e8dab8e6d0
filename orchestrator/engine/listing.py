"""What projects there are.  Reads records and asks running supervisors; changes nothing."""

from __future__ import annotations

import os

from orchestrator.dataclass import dataclass
from orchestrator.engine import submit
from orchestrator.state import observe
from orchestrator.state.layout import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectRow:
    """One project."""

    name: str
    states: tuple[tuple[str, int], ...]
    """(state, number of containers), by state."""
    config_files: tuple[str, ...]
    supervisor_pid: int
    """0: none runs."""
    keeper_pid: int

    @property
    def is_running(self) -> bool:
        return any(state in ("running", "restarting", "paused") for state, _ in self.states)


def projects() -> list[ProjectRow]:
    """Every project that has containers, by name."""
    layout = Layout.from_environment()
    found = (_project(layout, name) for name in observe.projects(layout))
    return [row for row in found if row is not None]


def _project(layout: Layout, name: str) -> ProjectRow | None:
    observed = observe.observe(layout, name)
    counts: dict[str, int] = {}
    for container in observed.containers:
        state = container.status.shown_state
        counts[state] = counts.get(state, 0) + 1
    if not counts:
        return None
    info = {}
    if os.path.exists(layout.control_socket(name)):
        info = submit.request(layout, name, "info") or {}
    return ProjectRow(
        name=name, states=tuple(sorted(counts.items())),
        config_files=tuple(observed.project.config_files) if observed.project else (),
        supervisor_pid=_pid(info.get("pid")), keeper_pid=_pid(info.get("keeper_pid")),
    )  # fmt: skip


def _pid(value: object) -> int:
    return value if isinstance(value, int) else 0
