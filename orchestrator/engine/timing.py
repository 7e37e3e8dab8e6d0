"""Where the time of an `up` went: written down by each, read by `analyze`.

The record has every job with when it began and ended, as the supervisor measured it, and the
phases before the first one.  Reading adds what is only known later: first probe and health.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.dataclass import dataclass
from orchestrator.errors import UsageError
from orchestrator.events import Progress
from orchestrator.state import store
from orchestrator.supervisor import protocol

if TYPE_CHECKING:
    from orchestrator.engine.workspace import Workspace
    from orchestrator.events import Event, Sink
    from orchestrator.spec.model import Project
    from orchestrator.state.layout import Layout
    from orchestrator.state.observed import ObservedContainer
    from orchestrator.state.records import ContainerRecord

FILE = "last-up.json"
Times = Mapping[int, tuple[float, float]]
"""Number of a job -> when it began and ended, seconds since the epoch."""
_COLUMNS = ("image", "create", "network", "start", "first probe", "healthy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A job, or a phase before the jobs; seconds from the beginning of the `up`."""

    number: int
    kind: str
    """Name of the job's class, or `Load`, `Image`, `Plan`, `Supervisor` (until it is there)."""
    subject: str
    services: tuple[str, ...]
    after: tuple[int, ...]
    begin: float
    end: float

    @property
    def took(self) -> float:
        return self.end - self.begin


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """An `up` taken apart."""

    project: str
    began: float
    steps: tuple[Step, ...]
    columns: tuple[str, ...] = _COLUMNS
    services: Mapping[str, Mapping[str, float]]
    """Service -> column -> seconds; `total` is from the beginning until it was ready."""
    chain: tuple[Step, ...]
    """The critical path, what came last first."""

    @property
    def took(self) -> float:
        return max((step.end for step in self.steps), default=0.0)


class Clock:
    """The phases of an `up` on its way, from now on."""

    def __init__(self) -> None:
        self.began = self._last = time.time()
        self.phases: list[tuple[str, str, float, float]] = []
        """(kind, subject, begin, end), seconds since the epoch."""
        self._images: dict[str, float] = {}

    def mark(self, kind: str) -> None:
        """What was done since the last mark was this."""
        now = time.time()
        self.phases.append((kind, "", self._last, now))
        self._last = now

    def hearing(self, sink: Sink) -> Sink:
        """The sink, with an ear for images that are built or pulled."""
        def hear(event: Event) -> None:
            if isinstance(event, Progress) and event.kind == "Image":
                begin = self._images.setdefault(event.name, time.time())
                if event.status != "Working":
                    self.phases.append(("Image", event.name, begin, time.time()))
                    del self._images[event.name]
            sink(event)

        return hear


def write(
    layout: Layout, project: Project, clock: Clock, jobs: Sequence[protocol.Job], times: Times,
    records: Iterable[ContainerRecord],
) -> None:  # fmt: skip
    """Write down what an `up` did; `records` are those of all containers, old and new ones."""
    specs = {record.id: record for record in records}
    images = {service.image: name for name, service in project.services.items()}
    phases = [(kind, images.get(subject, subject), begin, end)
              for kind, subject, begin, end in clock.phases]  # fmt: skip
    rows = []
    for job in jobs:
        if job.number in times:
            begin, end = times[job.number]
            rows.append({"number": job.number, "kind": type(job).__name__, "after": job.after,
                         "begin": begin, "end": end, **_about(job, specs)})  # fmt: skip
    path = f"{layout.project(project.name)}/{FILE}"
    store.write_json(path, {"version": 1, "began": clock.began, "phases": phases,
                            "jobs": rows}, make_parents=False)  # fmt: skip


def _about(job: protocol.Job, created: Mapping[str, Any]) -> dict[str, Any]:
    """What a job is about, in names."""
    match job:
        case protocol.CreateContainer():
            networks = sorted(job.record["networks"].values())
            return {"subject": job.record["name"], "services": [job.record["service"]],
                    "networks": networks}  # fmt: skip
        case protocol.CreateNetwork() | protocol.CreateVolume():
            return {"subject": job.record["name"], "services": []}
        case protocol.WaitFor():
            words = f"{job.service} {job.condition}"
            return {"subject": words, "services": [job.service], "waiter": job.dependent}
        case protocol.RemoveNetwork() | protocol.RemoveVolume():
            return {"subject": job.name, "services": []}
    container = getattr(job, "container", "")
    record = created.get(container)
    return {"subject": record.name if record else container[:12], "container": container,
            "services": [record.service] if record else []}  # fmt: skip


