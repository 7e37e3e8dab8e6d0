"""The attached `up`: create, listen, start, and stay until the containers are done or the user is.

Everything runs in one thread that waits for log files, state changes and jobs on their way at once.
Knows the rules of when a session ends and with which code; prints nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Self

from orchestrator.dataclass import dataclass
from orchestrator.engine import drafting, reconcile, submit, timing, translate
from orchestrator.engine.logs import LogEntry, Stream
from orchestrator.engine.lookup import selected
from orchestrator.engine.reconcile import Change
from orchestrator.engine.session import Signals
from orchestrator.engine.submit import Submission
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import LockHeldError, PcomposeError, UsageError
from orchestrator.events import Progress, Sink, StateChanged
from orchestrator.names import display_name
from orchestrator.plan import teardown
from orchestrator.plan.policy import DownPolicy, UpPolicy
from orchestrator.supervisor import client, protocol

if TYPE_CHECKING:
    from orchestrator.engine.drafting import Draft
    from orchestrator.state.records import ContainerRecord

RETRY = 0.05
"""Seconds between two looks at a lock that is held."""
Abort = Literal["", "exit", "failure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is shown and when the session ends."""

    attach: tuple[str, ...] = ()
    """Only these services are logged."""
    no_attach: tuple[str, ...] = ()
    attach_dependencies: bool = False
    abort: Abort = ""
    exit_code_from: str | None = None
    timeout: float | None = None
    stay: bool = False
    """The session goes on where no container runs, until the user leaves."""


