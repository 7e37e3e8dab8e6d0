"""From a draft to effects: allocate, resolve, submit.

`Change` holds the project lock and carries the plan of a `Draft` out.  Everything that can be found
wrong is found before the first job is sent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

from orchestrator.dataclass import replace
from orchestrator.engine import (
    allocate,
    executable,
    isolation,
    lending,
    machine,
    material,
    platforms,
    preflight,
    submit,
    timing,
    translate,
)
from orchestrator.engine.drafting import Draft, draft
from orchestrator.engine.endpoints import ports
from orchestrator.engine.resolve import check
from orchestrator.engine.workspace import Workspace
from orchestrator.events import Progress, Sink, Warned
from orchestrator.plan import actions, resources, teardown
from orchestrator.plan.policy import UpPolicy
from orchestrator.runtime.spec import ContainerSpec
from orchestrator.state import snapshots, store
from orchestrator.state.records import ProjectRecord
from orchestrator.supervisor import protocol

if TYPE_CHECKING:
    from orchestrator.network.ipam import Subnet
    from orchestrator.state.observed import Observed
    from orchestrator.state.records import ContainerRecord


class Change:
    """The right to change the project, and a supervisor on its way."""

    def __init__(
        self, workspace: Workspace, *, command: str, sink: Sink, wait: bool = True
    ) -> None:
        self.workspace, self.command, self.sink, self.wait = workspace, command, sink, wait
        self.layout = workspace.layout
        self.head = submit.HeadStart(self.layout, workspace.name)
        self._lock: store.Lock | None = None
        self._is_over = False

    def __enter__(self) -> Self:
        self._lock = store.project_lock(
            self.layout, self.workspace.name, command=f"pcompose {self.command}", wait=self.wait,
            waiting=lambda words: self.sink(Warned(message=f"{words}; waiting")),
        )  # fmt: skip
        return self

    @property
    def lock(self) -> int:
        """The open file that holds the lock."""
        assert self._lock is not None
        return self._lock.fd

    def __exit__(self, *exc: object) -> None:
        try:
            self.head.abandon()
            if not self._is_over:
                tidy(self.workspace)
        finally:
            assert self._lock is not None
            self._lock.close()

    def begin(
        self, jobs: Sequence[protocol.Job], *, sink: Sink | None = None, stdio: int | None = None,
        streams: Sequence[int] = (), tty: submit.Tty | None = None,
    ) -> submit.Submission:  # fmt: skip
        """Send the jobs and do not wait."""
        return submit.Submission(
            self.head.connect(), jobs, lock=self.lock, sink=sink or self.sink, stdio=stdio,
            streams=streams, tty=tty, parallel=self.workspace.choice.parallel,
        )  # fmt: skip

    def keep(self, observed: Observed, *, always: bool = False) -> None:
        """See that somebody keeps what runs, where there was nothing to do: supervisor and keeper
        may both have been killed.  With `always` also where nothing runs."""
        if always or any(c.status.state in ("running", "restarting") for c in observed.containers):
            self.head.connect().close()

    def execute(self, jobs: Sequence[protocol.Job], *, last: bool = False) -> timing.Times:
        """Send the jobs and wait until they are done; see `submit.run` for `last`."""
        if not jobs:
            return {}
        return submit.run(self.head, jobs, lock=self.lock, sink=self.sink, last=last,
                          parallel=self.workspace.choice.parallel)  # fmt: skip

    def end(self, jobs: Sequence[protocol.Job]) -> None:
        """The last jobs of the project; then the supervisor forgets it, also where we are killed
        before we see that."""
        if not jobs and not os.path.exists(self.layout.control_socket(self.workspace.name)):
            return  # nobody else knows of it
        numbers = tuple(job.number for job in jobs)
        last = protocol.ForgetProject(number=max(numbers, default=0) + 1, after=numbers)
        self.execute([*jobs, last], last=True)
        self._is_over = True  # from here on it may be somebody else's


def tidy(workspace: Workspace) -> None:
    """Remove the project's directory when nothing of it is left, and the contents of secrets that
    no container has; call it under the lock."""
    observed = workspace.observe()
    material.sweep(workspace.layout, workspace.name, observed)
    mine = [n for n in observed.networks.values() if n.record.project == workspace.name]
    if not observed.containers and not mine:
        snapshots.sweep(workspace.layout, workspace.name)
        store.forget_project(workspace.layout, workspace.name)


def prepare(change: Change, made: Draft) -> translate.Jobs:
    """The jobs of a draft.  Whatever the machine refuses is refused here; after that subnets,
    addresses and the project's record are written."""
    jobs, _ = prepare_with(change, made)
    if made.plan:
        store.save_project(change.layout, project_record(made))
    return jobs


