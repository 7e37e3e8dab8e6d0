"""The class DockerCompose of testcontainers, on pcompose: for suites that were written for it.

    from orchestrator.testing.testcontainers import DockerCompose

    with DockerCompose("path/of/the/files", compose_file_name="compose.yaml") as compose:
        host, port = compose.get_service_host_and_port("web", 80)

Each has a project of its own, with other host ports where those of the file are taken, and is gone
when the process ends, however it ends.  With `keep_volumes` it has the name that the files give it,
so that the next one finds its data.
"""

from __future__ import annotations

import os
import re
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from orchestrator.engine.reaching import Address
    from orchestrator.live import LiveProject
    from orchestrator.testing.stack import Stack

_PATIENCE = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeContainer:
    """One container; names as testcontainers has them."""

    ID: str
    Name: str
    Project: str
    Service: str
    State: str
    Health: str
    ExitCode: int


@dataclass
class DockerCompose:
    """Compose files in a directory, up between `start` and `stop`; a context manager."""

    context: str | os.PathLike[str]
    _: KW_ONLY
    compose_file_name: str | list[str] | None = None
    build: bool = False
    """Also images that are there already."""
    wait: bool = True
    keep_volumes: bool = False
    env_file: str | list[str] | None = None
    services: list[str] | None = None
    profiles: list[str] | None = None
    _is_up: bool = field(default=False, init=False, repr=False)

    @cached_property
    def project(self) -> LiveProject:
        """The facade below."""
        from orchestrator.live import LiveProject

        directory = os.path.abspath(self.context)
        files = [os.path.join(directory, name) for name in _listed(self.compose_file_name)]
        word = re.sub("[^a-z0-9]+", "-", os.path.basename(directory).lower()).strip("-")
        unique = f"tc-{word or 'compose'}-{os.urandom(5).hex()}"
        return LiveProject(
            files=files, directory=directory, cwd=directory, profiles=self.profiles or (),
            env_files=[os.path.join(directory, name) for name in _listed(self.env_file)],
            name=None if self.keep_volumes else unique, private=not self.keep_volumes,
        )  # fmt: skip

    @cached_property
    def stack(self) -> Stack:
        """What testcontainers has not."""
        from orchestrator.testing.stack import Stack

        return Stack(self.project)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.stop()

    def start(self) -> None:
        """Bring it up."""
        from orchestrator.plan.policy import Terms, UpPolicy

        terms = Terms(holder=os.getpid(), volumes=not self.keep_volumes)
        policy = UpPolicy(services=tuple(self.services or ()), ports="auto", terms=terms,
                          build="always" if self.build else "missing")  # fmt: skip
        self._is_up = True
        try:
            self.project.up(policy, wait=self.wait, wait_timeout=_PATIENCE)
        except BaseException:
            self.stop()
            raise

    def stop(self, *, down: bool = True) -> None:
        """Take it down, or with `down=False` only stop it."""
        from orchestrator.plan.policy import DownPolicy

        if not self._is_up:
            return
        if not down:
            self.project.stop()
            return
        self._is_up = False
        if self.keep_volumes:
            self.project.down(DownPolicy())
        else:
            self.project.let_go(holder=os.getpid())

    def get_logs(self, *services: str) -> tuple[str, str]:
        """(stdout, stderr) of the services, or of all."""
        entries = list(self.project.logs(services))
        out, err = (
            "".join(f"{entry.text}\n" for entry in entries if entry.stream == stream)
            for stream in ("stdout", "stderr")
        )
        return out, err

    def get_containers(self, *, include_all: bool = False) -> list[ComposeContainer]:
        """Running containers, or all."""
        return [
            ComposeContainer(
                ID=c.record.id, Name=c.record.name, Project=c.record.project,
                Service=c.record.service, State=c.status.shown_state, Health=c.status.health,
                ExitCode=c.status.exit_code or 0,
            )
            for c in self.project.ps(all=include_all)
        ]  # fmt: skip

    def get_container(
        self, service_name: str | None = None, *, include_all: bool = False
    ) -> ComposeContainer:
        """The one of the service; LookupError where there is none."""
        service = self._service(service_name)
        for container in self.get_containers(include_all=include_all):
            if container.Service == service:
                return container
        raise LookupError(f"{service} is not running in the compose context")

    def exec_in_container(
        self, command: list[str], service_name: str | None = None
    ) -> tuple[str, str, int]:
        """(stdout, stderr, exit code) of a command."""
        ended = self.stack.exec(self._service(service_name), *command, check=False)
        return ended.stdout, ended.stderr, ended.exit_code

    def get_service_host_and_port(
        self, service_name: str | None = None, port: int | None = None
    ) -> tuple[str, int]:
        """Where a port of the service, or its only one, is published."""
        published = self._published(service_name, port)
        return published.host, published.port

    def get_service_host(self, service_name: str | None = None, port: int | None = None) -> str:
        """The first half of that."""
        return self._published(service_name, port).host

    def get_service_port(self, service_name: str | None = None, port: int | None = None) -> int:
        """The second half."""
        return self._published(service_name, port).port

    def wait_for(self, url: str) -> Self:
        """Until the page is answered; TimeoutError."""
        import time
        from urllib.error import URLError
        from urllib.request import urlopen

        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                with urlopen(url, timeout=5):
                    return self
            except (URLError, OSError) as exc:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{url} is not answered: {exc}") from exc
            time.sleep(0.02)

    def _service(self, name: str | None) -> str:
        if name is not None:
            return name
        names = sorted(self.stack.services)
        if len(names) != 1:
            raise LookupError(f"which service? There are {', '.join(names)}")
        return names[0]

    def _published(self, service_name: str | None, port: int | None) -> Address:
        service = self._service(service_name)
        if port is None:
            running = self.project.ps([service])
            ports = sorted({entry["target"] for c in running for entry in c.status.ports})
            if len(ports) != 1:
                raise LookupError(f"which port of {service}? It publishes {ports or 'none'}")
            port = int(ports[0])
        return self.project.host_port(service, port)


def _listed(names: str | list[str] | None) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())
