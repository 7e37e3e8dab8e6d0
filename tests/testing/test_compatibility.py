"""Suites that were written for pytest-docker or testcontainers run with one line changed."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

from orchestrator.testing import pytest_docker, testcontainers

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from tests.testing.suite import Suite

pytestmark = pytest.mark.e2e

WEB = """
services:
  web:
    build:
      context: .
      dockerfile_inline: |
        FROM pcompose/host
        RUN mkdir /page && echo hello > /page/index.html
        CMD ["python3", "-m", "http.server", "--directory", "/page", "80"]
    ports: ["18090:80"]
    volumes: ["data:/data"]
volumes: {data: }
"""


def test_a_suite_for_pytest_docker(suite: Suite) -> None:
    suite.write(**{"tests/docker-compose.yml": WEB}, conftest="""
pytest_plugins = ["orchestrator.testing.pytest_docker"]
""", test_it="""
import pytest
from urllib.request import urlopen

def is_responsive(url):
    try:
        return urlopen(url).status == 200
    except OSError:
        return False

@pytest.fixture(scope="session")
def http_service(docker_ip, docker_services):
    port = docker_services.port_for("web", 80)
    url = "http://{}:{}".format(docker_ip, port)
    docker_services.wait_until_responsive(timeout=30.0, pause=0.1,
                                          check=lambda: is_responsive(url))
    return url

def test_status(http_service):
    assert urlopen(http_service).read() == b"hello\\n"

def test_never(docker_services):
    with pytest.raises(Exception, match=r"Timeout reached.*web-1 running"):
        docker_services.wait_until_responsive(check=lambda: False, timeout=0.2, pause=0.05)
""")
    suite.run()
    assert not suite.remains()
    suite.write(test_it="""
import pytest

@pytest.fixture(scope="session")
def docker_cleanup():
    return False

def test_it(docker_services):
    pass
""")
    assert "docker_cleanup: nothing cannot be done here" in suite.run(ok=False)


def test_a_suite_for_testcontainers(suite: Suite) -> None:
    suite.write(**{"stack/compose.yaml": WEB}, test_it="""
from urllib.request import urlopen
import pytest
from subprocess import CalledProcessError
from orchestrator.testing.testcontainers import (
    ContainerIsNotRunning, DockerCompose, NoSuchPortExposed,
)

def test_it():
    with DockerCompose("stack", compose_file_name="compose.yaml", build=True) as compose:
        host, port = compose.get_service_host_and_port("web", 80)
        assert (host, port) == (compose.get_service_host(), compose.get_service_port())
        compose.wait_for(f"http://{host}:{port}/")
        assert urlopen(f"http://{host}:{port}/").read() == b"hello\\n"
        said = compose.exec_in_container(["sh", "-c", "echo out; echo err >&2"], "web")
        assert said == ("out\\n", "err\\n", 0)
        with pytest.raises(CalledProcessError) as caught:
            compose.exec_in_container(["sh", "-c", "echo no; exit 3"])
        assert (caught.value.returncode, caught.value.stdout) == (3, b"no\\n")
        assert "GET / HTTP/1.1" in "".join(compose.get_logs("web"))
        assert compose.get_container("web").State == "running"
        with pytest.raises(ContainerIsNotRunning, match="other is not running"):
            compose.get_container("other")
        with pytest.raises(NoSuchPortExposed, match="by_port=81"):
            compose.get_service_port("web", 81)
        publisher = compose.get_container().get_publisher(by_port=80)
        assert (publisher.normalize().URL, publisher.PublishedPort) == (host, port)
        assert compose.get_config()["services"]["web"]["ports"][0]["published"] == "18090"
        with DockerCompose("stack") as second:
            assert second.get_service_port("web", 80) != port

class Answers:
    "As the wait strategies of testcontainers are."

    def wait_until_ready(self, container):
        url = f"http://{container.get_container_host_ip()}:{container.get_exposed_port(80)}/"
        while container.exec("test -e /page/index.html").exit_code or not answers(url):
            container.reload()
            assert container.status == "running", container.get_logs()

def answers(url):
    try:
        return urlopen(url).status == 200
    except OSError:
        return False