class Attached:
    """One attached `up`; a context manager."""

    def __init__(
        self, workspace: Workspace, policy: UpPolicy, rules: Rules, *, sink: Sink
    ) -> None:
        self._workspace, self._policy, self._rules, self._sink = workspace, policy, rules, sink
        self._change: Change | None = None
        self._later: list[protocol.Job] = []
        self._running: set[str] = set()
        self._awaited: set[str] = set()
        """Containers whose start is done or on its way, but has not been told yet."""
        self._coming: dict[str, str] = {}
        """Name -> id of a container that another command has made and not started yet."""
        self.replaced: set[str] = set()
        """Ids of containers that have given way to another one of their name."""
        self._logged: set[str] = set()
        self._monitored: set[str] = set()
        self._submission: Submission | None = None
        self._write_times: Callable[[timing.Times], None] = lambda times: None
        self._code_taken = False
        self._signals: Signals | None = None
        self._is_stop_wanted = False
        self.exit_code = 0
        self.interrupts = 0
        self.is_aborting = False
        self.names: list[str] = []
        """Of the containers whose output is shown."""

    def __enter__(self) -> Self:
        self._stream = Stream(self._workspace.layout, self._workspace.name, wants=self._wants)
        return self

    def report_to(self, sink: Sink) -> None:
        """Progress of what comes now goes elsewhere."""
        self._sink = sink

    def __exit__(self, *exc: object) -> None:
        if self._signals is not None:
            self._signals.close()
        self._stream.close()
        self._let_go()

    def _wants(self, record: ContainerRecord) -> bool:
        return record.service in self._logged and not record.oneoff

    def _let_go(self) -> None:
        if self._change is not None:
            change, self._change = self._change, None
            change.__exit__(None, None, None)

    # ---- beginning ----

    def create(self) -> None:
        """Everything up to the first start, with progress."""
        clock = timing.Clock()
        build = reconcile.builder(self._workspace, self._policy, sink=clock.hearing(self._sink))
        change = reconcile.opening(self._workspace, command="up", sink=self._sink, before=build)
        change.__enter__()
        self._change = change
        clock.mark("Load")
        reconcile.drop_volumes(change, self._policy)
        made = drafting.draft(self._workspace, self._policy, make_host=True)
        self._choose(made)
        reconcile.grant(change, self._policy)
        jobs = reconcile.prepare(change, made)
        first, self._later = reconcile.split(jobs)
        clock.mark("Plan")
        times = change.execute(first)

        def write(others: timing.Times) -> None:
            timing.write(change.layout, made.project, clock, jobs.jobs, {**times, **others},
                         reconcile.records(made, jobs))  # fmt: skip

        self._write_times = write
        self._listen(change, made, jobs)

    def _choose(self, made: Draft) -> None:
        """Which services are logged, and which keep the session alive."""
        rules, services = self._rules, made.selected.services
        named = set(self._policy.services) or set(services)
        for name in rules.attach:
            if name not in services:
                raise UsageError(f"cannot attach to services not included in up: {name}")
        if rules.exit_code_from is not None and rules.exit_code_from not in services:
            raise UsageError(f"no such service: {rules.exit_code_from}")
        if rules.attach:
            logged = set(rules.attach)
        else:
            pool = set(services) if rules.attach_dependencies else named
            logged = {n for n in pool if n in services and services[n].attach}
        self._logged = logged - set(rules.no_attach)
        watched = named if self._policy.services else (self._logged or set(services))
        self._monitored = watched | ({rules.exit_code_from} if rules.exit_code_from else set())

    def _listen(self, change: Change, made: Draft, jobs: translate.Jobs) -> None:
        """Hear of everything from before the first start on; kept containers are heard from now."""
        self._stream.watch(change.head.connect())
        records = {r.name: r for r in jobs.created.values()}
        for container in made.observed.containers:
            if container.record.oneoff or container.record.name in records:
                continue
            records[container.record.name] = container.record
            if container.is_running and container.record.service in self._monitored:
                self._running.add(container.record.id)
            self._stream.add(container.record, skip=True)
        for record in jobs.created.values():
            self._stream.add(record, skip=False)
        shown = (r for r in records.values() if self._wants(r))
        self.names = sorted(display_name(r.project, r.name, r.service, r.index) for r in shown)

    def start(self) -> None:
        """Start what is to be started; what happens comes through `events`.  From now on SIGINT
        and SIGTERM are wishes to leave: see `interrupts`."""
        assert self._change is not None
        self._signals = Signals(("SIGINT", "SIGTERM"))
        self._stream.wake_by(self._signals)
        if not self._later:
            self._let_go()
            return
        self._awaited = {
            job.container for job in self._later if isinstance(job, protocol.StartContainer)
        }
        self._submission = self._change.begin(self._later, sink=self._only_trouble)
        self._stream.attach(self._submission)

    def _only_trouble(self, event: object) -> None:
        if not isinstance(event, Progress) or event.status in ("Warning", "Error"):
            self._sink(event)  # type: ignore[arg-type]  # it is an Event that is no progress

    # ---- while it runs ----

    @property
    def is_over(self) -> bool:
        """Whether nothing is on its way and no watched container runs."""
        stays = self._rules.stay and not self.interrupts and not self.is_aborting
        return not (self._stream.is_submitting or self._running or self._awaited
                    or self._is_stop_wanted or stays)  # fmt: skip

    def events(self) -> list[LogEntry | StateChanged]:
        """What happened since the last call; waits for something to happen."""
        if self._is_stop_wanted:
            self._try_stop()
        found = self._stream.events(timeout=RETRY if self._is_stop_wanted else None)
        for _ in self._signals.take() if self._signals is not None else ():
            self._interrupt()
        if self._submission is not None and self._submission.is_done:
            self._write_times(self._submission.times)
            self._submission = None
            self._let_go()
            self._see_running()
        if not self._stream.is_watching:
            found += self._catch_up()
        for event in found:
            if isinstance(event, StateChanged):
                self._take(event)
        return found

    def _see_running(self) -> None:
        """What ran already when its start was asked for is not told: look."""
        for container in self._workspace.observe().containers:
            if container.record.id in self._awaited and container.is_running:
                self._awaited.discard(container.record.id)
                if container.record.service in self._monitored:
                    self._running.add(container.record.id)

    def _catch_up(self) -> list[LogEntry | StateChanged]:
        """The supervisor is gone: listen to the next one, and tell what ended meanwhile."""
        workspace = self._workspace
        self._awaited.clear()
        self._stream.watch(client.connect(workspace.layout, workspace.name))
        missed: list[LogEntry | StateChanged] = []
        for container in workspace.observe().containers:
            record, status = container.record, container.status
            is_live = status.state in ("running", "restarting")
            if is_live == (record.id in self._running) or record.service not in self._monitored:
                continue
            missed += self._stream.around(StateChanged(
                action="start" if is_live else "die", container=record.id, name=record.name,
                service=record.service, index=record.index, oneoff=record.oneoff,
                exit_code=None if is_live else status.exit_code,
            ))  # fmt: skip
        return missed

    def rest(self) -> list[LogEntry | StateChanged]:
        """Output that was not yet whole lines when the session ended."""
        return self._stream.drain()

    def is_watched(self, event: StateChanged) -> bool:
        """Whether the end of this container is told and counts."""
        return event.service in self._monitored and not event.oneoff

    def _take(self, event: StateChanged) -> None:
        if event.action in ("start", "die"):
            self._awaited.discard(event.container)
        if not self.is_watched(event):
            return
        if event.action == "create":
            self._coming[event.name] = event.container
        elif event.action == "start":
            self._coming.pop(event.name, None)
            self._running.add(event.container)
        if event.is_end:
            self._end(event)
        if event.action == "die" and event.container not in self.replaced:
            self._judge(event)

    def _end(self, event: StateChanged) -> None:
        """It runs no more; where another one was made in its place, that one is waited for."""
        self._running.discard(event.container)
        if self._coming.get(event.name) == event.container:
            self._awaited.discard(self._coming.pop(event.name))  # it never came
        elif event.name in self._coming:
            self.replaced.add(event.container)
            self._awaited.add(self._coming[event.name])

    def _judge(self, event: StateChanged) -> None:
        """Abort, and the exit code of the session."""
        rules, code = self._rules, event.exit_code or 0
        if event.service == rules.exit_code_from and not self._code_taken:
            self._code_taken, self.exit_code = True, code
        if self.interrupts or self.is_aborting or not rules.abort:
            return
        others = rules.exit_code_from not in (None, event.service)
        if code == 0 and (rules.abort == "failure" or others):
            return  # a job that has done its work ends no test that is still to come
        self.is_aborting = self._is_stop_wanted = True
        if rules.exit_code_from is None:
            self.exit_code = code

    # ---- ending ----

    def _interrupt(self) -> None:
        """The user wants to leave: first stop, then kill."""
        self.interrupts += 1
        if self.interrupts == 1 and not self.is_aborting:
            self._is_stop_wanted = True
        else:
            self._kill()

    def _try_stop(self) -> None:
        """Stop the services of this session, dependents first; goes on in `events`.  Where the
        supervisor has not let go of the lock yet, the next call tries again: a second Ctrl-C must
        not wait."""
        if self._submission is not None:
            self._stream.detach(self._submission)  # what has not begun will not
            self._submission = None
        self._awaited.clear()
        self._let_go()
        change = Change(self._workspace, command="up", sink=self._sink, wait=False)
        try:
            change.__enter__()
        except LockHeldError:
            return
        self._change, self._is_stop_wanted = change, False
        observed = self._workspace.observe()
        policy = DownPolicy(services=self._policy.services, timeout=self._rules.timeout)
        jobs = [translate.teardown_job(n, observed) for n in teardown.stop(observed, policy)]
        if not jobs:
            self._let_go()
            return
        self._submission = change.begin(jobs)
        self._stream.attach(self._submission)

    def _kill(self) -> None:
        """SIGKILL for all of them, now; needs no lock, because a stop holds it."""
        observed = self._workspace.observe()
        for container in selected(observed, self._policy.services, running=True):
            try:
                submit.request(self._workspace.layout, self._workspace.name, "signal",
                               container=container.record.id, signal="SIGKILL")  # fmt: skip
            except PcomposeError:
                continue  # it ended meanwhile

