"""Forks: more projects from the same files, with what a snapshot of the first one has.

Nothing is copied but what containers have written outside of volumes: the layers of the snapshot
lie below the volumes of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.dataclass import replace
from orchestrator.engine import lifecycle, reconcile, snapshots, submit
from orchestrator.engine.workspace import Workspace, check_project_name
from orchestrator.errors import UsageError
from orchestrator.plan.policy import UpPolicy

if TYPE_CHECKING:
    from orchestrator.events import Sink
    from orchestrator.plan.policy import Terms


def fork(
    workspace: Workspace, snapshot: str, names: Sequence[str], *, terms: Terms | None, sink: Sink
) -> None:
    """Create, restore and start each; ready at the end.  UsageError, before any of them is made,
    where the snapshot is not there or a project of one of the names is."""
    snapshots.read(workspace.layout, workspace.name, snapshot)
    layout = workspace.layout
    forks = [
        Workspace(replace(workspace.choice, project_name=check_project_name(name), private=True),
                  layout=layout)
        for name in names
    ]  # fmt: skip
    for one in forks:
        if one.observe().containers:
            raise UsageError(f"there is a project {one.name} already",
                             hint=f"take it down first: pcompose -p {one.name} down -v")
    submit.keep_warm()
    try:
        for one in forks:
            policy = UpPolicy(start=False, ports="auto", terms=terms)
            reconcile.up(one, policy, wait=False, wait_timeout=None, sink=sink)
            snapshots.restore(one, snapshot, (), sink=sink, origin=workspace.name)
            lifecycle.start(one, (), wait=False, wait_timeout=None, sink=sink)
    finally:
        submit.let_cool()
    for one in forks:  # they have begun: the slowest is what it takes
        lifecycle.start(one, (), wait=True, wait_timeout=None, sink=sink)
