"""The fixtures of pytest-docker, on pcompose: for suites that were written for it.

In conftest.py, instead of having pytest-docker installed:

    pytest_plugins = ["orchestrator.testing.pytest_docker"]

`docker_compose_file` may be overridden as before.  Host ports are as written, or others where those
are taken, so that workers of xdist do not meet; `docker_services.port_for` tells.  `docker_setup`
and `docker_cleanup` may say `up` with --build and --wait, and `down` with -v; what would leave
something behind is refused.
"""

from __future__ import annotations

import os
import time
import timeit
from typing import TYPE_CHECKING

import pytest

from orchestrator.testing import wish as wishes
from orchestrator.testing.stacks import KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.testing.stack import Stack
    from orchestrator.testing.wish import Scope

_SETUP = {"up", "--build", "--wait", "-d", "--detach"}
_CLEANUP = {"down", "-v", "--volumes", "--remove-orphans", "-t", "0"}


class Services:
    """What `docker_services` is."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        """The stack below, for what pytest-docker has not."""

    def port_for(self, service: str, container_port: int) -> int:
        """The host port that a port of the service is published at; ValueError."""
        from orchestrator.errors import NetworkError

        try:
            return self.stack.host_port(service, container_port)
        except NetworkError as exc:
            raise ValueError(f'Could not detect port for "{service}:{container_port}". ({exc})'
                             ) from exc  # fmt: skip

    def wait_until_responsive(
        self, check: Callable[[], bool], timeout: float, pause: float,
        clock: Callable[[], float] = timeit.default_timer,
    ) -> None:  # fmt: skip
        """Call `check` until it is true; Exception after `timeout` seconds, which tells how the
        services are."""
        begun = clock()
        while clock() - begun < timeout:
            if check():
                return
            time.sleep(pause)
        states = ", ".join(f"{state.name} {state.state}" for state in self.stack.states())
        raise Exception(f"Timeout reached while waiting on service! ({states})")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The one option of pytest-docker."""
    parser.getgroup("docker").addoption(
        "--container-scope", choices=wishes.SCOPES, default="session",
        help="scope of the fixtures docker_…: how long the containers live",
    )  # fmt: skip


def containers_scope(fixture_name: str, config: pytest.Config) -> Scope:
    """What it says, for fixtures that override ours."""
    scope: Scope = config.getoption("--container-scope")
    return scope


@pytest.fixture(scope=containers_scope)
def docker_ip() -> str:
    """The address that ports are published at."""
    return "127.0.0.1"


@pytest.fixture(scope=containers_scope)
def docker_compose_file(pytestconfig: pytest.Config) -> str | list[str]:
    """Where the Compose file is; override it for another place."""
    return str(pytestconfig.rootpath / "tests" / "docker-compose.yml")


@pytest.fixture(scope=containers_scope)
def docker_compose_command() -> str:
    """Of no consequence: no command is called."""
    return "docker compose"


@pytest.fixture(scope=containers_scope)
def docker_compose_project_name() -> str:
    """Of no consequence: each project has a name that nobody else has."""
    return f"pytest{os.getpid()}"


@pytest.fixture(scope=containers_scope)
def docker_setup() -> str | list[str]:
    """How it is brought up."""
    return ["up --build --wait"]


@pytest.fixture(scope=containers_scope)
def docker_cleanup() -> str | list[str]:
    """How it is taken down."""
    return ["down -v"]


@pytest.fixture(scope=containers_scope)
def docker_services(
    request: pytest.FixtureRequest, docker_compose_command: str,
    docker_compose_file: str | list[str], docker_compose_project_name: str,
    docker_setup: str | list[str], docker_cleanup: str | list[str],
) -> Services:  # fmt: skip
    """The running services."""
    words = _words("docker_setup", docker_setup, _SETUP)
    _words("docker_cleanup", docker_cleanup, _CLEANUP)
    given = [docker_compose_file] if isinstance(docker_compose_file, str | os.PathLike) else [
        *docker_compose_file]  # fmt: skip
    wish = wishes.make(request.node, files=given, wait="--wait" in words)
    stack = request.config.stash[KEY].get(wish, request.node, fixture="docker_services")
    return Services(stack)


def _words(fixture: str, said: str | Sequence[str] | None, known: set[str]) -> set[str]:
    lines = [said] if isinstance(said, str) else said or []  # pytest-docker: False is nothing
    words = {word for line in lines for word in line.split()}
    if not words or words - known:
        odd = " ".join(sorted(words - known)) or "nothing"
        raise pytest.UsageError(
            f"{fixture}: {odd} cannot be done here; known are {' '.join(sorted(known))}, and "
            "--pcompose-keep for a stack that is to stay"
        )
    return words
