"""Pausing: all processes of a container stand still, by the freezer of its control group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import to_thread

from orchestrator.errors import PcomposeError, StateError
from orchestrator.linux import cgroupfs
from orchestrator.runtime.launch import placement_of

if TYPE_CHECKING:
    from orchestrator.supervisor.lanes import Lane

_PATIENCE = 10.0


async def freeze(lane: Lane) -> None:
    """Until nothing of the container runs; StateError, and then nothing is frozen."""
    group = _group(lane)
    try:
        await to_thread.run_sync(lambda: cgroupfs.freeze(group, timeout=_PATIENCE))
    except (OSError, TimeoutError) as exc:
        try:
            await to_thread.run_sync(lambda: cgroupfs.thaw(group, timeout=_PATIENCE))
        except (OSError, TimeoutError):  # the first failure says more
            pass
        raise StateError(f"cannot pause {lane.record.name}: {_reason(exc)}") from exc


async def thaw(lane: Lane) -> None:
    """Until everything runs again; StateError."""
    group = _group(lane)
    try:
        await to_thread.run_sync(lambda: cgroupfs.thaw(group, timeout=_PATIENCE))
    except FileNotFoundError:  # it has ended meanwhile
        return
    except (OSError, TimeoutError) as exc:
        raise StateError(f"cannot unpause {lane.record.name}: {_reason(exc)}") from exc


def _group(lane: Lane) -> dict[str, str]:
    try:
        group = placement_of(lane.spec, lane.project.hierarchy).group
    except PcomposeError as exc:
        raise StateError(f"cannot pause {lane.record.name}: {exc.message}") from exc
    if "" not in group and "freezer" not in group:
        raise StateError(f"cannot pause {lane.record.name}: this machine gives us no freezer",
                         hint="run as root or with a delegated cgroup")  # fmt: skip
    return group


def _reason(exc: Exception) -> str:
    return (exc.strerror or str(exc)).lower() if isinstance(exc, OSError) else str(exc)
