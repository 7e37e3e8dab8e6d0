"""Stack: a running Compose project in the hands of a test.

Public.  Every method does what the command of the same name does, through the same facade, and
raises `orchestrator.errors.PcomposeError` with the same words.  Times are seconds.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator, Mapping, Sequence

    from orchestrator.engine.reaching import Address
    from orchestrator.events import Event
    from orchestrator.live import LiveProject
    from orchestrator.testing.aio import AsyncStack
    from orchestrator.testing.faults import Faults


class CommandFailed(AssertionError):
    """A command in a container ended with another code than 0."""

    def __init__(self, ended: Ended) -> None:
        self.ended = ended
        said = "\n".join(filter(None, (ended.stdout.rstrip(), ended.stderr.rstrip())))
        words = " ".join(ended.argv)
        super().__init__(f"{words!r} in {ended.service} ended with {ended.exit_code}\n{said}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A command in a container that has ended."""

    service: str
    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState:
    """One container of a service, as it is."""

    name: str
    """As in logs: `web-1`."""
    service: str
    state: str
    """created, running, paused, restarting, exited or dead."""
    exit_code: int | None
    oom_killed: bool
    health: str
    """Empty (no check), starting, healthy or unhealthy."""
    error: str
    """Why the last start failed."""
    probes: tuple[Mapping[str, Any], ...]
    """The last five results of the check: {start, end, exit_code, output}."""


