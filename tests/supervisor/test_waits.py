"""Conditions by tables: what a status means for somebody who waits."""

from __future__ import annotations

import pytest

from orchestrator.state.records import ContainerStatus
from orchestrator.supervisor import waits
from orchestrator.supervisor.waits import Failed, Met, Subject

RUNNING = ContainerStatus(state="running")
HEALTHY = ContainerStatus(state="running", health="healthy")
STARTING = ContainerStatus(state="running", health="starting")
UNHEALTHY = ContainerStatus(state="running", health="unhealthy")
CREATED = ContainerStatus(state="created")
BROKEN = ContainerStatus(state="created", error="cannot start p-db-1: no")
RESTARTING = ContainerStatus(state="restarting", exit_code=1)
DONE = ContainerStatus(state="exited", exit_code=0)
FAILED = ContainerStatus(state="exited", exit_code=3)
LOST = ContainerStatus(state="exited", exit_code=None)


def verdict(
    status: ContainerStatus, condition: str, *, check: bool = True, dependent: str = "web"
) -> str:
    subject = Subject(name="p-db-1", service="db", status=status, has_check=check)
    found = waits.verdict(subject, condition, dependent=dependent)
    if isinstance(found, Met):
        return f"+{found.text}"
    return found.message if isinstance(found, Failed) else "wait"


@pytest.mark.parametrize(
    ("status", "condition", "expected"),
    [
        (HEALTHY, "service_healthy", "+Healthy"),
        (STARTING, "service_healthy", "wait"),
        (RESTARTING, "service_healthy", "wait"),
        (CREATED, "service_healthy", "wait"),
        (UNHEALTHY, "service_healthy",
         "dependency failed to start: container p-db-1 is unhealthy"),
        (FAILED, "service_healthy", "dependency failed to start: container p-db-1 exited (3)"),
        (DONE, "service_healthy", "dependency failed to start: container p-db-1 exited (0)"),
        (BROKEN, "service_healthy", "dependency failed to start: cannot start p-db-1: no"),
        (DONE, "service_completed_successfully", "+Exited"),
        (RUNNING, "service_completed_successfully", "wait"),
        (RESTARTING, "service_completed_successfully", "wait"),
        (FAILED, "service_completed_successfully",
         'service "db" didn\'t complete successfully: exit 3'),
        (LOST, "service_completed_successfully",
         'service "db" didn\'t complete successfully: exit unknown'),
        (RUNNING, "running", "+Running"),
        (DONE, "running", "dependency failed to start: container p-db-1 exited (0)"),
        (DONE, "service_started", "+Started"),
        (CREATED, "service_started", "wait"),
    ],
)  # fmt: skip
def test_a_dependent_waits(status: ContainerStatus, condition: str, expected: str) -> None:
    assert verdict(status, condition) == expected


@pytest.mark.parametrize(
    ("status", "check", "expected"),
    [
        (HEALTHY, True, "+Healthy"),
        (STARTING, True, "wait"),
        (RUNNING, False, "+Healthy"),
        (DONE, False, "+Exited"),
        (FAILED, False, "container p-db-1 exited (3)"),
        (UNHEALTHY, True, "container p-db-1 is unhealthy"),
    ],
)
def test_the_user_waits_until_ready(status: ContainerStatus, check: bool, expected: str) -> None:
    assert verdict(status, "ready", check=check, dependent="") == expected


def test_waiting_for_health_without_a_check_fails_at_once() -> None:
    text = "dependency failed to start: container p-db-1 has no healthcheck configured"
    assert verdict(RUNNING, "service_healthy", check=False) == text


def test_a_wait_that_took_too_long_says_so() -> None:
    assert waits.too_late(timeout=10.0) == "application not healthy after 10s"
