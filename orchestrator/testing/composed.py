"""ComposeContainer: a container as testcontainers shows those of its DockerCompose, so that suites
and wait strategies that were written for it find what they look for.  Names are theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.state.observed import ObservedContainer
    from orchestrator.testing.testcontainers import DockerCompose

_ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


class ContainerIsNotRunning(RuntimeError):
    """No container of that service runs."""


class NoSuchPortExposed(RuntimeError):
    """It publishes no such port, or several, and none was named."""


class ExecResult(NamedTuple):
    """A command in a container that has ended."""

    exit_code: int
    output: bytes


@dataclass
class PublishedPortModel:
    """Where a port can be reached."""

    URL: str
    """An address to connect to."""
    TargetPort: int
    PublishedPort: int
    Protocol: str

    def normalize(self) -> Self:
        """It is."""
        return self


@dataclass
class ComposeContainer:
    """One container, as it was when it was asked for; `reload` asks again."""

    ID: str
    Name: str
    Command: str
    Project: str
    Service: str
    State: str
    Health: str
    ExitCode: int
    Publishers: list[PublishedPortModel]
    attrs: dict[str, Any] = field(repr=False)
    """{"State": {"Health": {"Status", "Log"}}} where there is a check."""
    _compose: DockerCompose = field(repr=False)

    @classmethod
    def of(cls, container: ObservedContainer, compose: DockerCompose) -> Self:
        """What it looks like."""
        record, status = container.record, container.status
        log = [{"ExitCode": p.get("exit_code"), "Output": p.get("output")} for p in status.probes]
        health = {"Health": {"Status": status.health, "Log": log}} if status.health else {}
        return cls(
            ID=record.id, Name=record.name, Command=" ".join(record.spec["argv"]),
            Project=record.project, Service=record.service, State=status.shown_state,
            Health=status.health, ExitCode=status.exit_code or 0, attrs={"State": health},
            Publishers=[_published(entry) for entry in status.ports], _compose=compose,
        )  # fmt: skip

    def get_publisher(
        self, by_port: int | None = None, by_host: str | None = None,
        prefer_ip_version: Literal["IPv4", "IPv6"] = "IPv4",
    ) -> PublishedPortModel:  # fmt: skip
        """The one published port that this is true of; NoSuchPortExposed."""
        found = [
            p for p in self.Publishers
            if (":" in p.URL) is (prefer_ip_version == "IPv6")
            and by_port in (None, p.TargetPort) and by_host in (None, p.URL)
        ]  # fmt: skip
        if len(found) != 1:
            raise NoSuchPortExposed(
                f"{self.Service} has not exactly 1 publisher with by_port={by_port}, "
                f"by_host={by_host} (but {len(found)})"
            )
        return found[0]

    # ---- what wait strategies ask ----

    def get_container_host_ip(self) -> str:
        """Where `get_exposed_port` is to be looked for: this machine, or the container itself where
        it publishes nothing."""
        if self.Publishers:
            return "127.0.0.1"
        return self._compose.stack.address(self.Service, 0).host

    def get_exposed_port(self, port: int) -> int:
        """The number that the container's port has there."""
        return self.get_publisher(by_port=port).PublishedPort if self.Publishers else port

    def get_logs(self) -> tuple[bytes, bytes]:
        """(stdout, stderr)."""
        out, err = self._compose.get_logs(self.Service)
        return out.encode(), err.encode()

    def exec(self, command: str | Sequence[str]) -> ExecResult:
        """Run a command in it; a text is for the shell."""
        words = ["sh", "-c", command] if isinstance(command, str) else command
        ended = self._compose.stack.exec(self.Service, *words, check=False)
        return ExecResult(ended.exit_code, (ended.stdout + ended.stderr).encode())

    def get_wrapped_container(self) -> Self:
        """Itself."""
        return self

    def reload(self) -> None:
        """Look again."""
        for now in self._compose.get_containers(include_all=True):
            if now.ID == self.ID:
                self.__dict__.update(now.__dict__)

    @property
    def status(self) -> str:
        """Of the container, as `ps` says."""
        return self.State


def _published(entry: dict[str, Any]) -> PublishedPortModel:
    host = str(entry["host_ip"])
    return PublishedPortModel(
        URL=_ANY.get(host, host), TargetPort=int(entry["target"]),
        PublishedPort=int(entry["published"]), Protocol=str(entry["protocol"]),
    )  # fmt: skip
