"""`run`: one more container of a service, with its own command, connected to our streams.

Dependencies come up first, by the same planner as `up`.  The container is a one-off: it satisfies
no dependency and is not touched by `up`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from orchestrator import events, names
from orchestrator.dataclass import dataclass, field, replace
from orchestrator.engine import (
    allocate,
    building,
    drafting,
    executable,
    images,
    interruption,
    lending,
    machine,
    material,
    platforms,
    preflight,
    pulling,
    reconcile,
    submit,
    translate,
)
from orchestrator.engine.drafting import Draft
from orchestrator.engine.endpoints import ports
from orchestrator.engine.reconcile import Change
from orchestrator.engine.resolve import Identity, check
from orchestrator.engine.session import KEPT, Signals
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import SupervisorError, UsageError
from orchestrator.events import Progress, Sink, StateChanged
from orchestrator.plan import actions, resources
from orchestrator.plan.diff import diff
from orchestrator.plan.plan import Plan, PlanBuilder
from orchestrator.plan.policy import Pull, UpPolicy
from orchestrator.spec.model import Port, Service, VolumeMount
from orchestrator.spec.select import select
from orchestrator.state import observe, store
from orchestrator.state.layout import Layout
from orchestrator.state.records import ContainerRecord
from orchestrator.supervisor import client, protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What `run` says beside the service; None and empty: as the service says."""

    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    environment: dict[str, str | None] = field(default_factory=dict)
    user: str | None = None
    working_dir: str | None = None
    volumes: tuple[VolumeMount, ...] = ()
    ports: tuple[Port, ...] = ()
    service_ports: bool = False
    name: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    tty: bool = False
    interactive: bool = True
    detach: bool = False
    remove: bool = False
    with_dependencies: bool = True
    use_aliases: bool = False
    remove_orphans: bool = False
    build: bool = False
    """Build images first, those that are there already too."""
    pull: Pull = ""
    """As --pull of `up`."""


def oneoff_service(service: Service, options: RunOptions) -> Service:
    """The service as the one-off has it."""
    if options.entrypoint is not None:
        command: tuple[str, ...] | None = options.command or None
        entrypoint: tuple[str, ...] | None = options.entrypoint
    else:
        command, entrypoint = options.command or service.command, service.entrypoint
    targets = {volume.target for volume in options.volumes}
    kept = tuple(v for v in service.volumes if v.target not in targets)
    return replace(
        service, command=command, entrypoint=entrypoint,
        environment={**service.environment, **options.environment},
        user=options.user or service.user,
        working_dir=options.working_dir or service.working_dir,
        volumes=(*kept, *options.volumes),
        ports=service.ports if options.service_ports else options.ports,
        labels={**service.labels, **options.labels},
        cap_add=(*service.cap_add, *options.cap_add),
        cap_drop=(*service.cap_drop, *options.cap_drop),
        tty=options.tty, stdin_open=options.interactive and not options.detach,
        restart="no", container_name=None, scale=1, pre_start=(),
    )  # fmt: skip


