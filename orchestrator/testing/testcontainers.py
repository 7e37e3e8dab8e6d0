"""The class DockerCompose of testcontainers, on pcompose: for suites that were written for it.

    from orchestrator.testing.testcontainers import DockerCompose

    with DockerCompose("path/of/the/files", compose_file_name="compose.yaml") as compose:
        host, port = compose.get_service_host_and_port("web", 80)

Each has a project of its own, with other host ports where those of the file are taken, and is gone
when the process ends, however it ends.  With `keep_volumes` it has the name that the files give it,
so that the next one finds its data.  Methods are those of testcontainers 4.15.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from functools import cached_property
from subprocess import CalledProcessError
from typing import TYPE_CHECKING, Any, Self

from orchestrator.testing.composed import ComposeContainer, ContainerIsNotRunning, NoSuchPortExposed
from orchestrator.testing.composed import PublishedPortModel as PublishedPortModel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from orchestrator.live import LiveProject
    from orchestrator.testing.stack import Stack

__all__ = ["ComposeContainer", "ContainerIsNotRunning", "DockerCompose", "NoSuchPortExposed"]
_PATIENCE = 120.0


@dataclass
class DockerCompose:
    """Compose files in a directory, up between `start` and `stop`; a context manager."""

    context: str | os.PathLike[str]
    compose_file_name: str | list[str] | None = None
    pull: bool = False
    """Also images that are there already."""
    build: bool = False
    """Also images that are there already."""
    wait: bool = True
    keep_volumes: bool = False
    env_file: str | list[str] | None = None
    services: list[str] | None = None
    docker_command_path: str | None = None
    """Refused: no command is called."""
    profiles: list[str] | None = None
    quiet_pull: bool = False
    """Nothing is ever printed."""
    quiet_build: bool = False
    _is_up: bool = field(default=False, init=False, repr=False)
    _strategies: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.docker_command_path is not None:
            raise ValueError(f"docker_command_path={self.docker_command_path!r}: no command is "
                             "called here; leave it out")  # fmt: skip

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

    # ---- its life ----

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.stop()

    def waiting_for(self, strategies: Mapping[str, Any]) -> Self:
        """Service -> what `start` waits for besides: a wait strategy of testcontainers, or anything
        with `wait_until_ready(container)`."""
        self._strategies = dict(strategies)
        return self

    def start(self) -> None:
        """Bring it up."""
        from orchestrator.plan.policy import Terms, UpPolicy

        terms = Terms(holder=os.getpid(), volumes=not self.keep_volumes)
        policy = UpPolicy(
            services=tuple(self.services or ()), ports="auto", terms=terms,
            build="always" if self.build else "missing", pull="always" if self.pull else "",
        )  # fmt: skip
        self._is_up = True
        try:
            self.project.up(policy, wait=self.wait, wait_timeout=_PATIENCE)
            for service, strategy in self._strategies.items():
                strategy.wait_until_ready(self.get_container(service))
        except BaseException:
            self.stop()
            raise

    def stop(self, down: bool = True) -> None:
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

    # ---- what there is ----

    def get_logs(self, *services: str) -> tuple[str, str]:
        """(stdout, stderr) of the services, or of all."""
        entries = list(self.project.logs(services))
        out, err = (
            "".join(f"{entry.text}\n" for entry in entries if entry.stream == stream)
            for stream in ("stdout", "stderr")
        )
        return out, err

    def get_config(
        self, *, path_resolution: bool = True, normalize: bool = True, interpolate: bool = True
    ) -> dict[str, Any]:
        """The files as `config --format json` prints them."""
        said = {"paths": path_resolution, "normalization": normalize, "interpolation": interpolate}
        skip = [phase for phase, is_wanted in said.items() if not is_wanted]
        found: dict[str, Any] = json.loads(self.project.configuration(skip=skip).text("json"))
        return found

    def get_containers(self, include_all: bool = False) -> list[ComposeContainer]:
        """Running containers, or all."""
        return [ComposeContainer.of(c, self) for c in self.project.ps(all=include_all)]

    def get_container(
        self, service_name: str | None = None, include_all: bool = False
    ) -> ComposeContainer:
        """The first one of the service, or the only one there is; ContainerIsNotRunning."""
        found = self.get_containers(include_all)
        if not service_name:
            if len(found) != 1:
                raise ContainerIsNotRunning("get_container needs a service_name: there is not "
                                            f"exactly 1 container (but {len(found)})")  # fmt: skip
            return found[0]
        for container in found:
            if container.Service == service_name:
                return container
        raise ContainerIsNotRunning(f"{service_name} is not running in the compose context")

    def exec_in_container(
        self, command: list[str], service_name: str | None = None
    ) -> tuple[str, str, int]:
        """(stdout, stderr, 0) of a command; subprocess.CalledProcessError where it fails."""
        service = service_name or self.get_container().Service
        ended = self.stack.exec(service, *command, check=False)
        if ended.exit_code:
            raise CalledProcessError(ended.exit_code, command, ended.stdout.encode(),
                                     ended.stderr.encode())  # fmt: skip
        return ended.stdout, ended.stderr, 0

    def get_service_host_and_port(
        self, service_name: str | None = None, port: int | None = None
    ) -> tuple[str, int]:
        """Where a port of the service, or its only one, is published; NoSuchPortExposed."""
        published = self.get_container(service_name).get_publisher(by_port=port)
        return published.URL, published.PublishedPort

    def get_service_host(self, service_name: str | None = None, port: int | None = None) -> str:
        """The first half of that."""
        return self.get_service_host_and_port(service_name, port)[0]

    def get_service_port(self, service_name: str | None = None, port: int | None = None) -> int:
        """The second half."""
        return self.get_service_host_and_port(service_name, port)[1]

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


def _listed(names: str | list[str] | None) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())