def prepare_with(
    change: Change, made: Draft, *, extra: Sequence[allocate.Wanted] = ()
) -> tuple[translate.Jobs, allocate.Allocation]:
    """As `prepare`, with addresses for more containers than the plan has; writes no project
    record."""
    announce(made, change.sink)
    starting = [n.action for n in made.plan if isinstance(n.action, actions.StartContainer)]
    creating = [n.action for n in made.plan if isinstance(n.action, actions.CreateContainer)]
    created = sorted({a.service for a in creating})
    for name in created:
        check(made.project.services[name], made.images[name].config, project=made.project)
        executable.check(made.project.services[name], made.images[name], project=made.project)
    platforms.check(made.project, created, made.images)
    preflight.check_names(change.layout, made.project, created)
    preflight.check_bind_sources(made.project, created)
    preflight.check_networks(made.project, created)
    machine.check(made.project, created)
    assets = machine.gather(made.project, created)
    volumes = [n.action.key for n in made.plan if isinstance(n.action, actions.CreateVolume)]
    preflight.check_volumes(made.project, volumes)
    _check_ports(made, creating, starting)
    made.contents.keep(made.project, created)
    allocation = allocate.allocate(
        change.layout, made.project,
        create=[n.action.key for n in made.plan if isinstance(n.action, actions.CreateNetwork)],
        wanted=[*translate.wanted(made.plan, made.project), *extra], routes=_routes,
        labels=lambda network: translate.network_labels(made.project, network),
        command=f"pcompose {change.command}",
    )  # fmt: skip
    context = translate.Context(project=made.project, observed=made.observed,
                                images=made.images, layout=change.layout,
                                assets=assets,
                                foreign=lending.foreign(change.layout, made.project,
                                                        created))  # fmt: skip
    return translate.translate(made.plan, context, allocation), allocation


def _routes() -> list[Subnet]:
    from orchestrator.network.routes import live_routes

    return live_routes()


def announce(made: Draft, sink: Sink) -> None:
    """Warnings of the file and the plan, what stays as it is, and why something is made again."""
    ignored = [text for s in made.selected.services.values() for text in isolation.warnings(s)]
    for message in (*made.project.warnings, *made.plan.warnings, *ignored):
        sink(Warned(message=message))
    for name in made.plan.unchanged:
        sink(Progress(kind="Container", name=name, text="Running", status="Done", time=time.time()))
    for node in made.plan:
        action = node.action
        if isinstance(action, actions.CreateContainer) and action.replaces:
            sink(Progress(kind="Container", name=action.subject, text="Recreate",
                          status="Working", time=time.time(),
                          details=f"recreate {action.service}: {action.cause}"))  # fmt: skip


def _check_ports(
    made: Draft, creating: Sequence[actions.CreateContainer],
    starting: Sequence[actions.StartContainer],
) -> None:  # fmt: skip
    services = made.project.services
    wanted = [(a.subject, ports(services[a.service], project=made.project)) for a in creating]
    by_id = {c.record.id: c for c in made.observed.containers}
    for action in starting:
        there = by_id.get(action.container or "")
        if there is not None and not there.is_running:
            wanted.append((action.subject, ContainerSpec.from_json(there.record.spec).ports))
    stopped = {n.action.container for n in made.plan if isinstance(n.action, actions.StopContainer)}
    released = {
        preflight.Held(port["protocol"], int(port["published"]))
        for id_ in stopped for port in by_id[id_].status.ports
    }  # fmt: skip
    preflight.check_ports(wanted, released=released)


def project_record(made: Draft) -> ProjectRecord:
    """What `ls` and `down` need without a file; what an earlier file declared is not forgotten."""
    project, former = made.project, made.observed.project
    networks = {n.key: n.name for n in project.networks.values() if not n.external}
    volumes = {v.key: v.name for v in project.volumes.values() if not v.external}
    return ProjectRecord(
        name=project.name, working_dir=project.working_dir, config_files=list(project.files),
        environment_files=list(project.env_files),
        networks={**(former.networks if former else {}), **networks},
        volumes={**(former.volumes if former else {}), **volumes},
    )  # fmt: skip


