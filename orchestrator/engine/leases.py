"""Leases from the side of commands: giving one, letting go, taking down what is nobody's any more.

All of it under the project's lock, so that whoever joins a stack and whoever lets go of it do so
one after the other.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from orchestrator.dataclass import replace
from orchestrator.errors import UsageError
from orchestrator.linux import fds, procfs
from orchestrator.state import leases, store
from orchestrator.state.records import LeaseRecord

if TYPE_CHECKING:
    from orchestrator.plan.policy import Terms
    from orchestrator.state.layout import Layout


def grant(layout: Layout, project: str, terms: Terms) -> None:
    """Write the terms down; holders of before stay.  UsageError where the new one has ended."""
    former = leases.read(layout, project)
    lease = former or LeaseRecord(stamp="", boot_id=procfs.boot_id(), holders=[])
    if terms.ttl == 0 and terms.holder is None and terms.idle is None:
        leases.remove(layout, project)
        return
    if terms.ttl is not None:
        lease = replace(lease, until=time.time() + terms.ttl if terms.ttl else 0.0)
    if terms.idle is not None:
        lease = replace(lease, idle=terms.idle)
    if terms.holder is not None:
        mine = _holder(terms.holder)
        others = [holder for holder in lease.holders if holder != mine]
        lease = replace(lease, holders=[*others, mine], is_held=True)
    leases.write(layout, project, replace(lease, volumes=terms.volumes))


def check(terms: Terms) -> None:
    """UsageError where they cannot be granted, before anything is made."""
    if terms.holder is not None:
        _holder(terms.holder)


def _holder(pid: int) -> list[int]:
    start_time = procfs.start_time(pid)
    if start_time is None:
        raise UsageError(f"no process has the id {pid}",
                         hint="the project would be taken down at once")
    return [pid, start_time]


def let_go(layout: Layout, project: str, *, holder: int) -> bool:
    """The process holds the project no longer; whether it was the last one and nothing else keeps
    it: then it is for the caller to take down."""
    lease = leases.read(layout, project)
    if lease is None:
        return True
    others = [h for h in lease.holders if h[:1] != [holder]]
    lease = replace(lease, holders=others)
    left = len(leases.living(lease))
    if not left and not lease.idle:
        return True
    leases.write(layout, project, lease)
    return False


def stranded(layout: Layout) -> list[str]:
    """Projects whose lease is over and that no supervisor keeps: all who could have taken them
    down were killed at once, or the machine went down."""
    found = []
    for entry in store.scan(layout.projects()):
        lease = leases.read(layout, entry.name)
        if lease is None or not _is_over(lease):
            continue
        if _is_unsupervised(layout, entry.name):
            found.append(entry.name)
    return found


def _is_over(lease: LeaseRecord) -> bool:
    """What is not used because it does not run is not idle: it is over."""
    living = len(leases.living(lease))
    return leases.is_over(lease, now=time.time(), living=living, unused=float("inf"))


def _is_unsupervised(layout: Layout, project: str) -> bool:
    path = layout.supervisor_lock(project)
    if not os.path.exists(path):
        return True
    held = fds.lock(path, wait=False)
    if held is None:
        return False
    os.close(held)
    return True
