"""Why somebody waits in vain: the whole text, from values."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.runtime.spec import Healthcheck
from orchestrator.state.records import ContainerStatus
from orchestrator.supervisor import evidence
from orchestrator.supervisor.evidence import Case

CHECK = Healthcheck(
    test=("CMD", "pg_isready", "-q"), interval=1.0, retries=2, origin="compose.yaml:4",
    origins={"interval": "compose.yaml:6", "retries": "image pg:16"},
)  # fmt: skip
PROBES = [
    {"start": n * 10.0, "end": n * 10.0 + 0.25, "exit_code": n, "output": f"refused {n}\n"}
    for n in range(1, 5)
]
UNHEALTHY = Case(
    name="p-db-1", service="db", check=CHECK, log_lines=["starting", "no disk"],
    status=ContainerStatus(state="running", health="unhealthy", failing_streak=2, probes=PROBES),
    waiters=[evidence.waiter("web", "db", "service_healthy", "compose.yaml:12")],
)  # fmt: skip


def test_an_unhealthy_dependency_is_told_with_waiters_settings_probes_and_log() -> None:
    text = evidence.of_failure("container p-db-1 is unhealthy", UNHEALTHY, now=42.0)
    assert text.splitlines() == [
        "container p-db-1 is unhealthy",
        "  web waits for db: service_healthy (compose.yaml:12)",
        "  healthcheck of db (compose.yaml:4): CMD pg_isready -q",
        "    interval 1s (compose.yaml:6), timeout 30s (default), retries 2 (image pg:16), "
        "start_period 0s (default), start_interval 5s (default)",
        "  last 3 probes:",
        "    exit 2 after 0.250s, 21.8s ago:",
        "      refused 2",
        "    exit 3 after 0.250s, 11.8s ago:",
        "      refused 3",
        "    exit 4 after 0.250s, 1.8s ago:",
        "      refused 4",
        "  last log lines of p-db-1:",
        "    starting",
        "    no disk",
    ]


def test_an_exit_code_is_explained() -> None:
    case = Case(name="p-db-1", service="db", check=None, log_lines=[],
                status=ContainerStatus(state="exited", exit_code=137))  # fmt: skip
    assert evidence.of_failure("container p-db-1 exited (137)", case, now=0).splitlines() == [
        "container p-db-1 exited (137)", "  it was ended by SIGKILL",
        "  p-db-1 has written nothing to its log",
    ]  # fmt: skip
    starved = replace(case, status=replace(case.status, oom_killed=True))
    assert "memory limit was reached" in evidence.of_failure("x", starved, now=0)


def test_of_a_long_log_the_last_twenty_lines_are_shown() -> None:
    case = replace(UNHEALTHY, log_lines=[f"line {n}" for n in range(30)], check=None)
    lines = evidence.of_failure("x", case, now=0).splitlines()
    assert lines[-20:] == [f"    line {n}" for n in range(10, 30)]


def test_a_time_out_names_each_service_that_is_not_ready() -> None:
    created = Case(name="p-web-1", service="web", check=None, log_lines=[],
                   status=ContainerStatus(state="created"))  # fmt: skip
    looping = replace(created, name="p-x-1", service="x",
                      status=ContainerStatus(state="restarting", exit_code=3))  # fmt: skip
    starting = replace(UNHEALTHY, status=replace(UNHEALTHY.status, health="starting"))
    text = evidence.of_delay("not healthy after 5s", [starting, created, looping], now=42.0)
    named = [line for line in text.splitlines() if "is not ready" in line]
    assert named == [
        "  service db is not ready: container p-db-1 is running, health starting, "
        "2 failures in a row",
        "  service web is not ready: container p-web-1 has not been started",
        "  service x is not ready: container p-x-1 is restarting after exit code 3",
    ]
    assert "      refused 4" in text.replace("        refused", "      refused")