def waits(
    made: Draft, jobs: translate.Jobs, *, timeout: float | None
) -> list[protocol.WaitFor]:
    """The jobs of `--wait`: every selected service is ready, or completed where another service
    waits for its completion."""
    completed = {
        d.service for service in made.selected.services.values()
        for d in service.depends_on.values() if d.condition == "service_completed_successfully"
    }  # fmt: skip
    after = tuple(job.number for job in jobs.jobs)
    found: list[protocol.WaitFor] = []
    for name, service in made.selected.services.items():
        containers = translate.final_containers(name, jobs, made.observed)
        if not containers or service.scale == 0:
            continue
        condition = "service_completed_successfully" if name in completed else "ready"
        found.append(
            protocol.WaitFor(
                number=len(after) + len(found) + 1, after=after, containers=tuple(containers),
                condition=condition, service=name, dependent="", timeout=timeout,
            )
        )  # fmt: skip
    return found


def limited(job: protocol.Job, timeout: float | None) -> protocol.Job:
    """A wait with the time that the user gives all of them."""
    return replace(job, timeout=timeout) if isinstance(job, protocol.WaitFor) else job


def up(
    workspace: Workspace, policy: UpPolicy, *, wait: bool, wait_timeout: float | None, sink: Sink
) -> Draft:
    """`up -d`: make it so and return the plan that was carried out."""
    clock = timing.Clock()
    build = builder(workspace, policy, sink=clock.hearing(sink))
    with opening(workspace, command="up", sink=sink, before=build) as change:
        clock.mark("Load")
        drop_volumes(change, policy)
        made = draft(workspace, policy, make_host=True)
        grant(change, policy)
        jobs = prepare(change, made)
        ready = waits(made, jobs, timeout=wait_timeout) if wait else []
        work = [*(limited(job, wait_timeout) for job in jobs.jobs), *ready]
        clock.mark("Plan")
        times = change.execute(work)
        if work:
            timing.write(change.layout, made.project, clock, work, times, records(made, jobs))
        else:
            change.keep(made.observed, always=policy.terms is not None)
    return made


def records(made: Draft, jobs: translate.Jobs) -> list[ContainerRecord]:
    """Of the containers there were and of those there will be."""
    return [*(c.record for c in made.observed.containers), *jobs.created.values()]


def grant(change: Change, policy: UpPolicy) -> None:
    """How long the project lives, before anything of it is made."""
    if policy.terms is not None:
        from orchestrator.engine import leases

        leases.grant(change.layout, change.workspace.name, policy.terms)


def changed_volumes(workspace: Workspace) -> list[str]:
    """Names of volumes that are another in the files than they were made."""
    observed = workspace.observe()
    if not any(v.project == workspace.name for v in observed.volumes.values()):
        return []
    return resources.changed_volumes(workspace.runnable, observed)


def drop_volumes(change: Change, policy: UpPolicy) -> None:
    """Remove the volumes that the policy wants to have made again, and who has them."""
    if policy.renew_volumes:
        observed = change.workspace.observe()
        plan = teardown.drop_volumes(observed, policy.renew_volumes)
        change.execute([translate.teardown_job(node, observed) for node in plan])


def builder(workspace: Workspace, policy: UpPolicy, *, sink: Sink) -> Callable[[], None]:
    """What pulls and builds the images that the policy asks for."""
    def build() -> None:
        from orchestrator.engine import building, pulling

        pulling.prepare(workspace, policy.services, policy=policy.pull, sink=sink,
                        with_dependencies=policy.with_dependencies)  # fmt: skip
        building.prepare(workspace, policy.services, when=policy.build,
                         with_dependencies=policy.with_dependencies, sink=sink)  # fmt: skip

    return build


def opening(
    workspace: Workspace, *, command: str, sink: Sink, before: Callable[[], None] | None = None
) -> Change:
    """A Change whose supervisor starts while the files are read; `before` is done without the
    project's lock, as it may take long."""
    if workspace.glanced_name is not None:
        head = submit.HeadStart(workspace.layout, workspace.glanced_name)
        head.begin()
        try:
            _ = workspace.runnable
            if before is not None:
                before()
        except BaseException:
            head.abandon()
            raise
        change = Change(workspace, command=command, sink=sink)
        change.head = head
        return change
    if before is not None:
        before()
    return Change(workspace, command=command, sink=sink)


_STARTING = (protocol.StartContainer, protocol.RunHooks, protocol.WaitFor)


def split(jobs: translate.Jobs) -> tuple[list[protocol.Job], list[protocol.Job]]:
    """(what prepares, what starts): creation first, so that an attached `up` can listen before
    anything runs.  What needs a start comes after it, whatever it is."""
    later: set[int] = set()
    for job in jobs.jobs:
        starts = isinstance(job, _STARTING)
        if starts or later & set(job.after):
            later.add(job.number)
    first = [job for job in jobs.jobs if job.number not in later]
    second = [
        replace(job, after=tuple(n for n in job.after if n in later))
        for job in jobs.jobs if job.number in later
    ]  # fmt: skip
    return first, second
