"""Suites that were written for pytest-docker or testcontainers run with one line changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
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
from orchestrator.testing.testcontainers import DockerCompose

def test_it():
    with DockerCompose("stack", compose_file_name="compose.yaml", build=True) as compose:
        host, port = compose.get_service_host_and_port("web", 80)
        assert (host, port) == (compose.get_service_host(), compose.get_service_port())
        compose.wait_for(f"http://{host}:{port}/")
        assert urlopen(f"http://{host}:{port}/").read() == b"hello\\n"
        out, err, code = compose.exec_in_container(["sh", "-c", "echo out; echo err >&2; exit 3"],
                                                   service_name="web")
        assert (out, err, code) == ("out\\n", "err\\n", 3)
        assert "GET / HTTP/1.1" in "".join(compose.get_logs("web"))
        assert compose.get_container("web").State == "running"
        with pytest.raises(LookupError, match="other is not running"):
            compose.get_container("other")
        with DockerCompose("stack") as second:
            assert second.get_service_port("web", 80) != port

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
