"""The end of a lease: `python -m orchestrator.engine.expiry PROJECT STAMP`, started by the
supervisor, takes the project down as `pcompose down` would.

A process of its own because a supervisor decides nothing.  It acts only if the lease is, under the
project's lock, still the one with the stamp: whoever came in between has the project.
"""

from __future__ import annotations

import sys

from orchestrator.engine import leases as leasing
from orchestrator.engine import lifecycle
from orchestrator.engine.workspace import Choice, Workspace
from orchestrator.errors import PcomposeError
from orchestrator.events import ignore
from orchestrator.plan.policy import DownPolicy
from orchestrator.state import leases
from orchestrator.state.layout import Layout


def expire(layout: Layout, project: str, *, stamp: str | None = None) -> None:
    """Take the project down, its volumes too where the lease says so."""
    workspace = Workspace(Choice(project_name=project, cwd="/", environ={}), layout=layout)
    lease = leases.read(layout, project)
    if lease is None:
        return

    def is_still_so() -> bool:
        found = leases.read(layout, project)
        return found is not None and stamp in (None, found.stamp)

    policy = DownPolicy(volumes=lease.volumes, timeout=0 if lease.volumes else None,
                        remove_orphans=True)  # fmt: skip
    lifecycle.down(workspace, policy, images="local" if lease.volumes else None, sink=ignore,
                   provided=is_still_so, snapshots=lease.volumes)  # fmt: skip


def let_go(workspace: Workspace, *, holder: int) -> bool:
    """The process does not need the project any more; whether it was the last one and the project
    was taken down with its volumes."""
    def is_last() -> bool:
        return leasing.let_go(workspace.layout, workspace.name, holder=holder)

    policy = DownPolicy(volumes=True, timeout=0, remove_orphans=True)
    return lifecycle.down(workspace, policy, images="local", sink=ignore, provided=is_last,
                          snapshots=True)  # fmt: skip


def remove_stranded() -> list[str]:
    """Take down what nobody else can: see `leases.stranded`."""
    layout = Layout.from_environment()
    found = leasing.stranded(layout)
    for project in found:
        expire(layout, project)
    return found


def main(arguments: list[str]) -> int:
    """Exit code 1 where it could not be done; the reason is for supervisor.log."""
    project, stamp, data, run = arguments
    try:
        expire(Layout(data, run), project, stamp=stamp)
    except PcomposeError as error:
        sys.stderr.write(f"cannot take {project} down: {error.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
