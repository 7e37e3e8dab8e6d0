"""Leases: how long a project lives, where that was said.

`lease.json` is written by commands under the project's lock and read by its supervisor.  It lies
with the records, not with the run-time files, so that also what survived everybody is known to be
nobody's.
"""

from __future__ import annotations

import os

from orchestrator.dataclass import replace
from orchestrator.errors import StateError
from orchestrator.linux import procfs
from orchestrator.state import store
from orchestrator.state.layout import Layout
from orchestrator.state.records import LeaseRecord


def read(layout: Layout, project: str) -> LeaseRecord | None:
    """The lease; None where there is none, or none that can be read: then the project stays."""
    try:
        return store.read_record(layout.project_lease(project), LeaseRecord)
    except StateError:
        return None


def write(layout: Layout, project: str, lease: LeaseRecord) -> None:
    """Put it down, under a new stamp and without holders that have ended."""
    holders = [list(holder) for holder in living(lease)]
    stamped = replace(lease, stamp=os.urandom(8).hex(), holders=holders, boot_id=procfs.boot_id())
    store.write_json(layout.project_lease(project), stamped.to_json())


def remove(layout: Layout, project: str) -> None:
    """From now on the project stays until it is taken down."""
    store.unlink(layout.project_lease(project))


def living(lease: LeaseRecord) -> list[tuple[int, int]]:
    """(pid, start time) of the holders that are alive."""
    if lease.boot_id != procfs.boot_id():
        return []
    return [
        (holder[0], holder[1]) for holder in lease.holders
        if len(holder) == 2 and procfs.start_time(holder[0]) == holder[1]
    ]  # fmt: skip


def is_over(lease: LeaseRecord, *, now: float, living: int, unused: float) -> bool:
    """Whether the project's time has come: `now` in seconds since the epoch, `living` holders, and
    so many seconds without use."""
    if lease.until and now >= lease.until:
        return True
    if living or not (lease.is_held or lease.idle):
        return False
    return unused >= lease.idle