class Run:
    """The one-off on its way and afterwards; a `Session`."""

    def __init__(
        self, layout: Layout, project: str, record: ContainerRecord, *, signals: Sequence[str]
    ) -> None:
        self._layout, self._project, self._record = layout, project, record
        self._watch: client.ControlClient | None = None
        self.id = record.id
        self.signals = Signals(signals)
        self.is_starting = self.is_started = False
        self.master: int | None = None
        self.exit_code: int | None = None
        """Set when all is over: with `--rm` the container is gone then."""
        self._code: int | None = None
        self._is_removed_at_end = bool(record.spec.get("remove_on_exit"))

    def listen(self, connection: client.ControlClient) -> None:
        """Hear of the end over `connection`."""
        connection.request("watch")
        self._watch = connection

    def take_master(self, fd: int) -> None:
        """The master of the container's pty."""
        self.master = fd

    def fileno(self) -> int:
        assert self._watch is not None
        return self._watch.fileno()

    def step(self) -> None:
        assert self._watch is not None
        try:
            arrived = self._watch.pending()
        except SupervisorError:
            self._reconnect()
            return
        for message, _ in arrived:
            event = events.from_json(message) if "event" in message else None
            if isinstance(event, StateChanged) and event.container == self.id:
                self._take(event)

    def _take(self, event: StateChanged) -> None:
        if event.action == "die":
            self._code = 1 if event.exit_code is None else event.exit_code
        if event.action == ("destroy" if self._is_removed_at_end else "die"):
            self.exit_code = self._code

    def _reconnect(self) -> None:
        """The supervisor died: the next one knows, or the container has ended meanwhile."""
        assert self._watch is not None
        self._watch.close()
        self.listen(client.open_client(self._layout, self._project))
        self._look()

    def _look(self) -> None:
        id_, layout = self.id, self._layout
        found = observe.observe(layout, self._project)
        mine = next((c for c in found.containers if c.record.id == id_), None)
        if mine is None and self._code is not None:
            self.exit_code = self._code
            return
        if mine is None:
            raise SupervisorError("the container was removed; its exit code is not known")
        if mine.status.state in ("exited", "dead"):
            self.exit_code = 1 if mine.status.exit_code is None else mine.status.exit_code

    def signal(self, name: str) -> None:
        submit.request(self._layout, self._project, "signal", container=self.id, signal=name)

    def see(self, event: events.Event) -> None:
        """Progress of the jobs: from its own start on, signals are for the container."""
        if isinstance(event, Progress) and event.name == self._record.name:
            self.is_starting = self.is_starting or event.text == "Starting"
            self.is_started = self.is_started or event.text == "Started"

    def await_start(self, submission: submit.Submission) -> None:
        """Until the jobs are done.  A signal before the container's own start is for us."""
        early: list[str] = []
        while not submission.is_done:
            sources: list[submit.Submission | Signals] = [submission, self.signals]
            interruption.wait(sources)
            early += self.signals.take()
            submission.step()  # after `take`: whoever signals has seen what is told here
            if early and not self.is_starting and set(early) != {"SIGWINCH"}:
                raise KeyboardInterrupt
            if self.is_started or submission.is_done:  # a post_start hook may still be at work
                for name in early:
                    if name != "SIGWINCH":
                        self.signal(name)
                early = []

    def close(self) -> None:
        self.signals.close()
        if self._watch is not None:
            self._watch.close()
        if self.master is not None:
            os.close(self.master)
            self.master = None


def run(
    workspace: Workspace, service: str, options: RunOptions, *, streams: Sequence[int], sink: Sink,
    signals: Sequence[str] = KEPT,
) -> Run:
    """Create and start the one-off; what is returned runs (or has ended already).  `signals` are
    kept for it."""
    def build() -> None:
        pulling.prepare(workspace, (service,), policy=options.pull, sink=sink,
                        with_dependencies=options.with_dependencies)  # fmt: skip
        building.prepare(workspace, (service,), when="always" if options.build else "missing",
                         with_dependencies=options.with_dependencies, sink=sink)  # fmt: skip

    with reconcile.opening(workspace, command="run", sink=sink, before=build) as change:
        made, chosen = _draft(workspace, service, options)
        builder = _with_resources(made, chosen)
        planned = replace(made, plan=builder)
        check(chosen, made.images[chosen.name].config, project=made.project)
        executable.check(chosen, made.images[chosen.name], project=made.project,
                         is_from_file=not options.command and options.entrypoint is None)
        platforms.check(planned.project, [chosen.name], made.images)
        if options.name is not None:
            preflight.check_oneoff_name(workspace.layout, options.name)
        preflight.check_bind_sources(planned.project, [chosen.name])
        preflight.check_networks(planned.project, [chosen.name])
        machine.check(planned.project, [chosen.name])
        wanted_ports = ports(chosen, project=made.project)
        preflight.check_ports([(f"{chosen.name} (run)", wanted_ports)])
        made.contents.keep(planned.project, [chosen.name])
        return _start(change, planned, chosen, options, streams=streams, signals=signals)


def preview(workspace: Workspace, service: str, options: RunOptions) -> Plan:
    """What `run` would do; touches nothing."""
    made, chosen = _draft(workspace, service, options, make_host=False)
    builder = PlanBuilder(warnings=list(made.plan.warnings))
    before = [builder.add(n.action, after=n.after) for n in _with_resources(made, chosen)]
    name = options.name or names.oneoff_name(made.project.name, service, names.new_id(),
                                             separator=made.policy.separator)  # fmt: skip
    created = builder.add(actions.CreateContainer(subject=name, service=service, index=0,
                                                  cause="run"), after=before)  # fmt: skip
    builder.add(actions.StartContainer(subject=name, service=service, index=0), after=[created])
    return builder.build()