def read(workspace: Workspace) -> Analysis:
    """The last `up` of the project; UsageError where none is known."""
    path = f"{workspace.layout.project(workspace.name)}/{FILE}"
    data = store.read_json(path)
    if data is None:
        raise UsageError(f"nothing is known of an up of project {workspace.name}",
                         hint="`pcompose up -d` first; `down` forgets it")
    containers = {c.record.id: c for c in workspace.observe().containers}
    return analyse(workspace.name, data, containers)


def analyse(
    project: str, data: Mapping[str, Any], containers: Mapping[str, ObservedContainer]
) -> Analysis:
    """Take a record apart; `containers` are those of the project as they are now, by id."""
    began = float(data["began"])
    phases = [
        Step(number=-n, kind=kind, subject=subject, after=(), begin=begin - began, end=end - began,
             services=(subject,) if kind == "Image" else ())
        for n, (kind, subject, begin, end) in enumerate(data["phases"], start=1)
    ]  # fmt: skip
    names = {c.record.id: (c.record.name, c.record.service) for c in containers.values()}
    jobs = [_step(row, began, names) for row in data["jobs"]]
    if phases and jobs:
        begin, first = max(s.end for s in phases), min(s.begin for s in jobs)
        phases.append(Step(number=-len(phases) - 1, kind="Supervisor", subject="", services=(),
                           after=(), begin=begin, end=first))  # fmt: skip
    return Analysis(
        project=project, began=began, steps=(*phases, *jobs), chain=tuple(_chain(jobs, phases)),
        services=_services(data, phases, jobs, began, containers),
    )  # fmt: skip


def _step(row: Mapping[str, Any], began: float, names: Mapping[str, tuple[str, str]]) -> Step:
    name, service = names.get(str(row.get("container")), ("", ""))
    return Step(
        number=row["number"], kind=row["kind"], subject=name or row["subject"],
        services=tuple(row["services"]) or ((service,) if service else ()),
        after=tuple(row["after"]), begin=row["begin"] - began, end=row["end"] - began,
    )  # fmt: skip


def _chain(jobs: Sequence[Step], phases: Sequence[Step]) -> list[Step]:
    """From what ended last to what it waited for longest, and so on; then the phases."""
    by_number = {job.number: job for job in jobs}
    found = []
    step = max(jobs, key=lambda s: s.end, default=None)
    while step is not None:
        found.append(step)
        before = [by_number[n] for n in step.after if n in by_number]
        step = max(before, key=lambda s: s.end, default=None)
    return [*found, *sorted(phases, key=lambda s: -s.end)]


def _services(
    data: Mapping[str, Any], phases: Sequence[Step], jobs: Sequence[Step], began: float,
    containers: Mapping[str, ObservedContainer],
) -> dict[str, dict[str, float]]:  # fmt: skip
    networks = {step.subject: step.took for step in jobs if step.kind == "CreateNetwork"}
    used = {row["number"]: row.get("networks", ()) for row in data["jobs"]}
    columns = {"CreateContainer": "create", "StartContainer": "start", "Image": "image"}
    found: dict[str, dict[str, float]] = {}
    for step in (*phases, *jobs):
        if step.kind not in columns:
            continue
        for service in step.services:
            row = found.setdefault(service, dict.fromkeys((*_COLUMNS, "total"), 0.0))
            column = columns[step.kind]
            row[column] = max(row[column], step.took)
            row["total"] = max(row["total"], step.end)
            for name in used.get(step.number, ()):
                row["network"] = max(row["network"], networks.get(name, 0.0))
    for container in containers.values():
        _add_health(found.get(container.record.service), container, began)
    return found


def _add_health(row: dict[str, float] | None, container: ObservedContainer, began: float) -> None:
    """From the start to the first probe, and to the first success."""
    status = container.status
    if row is None or container.record.oneoff or status.started_at < began:
        return
    for column, moment in (("first probe", status.first_probe_at), ("healthy", status.healthy_at)):
        if moment:
            row[column] = max(row[column], moment - status.started_at)
            row["total"] = max(row["total"], moment - began)
