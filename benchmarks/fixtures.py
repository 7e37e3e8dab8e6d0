"""Stacks as fixtures: what one costs a test, and fifty tests with a redis and a web server of
their own, beside pytest-docker and testcontainers where those and Docker work.

    python -m benchmarks.fixtures [--tests 50] [--image FILE.tar]

Redis and Python come from the image of examples/webapp (webapp:12); its archive is made there by
make-images.sh.  Everything runs in a network and mount namespace of its own.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.peers import answers
from benchmarks.run import LOOPBACK_UP

HERE = Path(__file__).resolve().parent
WEBAPP = HERE.parent / "examples/webapp/.cache"
RECORD = """
import json

TIMES = []

def pytest_runtest_logreport(report):
    TIMES.append((report.when, report.duration))

def pytest_sessionfinish():
    with open("times.json", "w") as file:
        json.dump(TIMES, file)
"""
ONE = "services:\n  one: {image: pcompose/host, command: sleep infinity}\n"
TWO = """services:
  redis: {{image: "{redis}", command: [redis-server, --protected-mode, "no", --save, ""]}}
  web: {{image: "{web}", command: [{python}, -m, http.server, "8000"], init: true}}
"""
OURS = """
import pytest, time

@pytest.mark.parametrize("number", range({tests}))
def test_one(compose_project, number):
    time.sleep({work})
"""
OURS_TWO = """
import pytest

@pytest.mark.parametrize("number", range({tests}))
def test_two(compose_project, number):
    compose_project.wait_for("redis", tcp=6379)
    compose_project.wait_for("web", tcp=8000)
"""
TESTCONTAINERS = """
import pytest, redis
from testcontainers.core.container import DockerContainer
from testcontainers.redis import RedisContainer
from testcontainers.core.waiting_utils import wait_for_logs

@pytest.mark.parametrize("number", range({tests}))
def test_two(number):
    with RedisContainer("redis") as _:
        web = DockerContainer("python:3-slim").with_exposed_ports(8000)
        with web.with_command("python3 -u -m http.server 8000") as running:
            wait_for_logs(running, "Serving HTTP")
"""
PYTEST_DOCKER = """
import pytest, socket

@pytest.fixture(scope="session")
def docker_compose_file():
    return "compose.yaml"

def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True

@pytest.mark.parametrize("number", range({tests}))
def test_two(docker_services, number):
    for service, port in (("redis", 6379), ("web", 8000)):
        number = docker_services.port_for(service, port)
        docker_services.wait_until_responsive(lambda: listens(number), timeout=30, pause=0.05)
"""
PORTS = {"redis": "6379", "web": "8000"}
"""What pytest-docker reaches by ports of the host."""


WORK = (0, 0.1)
"""Seconds of a test: a stack leaves beside the next test, which an empty one waits for."""


def suite(directory: Path, *, compose: str, test: str, ini: str = "") -> tuple[float, list[Any]]:
    """(seconds of the whole run, [(phase, seconds)])."""
    directory.mkdir()
    (directory / "compose.yaml").write_text(compose)
    (directory / "conftest.py").write_text(RECORD)
    (directory / "test_it.py").write_text(test)
    (directory / "pytest.ini").write_text(f"[pytest]\n{ini}")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly",
             "-p", "no:asyncio"]  # fmt: skip
    begun = time.perf_counter()
    done = subprocess.run(words, cwd=directory, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return seconds, json.loads((directory / "times.json").read_text())


def median(times: list[Any], phase: str) -> float:
    """Milliseconds of a phase, the first test aside: it loads pcompose."""
    found = [seconds for when, seconds in times if when == phase]
    return float(statistics.median(found[1:]) * 1e3)


def measure(directory: Path, *, tests: int, archive: Path | None) -> None:
    """Print every figure."""
    for work in WORK:
        text = OURS.format(tests=tests, work=work)
        seconds, times = suite(directory / f"one-{work}", compose=ONE, test=text)
        setup, teardown = median(times, "setup"), median(times, "teardown")
        print(f"one service, {tests} tests of {work} s: set-up {setup:.0f} ms, "
              f"tear-down {teardown:.0f} ms, {seconds:.1f} s in all")
    if archive is None:
        print("redis and web: no image; make it with examples/webapp/make-images.sh")
        return
    subprocess.run(["pcompose", "import", str(archive), "webapp:12"], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    text = TWO.format(redis="webapp:12", web="webapp:12", python="python3")
    ours, times = suite(directory / "two", compose=text, test=OURS_TWO.format(tests=tests))
    print(f"redis and web, {tests} tests: {ours:.1f} s, set-up {median(times, 'setup'):.0f} ms, "
          f"tear-down {median(times, 'teardown'):.0f} ms")
    for name, seconds in peers(directory, tests=tests).items():
        print(f"{name}: {seconds:.1f} s, {seconds / ours:.1f} times ours")


def peers(directory: Path, *, tests: int) -> dict[str, float]:
    """The same suite by those that are installed, with images that are there."""
    found: dict[str, float] = {}
    has_docker = answers("docker", "info") and all(
        answers("docker", "image", "inspect", image) for image in ("redis", "python:3-slim")
    )
    if not has_docker:
        print("no Docker with redis and python:3-slim here: no peers")
        return found
    if importlib.util.find_spec("testcontainers"):
        text = TESTCONTAINERS.format(tests=tests)
        found["testcontainers"], _ = suite(directory / "tc", compose="", test=text)
    if importlib.util.find_spec("pytest_docker"):
        compose = published(TWO.format(redis="redis", web="python:3-slim", python="python3"))
        text = PYTEST_DOCKER.format(tests=tests)
        found["pytest-docker"], _ = suite(directory / "pd", compose=compose, test=text,
                                          ini="addopts = --container-scope=function\n")  # fmt: skip
    return found


def published(compose: str) -> str:
    """The same file with ports."""
    for service, port in PORTS.items():
        compose = compose.replace(f"{service}: {{", f'{service}: {{ports: ["{port}"], ')
    return compose


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fixtures", description=__doc__)
    parser.add_argument("--tests", type=int, default=50)
    parser.add_argument("--image", type=Path, default=next(iter(WEBAPP.glob("root-*.tar")), None))
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("benchmarks need root: they make namespaces")
    if "PCOMPOSE_BENCHMARK" not in os.environ:
        environment = {**os.environ, "PCOMPOSE_BENCHMARK": "1",
                       "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}  # fmt: skip
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        inside = ["unshare", "--net", "--mount", "--", sys.executable, "-m", "benchmarks.fixtures"]
        raise SystemExit(subprocess.run([*inside, *sys.argv[1:]], env=environment,
                                        check=False).returncode)  # fmt: skip
    subprocess.run([sys.executable, "-c", LOOPBACK_UP], check=True)
    with tempfile.TemporaryDirectory() as name:
        os.environ |= {"PCOMPOSE_DATA": f"{name}/data", "PCOMPOSE_RUN": f"{name}/run"}
        measure(Path(name), tests=options.tests, archive=options.image)


if __name__ == "__main__":
    main()
