"""Followers: containers that share a namespace of one that was started again by its policy.

What they share is the namespace of a process that has ended: nobody reaches them there any more, so
they are started again too.  Commands that restart or re-create do the same by their plans.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import PcomposeError
from orchestrator.runtime.isolation import shared_with
from orchestrator.supervisor import peers

if TYPE_CHECKING:
    from orchestrator.supervisor.lanes import Lane


def of(lane: Lane) -> list[Lane]:
    """Those that run with a namespace of what `lane` was before."""
    return [
        other for other in lane.project.lanes.values()
        if other.is_running and not other.record.oneoff and _is_shared(lane, other)
        and other.status.started_at < lane.status.started_at
    ]  # fmt: skip


def _is_shared(lane: Lane, other: Lane) -> bool:
    for kind, value in shared_with(other.spec.namespaces).items():
        try:
            record, _ = peers.find(lane.project, other.spec, kind, value)
        except PcomposeError:
            continue  # whoever it was, it does not run
        if record.id == lane.id:
            return True
    return False


async def follow(lane: Lane) -> None:
    """Start them again."""
    for other in of(lane):
        await other.start_anew(because=lane.record.name)
