"""Where the time of an up went, from a record by hand."""

from __future__ import annotations

from typing import Any

from orchestrator.cli.commands import analyze
from orchestrator.engine.timing import analyse
from orchestrator.state.observed import ObservedContainer
from orchestrator.state.records import ContainerStatus
from tests.state.sample import container_record

BEGAN = 1000.0


def job(number: int, kind: str, subject: str, after: tuple[int, ...], begin: float, end: float,
        services: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:  # fmt: skip
    return {"number": number, "kind": kind, "subject": subject, "after": after,
            "begin": BEGAN + begin, "end": BEGAN + end, "services": services, **more}  # fmt: skip


DATA = {
    "began": BEGAN,
    "phases": [("Load", "", BEGAN, BEGAN + 0.2), ("Image", "web", BEGAN + 0.05, BEGAN + 0.15),
               ("Plan", "", BEGAN + 0.2, BEGAN + 0.3)],
    "jobs": [
        job(1, "CreateNetwork", "p_default", (), 0.5, 0.6),
        job(2, "CreateContainer", "p-db-1", (1,), 0.6, 0.7, ("db",), networks=["p_default"]),
        job(3, "CreateContainer", "p-web-1", (1,), 0.6, 0.65, ("web",), networks=["p_default"]),
        job(4, "StartContainer", "db", (2,), 0.7, 0.9, container="db-1-id"),
        job(5, "WaitFor", "db service_healthy", (4,), 0.9, 2.9, ("db",)),
        job(6, "StartContainer", "web", (3, 5), 2.9, 3.0, container="web-1-id"),
    ],
}  # fmt: skip
CONTAINERS = {
    "db-1-id": ObservedContainer(record=container_record("db"), status=ContainerStatus(
        state="running", started_at=BEGAN + 0.8, first_probe_at=BEGAN + 0.85,
        healthy_at=BEGAN + 2.8)),
    "web-1-id": ObservedContainer(record=container_record("web"), status=ContainerStatus(
        state="running", started_at=BEGAN + 2.95)),
}  # fmt: skip
ANALYSIS = analyse("p", DATA, CONTAINERS)


def test_the_critical_path_is_what_each_waited_for_longest() -> None:
    assert [f"{step.kind} {step.subject}".strip() for step in ANALYSIS.chain] == [
        "StartContainer p-web-1", "WaitFor db service_healthy", "StartContainer p-db-1",
        "CreateContainer p-db-1", "CreateNetwork p_default", "Supervisor", "Plan", "Load",
        "Image web",
    ]  # fmt: skip


def test_blame_is_a_table_slowest_first() -> None:
    assert [line.split() for line in analyze.blame(ANALYSIS)[1:]] == [
        ["web", "100ms", "50ms", "100ms", "100ms", "-", "-", "3.000s"],
        ["db", "-", "100ms", "100ms", "200ms", "50ms", "2.000s", "2.800s"],
    ]


def test_chain_and_picture_name_every_step() -> None:
    lines = analyze.chain(ANALYSIS)
    assert lines[0].startswith("p was up 3.000s after the command began.")
    assert lines[2].split() == ["@", "2.900s", "+", "2.000s", "db", "service_healthy", "awaited"]
    picture = "\n".join(analyze.svg(ANALYSIS))
    assert picture.count("<rect") == len(ANALYSIS.steps)
    assert picture.count('<rect class="c"') == len(ANALYSIS.chain)


def test_what_was_started_by_somebody_else_later_is_not_counted() -> None:
    before = {"db-1-id": ObservedContainer(record=container_record("db"), status=ContainerStatus(
        state="running", started_at=BEGAN - 5, first_probe_at=BEGAN - 4, healthy_at=BEGAN - 3))}
    assert analyse("p", DATA, before).services["db"]["healthy"] == 0.0