def test_strategies():
    with DockerCompose("stack", "compose.yaml", wait=False).waiting_for({"web": Answers()}) as web:
        assert urlopen("http://{}:{}/".format(*web.get_service_host_and_port())).status == 200

def test_volumes_that_are_kept():
    for expected in ("", "mark\\n"):
        with DockerCompose("stack", keep_volumes=True) as compose:
            assert compose.exec_in_container(["ls", "/data"])[0] == expected
            compose.exec_in_container(["touch", "/data/mark"])
            project = compose.project
    from orchestrator.plan.policy import DownPolicy
    project.down(DownPolicy(volumes=True), images="local")
""")
    suite.run()
    suite.run()  # and again: the first one has left no image and no volume behind


PYTEST_DOCKER = {
    "docker_ip": (), "docker_compose_command": (), "docker_compose_file": ("pytestconfig",),
    "docker_compose_project_name": (), "docker_setup": (), "docker_cleanup": (),
    "docker_services": ("docker_compose_command", "docker_compose_file",
                        "docker_compose_project_name", "docker_setup", "docker_cleanup"),
}
"""Fixture -> the fixtures it asks for, in pytest-docker 3.2.6."""
SERVICES = {"port_for": ("self", "service", "container_port"),
            "wait_until_responsive": ("self", "check", "timeout", "pause", "clock")}
DOCKER_COMPOSE = {
    "__init__": ("self", "context", "compose_file_name", "pull", "build", "wait", "keep_volumes",
                 "env_file", "services", "docker_command_path", "profiles", "quiet_pull",
                 "quiet_build"),
    "__enter__": ("self",), "waiting_for": ("self", "strategies"), "start": ("self",),
    "stop": ("self", "down"), "get_logs": ("self", "services"),
    "get_config": ("self", "path_resolution", "normalize", "interpolate"),
    "get_containers": ("self", "include_all"),
    "get_container": ("self", "service_name", "include_all"),
    "exec_in_container": ("self", "command", "service_name"),
    "get_service_port": ("self", "service_name", "port"),
    "get_service_host": ("self", "service_name", "port"),
    "get_service_host_and_port": ("self", "service_name", "port"),
    "wait_for": ("self", "url"),
}
"""The methods of testcontainers 4.15.0."""
CONTAINER = {
    "get_publisher": ("self", "by_port", "by_host", "prefer_ip_version"),
    "get_container_host_ip": ("self",), "get_exposed_port": ("self", "port"),
    "get_logs": ("self",), "get_wrapped_container": ("self",), "reload": ("self",),
}


def signatures(subject: object, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Name -> parameters."""
    return {name: tuple(inspect.signature(getattr(subject, name)).parameters) for name in names}


def fixtures(module: ModuleType) -> dict[str, tuple[str, ...]]:
    """As `signatures`, of what a module has for its fixtures; pytest's own `request` aside."""
    found = {}
    for name in PYTEST_DOCKER:
        made = getattr(module, name)
        function = getattr(made, "__wrapped__", None) or made._get_wrapped_function()
        found[name] = tuple(p for p in inspect.signature(function).parameters if p != "request")
    return found


def test_our_signatures_are_theirs() -> None:
    assert fixtures(pytest_docker) == PYTEST_DOCKER
    assert signatures(pytest_docker.Services, SERVICES) == SERVICES
    assert signatures(testcontainers.DockerCompose, DOCKER_COMPOSE) == DOCKER_COMPOSE
    assert signatures(testcontainers.ComposeContainer, CONTAINER) == CONTAINER


def test_theirs_are_still_what_they_were() -> None:
    """Where they are installed."""
    theirs = pytest.importorskip("testcontainers.compose")
    assert signatures(theirs.DockerCompose, DOCKER_COMPOSE) == DOCKER_COMPOSE
    assert signatures(theirs.ComposeContainer, CONTAINER) == CONTAINER
    plugin = pytest.importorskip("pytest_docker.plugin")
    assert fixtures(plugin) == PYTEST_DOCKER
    assert signatures(plugin.Services, SERVICES) == SERVICES
