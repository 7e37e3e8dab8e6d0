"""The facade of a stack that a program uses while it runs: what the pytest plugin is made of.

    from orchestrator.live import LiveProject

    stack = LiveProject(files=["compose.yaml"], private=True, name="orders-1")
    stack.up()
    stack.wait_for("web", http=":8080/health")
    host, port = stack.address("db", 5432)
    print(stack.capture("db", ["psql", "--version"]).stdout)

As `api.Project`, of which it is one; works in any thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.api import Project
from orchestrator.api import enter_rootless as enter_rootless
from orchestrator.events import ignore

if TYPE_CHECKING:
    import re

    from orchestrator.engine.capturing import Captured
    from orchestrator.engine.oneoff import RunOptions
    from orchestrator.engine.picturing import Picture
    from orchestrator.engine.reaching import Address
    from orchestrator.engine.timing import Analysis
    from orchestrator.engine.watching import Watching
    from orchestrator.events import Sink
    from orchestrator.plan.policy import Terms
    from orchestrator.state.records import SnapshotRecord


class LiveProject(Project):
    """A project with what one does to a running stack."""

    def address(self, service: str, port: int, *, index: int = 0) -> Address:
        """(host, port) where this machine reaches a port of a running replica: the container's own
        address where it can be, so nothing needs to be published; NetworkError."""
        from orchestrator.engine import reaching

        return reaching.address(self._workspace, service, port, index=index)

    def host_port(
        self, service: str, port: int, *, protocol: str = "tcp", index: int = 0
    ) -> Address:
        """(host, port) that a port of a running replica is published at; NetworkError."""
        from orchestrator.engine import reaching

        return reaching.host_port(self._workspace, service, port, protocol=protocol, index=index)

    def capture(
        self, service: str, argv: Sequence[str], *, stdin: bytes = b"", index: int = 0,
        user: str = "", cwd: str = "", environment: Mapping[str, str] | None = None,
        privileged: bool = False, timeout: float | None = None,
    ) -> Captured:  # fmt: skip
        """Run a command in a running replica to its end.  DeadlineError after `timeout` seconds."""
        from orchestrator.engine import capturing

        return capturing.capture(
            self._workspace, service, argv, index=index, user=user, cwd=cwd,
            environment=environment, privileged=privileged, stdin=stdin, timeout=timeout,
        )  # fmt: skip

    def let_go(self, *, holder: int) -> bool:
        """The process `holder` does not need the project any more; whether it was the last one,
        and then it was taken down with all its data.  What is to be kept for a while is left."""
        from orchestrator.engine import expiry

        return expiry.let_go(self._workspace, holder=holder)

    def capture_run(
        self, service: str, argv: Sequence[str] = (), *, options: RunOptions | None = None,
        stdin: bytes = b"", timeout: float | None = None, sink: Sink = ignore,
    ) -> Captured:  # fmt: skip
        """Run a command (none: the service's own) in a new container of the service to its end,
        dependencies first.  The container stays unless `options` say `remove`.  DeadlineError
        `timeout` seconds after its start."""
        from orchestrator.dataclass import replace
        from orchestrator.engine import capturing
        from orchestrator.engine.oneoff import RunOptions

        options = options or RunOptions(remove=True)
        if argv:
            options = replace(options, command=tuple(argv))
        return capturing.capture_run(self._workspace, service, options, stdin=stdin,
                                     timeout=timeout, sink=sink)  # fmt: skip

    # ---- snapshots ----

    def save_snapshot(
        self, name: str, services: Sequence[str] = (), *, sink: Sink = ignore
    ) -> SnapshotRecord:
        """Keep what the volumes and containers have in them; the containers stop meanwhile."""
        from orchestrator.engine import snapshots

        return snapshots.save(self._workspace, name, services, sink=sink)

    def restore_snapshot(
        self, name: str, services: Sequence[str] = (), *, sink: Sink = ignore
    ) -> None:
        """Bring it back; whoever ran is killed, and is started and ready when this returns."""
        from orchestrator.engine import snapshots

        snapshots.restore(self._workspace, name, services, sink=sink)

    def snapshots(self) -> list[SnapshotRecord]:
        """Those of this project, by name."""
        from orchestrator.engine import snapshots

        return snapshots.all_of(self._workspace.layout, self.name)

    def remove_snapshots(self, names: Sequence[str]) -> None:
        """Forget them; UsageError where one is not there."""
        from orchestrator.engine import snapshots

        snapshots.remove(self._workspace.layout, self.name, names)

    def fork(self, snapshot: str, names: Sequence[str], *, terms: Terms | None = None,
             sink: Sink = ignore) -> list[LiveProject]:  # fmt: skip
        """A project of each name from the same files, with what the snapshot has in its volumes
        and containers; up and ready.  Their data is shared until it is written to."""
        from orchestrator.engine import forking

        forking.fork(self._workspace, snapshot, names, terms=terms, sink=sink)
        found = []
        for name in names:
            one = LiveProject()
            one._choice = {**self._choice, "project_name": name, "private": True}
            found.append(one)
        return found

    # ---- waiting ----

    def wait_for(
        self, service: str, *, tcp: int | None = None, http: str | int | None = None,
        log: str | re.Pattern[str] | None = None, health: bool = False, index: int = 0,
        timeout: float = 30.0,
    ) -> None:  # fmt: skip
        """Until the port accepts a connection, the page (`:8080/health`) is answered with a status
        below 400, a line of this run of the container matches, its health check has passed: all
        that are given.  DependencyError at once where the container ends for good, DeadlineError
        after `timeout` seconds; both with its last lines."""
        from orchestrator.engine import readiness

        conditions: list[readiness.Condition] = []
        if tcp is not None:
            conditions.append(readiness.Tcp(tcp))
        if http is not None:
            conditions.append(readiness.Http(http))
        if log is not None:
            conditions.append(readiness.Line(log))
        if health:
            conditions.append(readiness.Healthy())
        target = readiness.Target(service=service, index=index)
        readiness.await_ready(self._workspace, target, conditions, timeout=timeout)

    # ---- while somebody works on it, or looks for a fault ----

    def watch(
        self, services: Sequence[str] = (), *, prune: bool = True, sink: Sink = ignore
    ) -> Watching:
        """A watch by `develop.watch`, a context manager: `run` serves it until `end`.  `prune`:
        an image that a rebuild has replaced is removed."""
        from orchestrator.engine.watching import Watching

        return Watching(self._workspace, services, prune=prune, sink=sink)

    def picture(self, services: Sequence[str] = (), *, sink: Sink = ignore) -> Picture:
        """Services, networks and volumes as a graph, with their states."""
        from orchestrator.engine import picturing

        return picturing.picture(self._workspace, services, sink=sink)

    def analysis(self) -> Analysis:
        """Where the time of the last `up` went; UsageError where none is known."""
        from orchestrator.engine import timing

        return timing.read(self._workspace)

    def report(self, path: str, *, sink: Sink = ignore) -> list[str]:
        """Write an archive of all that helps to find a fault, without secrets; names in it."""
        from orchestrator.engine import reporting

        return reporting.write(self._workspace, path, sink=sink)


def keep_warm() -> None:
    """For a process that brings up many projects: from now on that takes a tenth of a second less,
    because their supervisors are forks of a process that is kept for it, until `let_cool` or the
    end of this one."""
    from orchestrator.engine import submit

    submit.keep_warm()


def let_cool() -> None:
    """The end of `keep_warm`; no project is touched."""
    from orchestrator.engine import submit

    submit.let_cool()


def remove_stranded() -> list[str]:
    """Take down projects whose lease is over and that nobody keeps any more, for whoever could
    have done it was killed; their names."""
    from orchestrator.engine import expiry

    return expiry.remove_stranded()