def _draft(
    workspace: Workspace, name: str, options: RunOptions, *, make_host: bool = True
) -> tuple[Draft, Service]:
    contents = material.Contents(workspace.runnable, workspace.layout)
    project = machine.digested(contents.digested(workspace.runnable))
    if name not in project.services and name not in project.disabled:
        raise UsageError(f"no such service: {name}",
                         hint="declared are: " + ", ".join(sorted(project.services)))  # fmt: skip
    selected = select(project, (name,), with_dependencies=options.with_dependencies)
    project = drafting.selected_of(project, selected)
    chosen = oneoff_service(project.services[name], options)
    needed = tuple(project.services[name].depends_on) if options.with_dependencies else ()
    present = tuple(dependency for dependency in needed if dependency in project.services)
    observed = workspace.observe()
    found = images.find(images.open_store(workspace.layout), selected, make_host=make_host,
                        pull=options.pull)  # fmt: skip
    project = images.digested(project, found)
    policy = UpPolicy(services=present, remove_orphans=options.remove_orphans,
                      separator=workspace.separator)  # fmt: skip
    plan = Plan()
    if present:
        plan = diff(project, observed, policy, image_ids=images.ids(found))
    project = replace(project, services={**project.services, name: chosen})
    return Draft(project=project, selected=selected, observed=observed, images=found, plan=plan,
                 policy=policy, contents=contents), chosen  # fmt: skip


def _with_resources(made: Draft, service: Service) -> Plan:
    """The plan of the dependencies, and whatever networks and volumes the one-off needs besides."""
    builder = PlanBuilder(nodes=list(made.plan.nodes), warnings=list(made.plan.warnings),
                          unchanged=list(made.plan.unchanged))  # fmt: skip
    needs = resources.needed(made.project, made.observed, [service.name], keep=True)
    there = {n.action.subject for n in made.plan
             if isinstance(n.action, actions.CreateNetwork | actions.CreateVolume)}  # fmt: skip
    for network in needs.create_networks:
        if network.name not in there:
            builder.add(actions.CreateNetwork(subject=network.name, key=network.key))
    for volume in needs.create_volumes:
        if volume.name not in there:
            builder.add(actions.CreateVolume(subject=volume.name, key=volume.key))
    return builder.build()


def _start(
    change: Change, made: Draft, service: Service, options: RunOptions, *, streams: Sequence[int],
    signals: Sequence[str],
) -> Run:
    id_ = names.new_id()
    name = options.name or names.oneoff_name(made.project.name, service.name, id_,
                                             separator=made.policy.separator)  # fmt: skip
    identity = Identity(id=id_, name=name, index=0, oneoff=True, remove_on_exit=options.remove)
    extra = [allocate.Wanted(service=service, lease=id_)]
    jobs, allocation = reconcile.prepare_with(change, made, extra=extra)
    context = translate.Context(project=made.project, observed=made.observed, images=made.images,
                                layout=change.layout,
                                assets=machine.gather(made.project, [service.name]),
                                foreign=lending.foreign(change.layout, made.project,
                                                        [service.name]))  # fmt: skip
    record, _ = translate.container(
        service, identity, context=context, allocation=allocation, lease=id_, inherited={},
        use_aliases=options.use_aliases, created=jobs.created.values(),
    )  # fmt: skip
    numbers = _append(jobs, made, service, record)
    store.save_project(change.layout, reconcile.project_record(made))
    running = Run(change.layout, made.project.name, record, signals=signals)
    running.listen(change.head.connect())
    attached = not options.detach

    def sink(event: events.Event) -> None:
        running.see(event)
        change.sink(event)

    submission = change.begin(
        jobs.jobs, sink=sink, stdio=numbers if attached else None,
        streams=streams if attached and not options.tty else (), tty=running.take_master,
    )  # fmt: skip
    try:
        running.await_start(submission)
    except BaseException:
        running.close()
        submission.close()
        raise
    submission.close()
    return running


def _append(jobs: translate.Jobs, made: Draft, service: Service, record: ContainerRecord) -> int:
    """The jobs of the one-off itself, after everything else; the number of its start."""
    everything = tuple(job.number for job in jobs.jobs)
    number = len(everything)
    waits = []
    for dependency in service.depends_on.values():
        containers = translate.final_containers(dependency.service, jobs, made.observed)
        if dependency.condition == "service_started" or not containers or not made.policy.services:
            continue
        number += 1
        waits.append(number)
        jobs.jobs.append(protocol.WaitFor(
            number=number, after=everything, containers=tuple(containers),
            condition=dependency.condition, service=dependency.service, dependent=service.name,
            required=dependency.required,
        ))  # fmt: skip
    create, start = number + 1, number + 2
    jobs.jobs.append(protocol.CreateContainer(
        number=create, after=(*everything, *waits), record=record.to_json()))
    jobs.jobs.append(protocol.StartContainer(number=start, after=(create,), container=record.id))
    if service.post_start:
        jobs.jobs.append(protocol.RunHooks(number=start + 1, after=(start,), container=record.id,
                                           phase="post_start"))  # fmt: skip
    return start