class Stack:
    """A project that is up."""

    def __init__(self, project: LiveProject, *, default_timeout: float = 60.0) -> None:
        self.project = project
        """The facade below, for what is not here."""
        self.warnings: list[str] = []
        self._timeout = default_timeout
        self._snapshot = ""

    def __repr__(self) -> str:
        return f"<Stack {self.name}>"

    @property
    def name(self) -> str:
        """Of the project, for `pcompose -p`."""
        return self.project.name

    @cached_property
    def aio(self) -> AsyncStack:
        """The same methods to await, on asyncio and trio alike."""
        from orchestrator.testing.aio import AsyncStack

        return AsyncStack(self)

    @cached_property
    def fault(self) -> Faults:
        """Context managers that break something and mend it again."""
        from orchestrator.testing.faults import Faults

        return Faults(self)

    # ---- where it is ----

    def address(self, service: str, port: int, *, index: int = 0) -> Address:
        """(host, port) to connect to: the container's own address, so nothing is published for it;
        `str()` of it is `host:port`."""
        return self.project.address(service, port, index=index)

    def host_port(self, service: str, port: int, *, protocol: str = "tcp", index: int = 0) -> int:
        """The port of this machine that a port of the service is published at."""
        return self.project.host_port(service, port, protocol=protocol, index=index).port

    def url(self, service: str, port: int, path: str = "/", *, scheme: str = "http") -> str:
        """`http://ADDRESS:PORT/path`."""
        return f"{scheme}://{self.address(service, port)}{path}"

    # ---- what it does ----

    def exec(
        self, service: str, *argv: str, stdin: str | bytes = b"", check: bool = True,
        index: int = 0, user: str = "", cwd: str = "", env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Ended:  # fmt: skip
        """Run a command in the service's container; CommandFailed where its exit code is not 0 and
        `check` is on."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        captured = self.project.capture(
            service, argv, stdin=data, index=index, user=user, cwd=cwd, environment=env,
            timeout=self._timeout if timeout is None else timeout,
        )  # fmt: skip
        ended = Ended(service=service, argv=argv, exit_code=captured.exit_code,
                      stdout=captured.stdout.decode(errors="replace"),
                      stderr=captured.stderr.decode(errors="replace"))  # fmt: skip
        if check and ended.exit_code:
            raise CommandFailed(ended)
        return ended

    def logs(
        self, *services: str, since: float | None = None, tail: int | None = None
    ) -> list[str]:
        """Lines of output, merged by time; `since` in seconds since the epoch, `tail` lines of
        each container."""
        return [entry.text for entry in self.project.logs(services, since=since, tail=tail)]

    def wait_for(
        self, service: str, *, tcp: int | None = None, http: str | int | None = None,
        log: str | re.Pattern[str] | None = None, health: bool = False, index: int = 0,
        timeout: float | None = None,
    ) -> None:  # fmt: skip
        """Until a port accepts connections, a page (`8080`, `:8080/health`) is answered, a line of
        this run matches, the health check has passed: all that are given.  Fails at once where the
        container ends, with its exit code and last lines."""
        self.project.wait_for(service, tcp=tcp, http=http, log=log, health=health, index=index,
                              timeout=self._timeout if timeout is None else timeout)  # fmt: skip

    def states(self) -> list[ServiceState]:
        """Every container of the project, also those that have ended."""
        from orchestrator.names import display_name

        found = []
        for container in self.project.ps(all=True):
            record, status = container.record, container.status
            name = display_name(record.project, record.name, record.service, record.index)
            found.append(ServiceState(
                name=name, service=record.service, state=status.shown_state,
                exit_code=status.exit_code, oom_killed=status.oom_killed, health=status.health,
                error=status.error, probes=tuple(status.probes),
            ))  # fmt: skip
        return found

    @property
    def services(self) -> dict[str, Service]:
        """The services that have a container, by name."""
        names = {c.record.service for c in self.project.ps(all=True) if not c.record.oneoff}
        return {name: Service(self, name) for name in sorted(names)}

    # ---- what is done to it ----

    def up(
        self, *services: str, wait: bool = True, timeout: float | None = None
    ) -> None:
        """Make it as the files say again, or more services of it."""
        from orchestrator.plan.policy import UpPolicy

        policy = UpPolicy(services=services, ports="auto")
        self.project.up(policy, wait=wait, sink=self.hear,
                        wait_timeout=self._timeout if timeout is None else timeout)  # fmt: skip

    def hear(self, event: Event) -> None:
        """A Sink: remembers warnings, for the report of a test that fails."""
        message = getattr(event, "message", "")  # of a Warned, the only one that has one
        if message:
            self.warnings.append(message)

    def restart(self, *services: str, timeout: float | None = None) -> None:
        """Stop and start; `timeout`: how long a container may take to stop."""
        self.project.restart(services, timeout=timeout)

    def stop(self, *services: str, timeout: float | None = None) -> None:
        """Stop, dependents first."""
        self.project.stop(services, timeout=timeout)

    def start(self, *services: str, wait: bool = True) -> None:
        """Start what was stopped or killed; with `wait` until it is ready."""
        self.project.start(services, wait=wait, wait_timeout=self._timeout)

    def kill(self, *services: str, signal: str = "SIGKILL") -> None:
        """Send a signal; after SIGKILL the containers have ended when this returns."""
        from orchestrator.errors import UsageError

        self.project.kill(services, signal=signal)
        if signal in ("SIGKILL", "KILL", "9"):
            try:
                for _ in self.project.wait(services):
                    continue
            except UsageError:
                return  # they have ended already

    def pause(self, *services: str) -> None:
        """Let all processes stand still."""
        self.project.pause(services)

    def unpause(self, *services: str) -> None:
        """Let them go on."""
        self.project.unpause(services)

    # ---- its data ----

    def snapshot(self, name: str = "test") -> None:
        """Keep what volumes and containers have in them; the services are restarted for it."""
        self.project.save_snapshot(name)
        self._snapshot = name

    def restore(self, name: str = "test") -> None:
        """Bring a snapshot back; all services are as after its `snapshot`, and ready."""
        self.project.restore_snapshot(name)
        self._snapshot = name

    def reset(self) -> None:
        """As it was at the last `snapshot` or `restore`; where there was none, take one now."""
        if self._snapshot:
            self.restore(self._snapshot)
        else:
            self.snapshot()

    @contextmanager
    def paused(self, *services: str) -> Iterator[None]:
        """Paused inside of the block."""
        self.pause(*services)
        try:
            yield
        finally:
            self.unpause(*services)


class Service:
    """One service of a stack: its methods are those of `Stack` with the name filled in."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.stack, self.name = stack, name

    def __repr__(self) -> str:
        return f"<Service {self.name} of {self.stack.name}>"

    def address(self, port: int, *, index: int = 0) -> Address:
        """(host, port) to connect to."""
        return self.stack.address(self.name, port, index=index)

    def host_port(self, port: int, *, protocol: str = "tcp", index: int = 0) -> int:
        """The port of this machine that `port` is published at."""
        return self.stack.host_port(self.name, port, protocol=protocol, index=index)

    def url(self, port: int, path: str = "/", *, scheme: str = "http") -> str:
        """`http://ADDRESS:PORT/path`."""
        return self.stack.url(self.name, port, path, scheme=scheme)

    def exec(self, *argv: str, **options: Any) -> Ended:
        """Run a command in the container; options of `Stack.exec`."""
        return self.stack.exec(self.name, *argv, **options)

    def logs(self, *, since: float | None = None, tail: int | None = None) -> list[str]:
        """Lines of output."""
        return self.stack.logs(self.name, since=since, tail=tail)

    def wait_for(self, **conditions: Any) -> None:
        """Until it is ready; conditions of `Stack.wait_for`."""
        self.stack.wait_for(self.name, **conditions)

    def states(self) -> Sequence[ServiceState]:
        """Its containers."""
        return [state for state in self.stack.states() if state.service == self.name]

    def restart(self, *, timeout: float | None = None) -> None:
        """Stop and start."""
        self.stack.restart(self.name, timeout=timeout)

    def stop(self, *, timeout: float | None = None) -> None:
        """Stop."""
        self.stack.stop(self.name, timeout=timeout)

    def start(self, *, wait: bool = True) -> None:
        """Start."""
        self.stack.start(self.name, wait=wait)

    def kill(self, *, signal: str = "SIGKILL") -> None:
        """Send a signal."""
        self.stack.kill(self.name, signal=signal)

    def pause(self) -> None:
        """Let its processes stand still."""
        self.stack.pause(self.name)

    def unpause(self) -> None:
        """Let them go on."""
        self.stack.unpause(self.name)
