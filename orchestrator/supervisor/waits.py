"""Conditions: what a container's state means for somebody who waits for it.

Pure: a status and a condition in, a verdict out; `execute.py` asks again at each change.  The
sentences are those docker compose prints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.dataclass import dataclass

if TYPE_CHECKING:
    from orchestrator.state.records import ContainerStatus

CONDITIONS = ("running", "service_started", "service_healthy", "service_completed_successfully",
              "ready")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """The wait is over; `text` is the progress word."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The condition will not be met any more."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The container that is looked at."""

    name: str
    service: str
    status: ContainerStatus
    has_check: bool


def verdict(subject: Subject, condition: str, *, dependent: str) -> Met | Failed | None:
    """None: keep waiting.  `dependent` is empty where the user waits (`--wait`)."""
    if condition == "service_completed_successfully":
        return _completed(subject)
    if condition == "service_started" and subject.status.state != "created":
        return Met(text="Started")  # having been started is enough, as in docker compose
    prefix = "dependency failed to start: " if dependent else ""
    if condition == "service_healthy" and not subject.has_check:
        return Failed(message=f"{prefix}container {subject.name} has no healthcheck configured")
    ended = _ended(subject, prefix=prefix, success_is_ready=condition == "ready")
    if ended is not None:
        return ended
    if condition == "service_healthy" or (condition == "ready" and subject.has_check):
        return _healthy(subject, prefix=prefix)
    if subject.status.state == "running":
        return Met(text="Healthy" if condition == "ready" else "Running")
    return None


def _completed(subject: Subject) -> Met | Failed | None:
    status = subject.status
    if status.error and status.state != "running":
        return Failed(message=f"dependency failed to start: {status.error}")
    if status.state not in ("exited", "dead"):
        return None
    if status.exit_code == 0:
        return Met(text="Exited")
    code = "unknown" if status.exit_code is None else status.exit_code
    return Failed(message=f'service "{subject.service}" didn\'t complete successfully: exit {code}')


def _ended(subject: Subject, *, prefix: str, success_is_ready: bool) -> Met | Failed | None:
    status = subject.status
    if status.state not in ("created", "exited", "dead"):
        return None
    if status.error:
        return Failed(message=f"{prefix}{status.error}")
    if status.state == "created":
        return None
    if success_is_ready and status.exit_code == 0 and not status.stopped_by_user:
        return Met(text="Exited")
    code = "unknown" if status.exit_code is None else status.exit_code
    return Failed(message=f"{prefix}container {subject.name} exited ({code})")


def _healthy(subject: Subject, *, prefix: str) -> Met | Failed | None:
    if subject.status.state != "running":
        return None
    if subject.status.health == "healthy":
        return Met(text="Healthy")
    if subject.status.health == "unhealthy":
        return Failed(message=f"{prefix}container {subject.name} is unhealthy")
    return None


def too_late(*, timeout: float) -> str:
    """The sentence for a wait that took longer than it may."""
    return f"application not healthy after {timeout:g}s"
