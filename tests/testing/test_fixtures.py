"""The fixtures of the plugin, as a user's suite has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.testing.suite import Suite

pytestmark = pytest.mark.e2e

WEB = """
services:
  web:
    image: pcompose/host
    command: python3 -m http.server --directory /etc 8000
  idle:
    image: pcompose/host
    command: sleep infinity
"""


def test_a_test_has_a_stack_of_its_own_and_reaches_it_without_a_host_port(suite: Suite) -> None:
    suite.write(**{"compose.yaml": WEB}, test_it="""
import urllib.request

def test_web(compose_project, compose_services):
    compose_project.wait_for("web", http=":8000/hostname")
    assert compose_services["web"].address(8000).host.startswith(("10.", "172.", "192."))
    with urllib.request.urlopen(compose_project.url("web", 8000, "/hostname")) as answer:
        assert answer.status == 200
    ended = compose_services["idle"].exec("sh", "-c", "cat; echo no >&2; exit 3",
                                          stdin="word", check=False)
    assert (ended.exit_code, ended.stdout, ended.stderr) == (3, "word", "no\\n")

def test_another(compose_project):
    assert not compose_project.exec("idle", "sh", "-c", "ls /tmp").stdout
""")
    suite.run()


def test_a_failing_command_and_a_service_that_is_not_there_say_so(suite: Suite) -> None:
    suite.write(**{"compose.yaml": WEB}, test_it="""
import pytest
from orchestrator.errors import PcomposeError
from orchestrator.testing.stack import CommandFailed

def test_errors(compose_project):
    with pytest.raises(CommandFailed, match="no such luck"):
        compose_project.exec("idle", "sh", "-c", "echo no such luck; exit 1")
    with pytest.raises(PcomposeError, match="no such service: wbe"):
        compose_project.exec("wbe", "true")
    with pytest.raises(PcomposeError, match="does not publish port 8000/tcp"):
        compose_project.host_port("web", 8000)
    with pytest.raises(PcomposeError, match="has not ended after 0.2s"):
        compose_project.exec("idle", "sleep", "9", timeout=0.2)
""")
    suite.run()


def test_the_marker_chooses_file_services_and_how_long_the_stack_lives(suite: Suite) -> None:
    suite.write(**{"stacks/two.yaml": WEB}, test_it="""
import pytest

names = []

@pytest.mark.compose("stacks/two.yaml", services=["idle"], scope="class")
class TestTogether:
    def test_one(self, compose_project):
        assert list(compose_project.services) == ["idle"]
        compose_project.exec("idle", "touch", "/tmp/mark")
        names.append(compose_project.name)

    def test_two(self, compose_project):
        compose_project.exec("idle", "test", "-e", "/tmp/mark")
        names.append(compose_project.name)

@pytest.mark.compose("stacks/two.yaml", services=["idle"])
def test_alone(compose_project):
    compose_project.exec("idle", "test", "!", "-e", "/tmp/mark")
    names.append(compose_project.name)
    assert len(set(names)) == 2 and names[0] == names[1]
""")
    suite.run()


def test_what_the_option_says_counts_for_tests_without_a_marker(suite: Suite) -> None:
    suite.write(**{"compose.yaml": WEB}, test_it="""
def test_one(compose_project):
    compose_project.exec("idle", "touch", "/tmp/mark")

def test_two(compose_project):
    compose_project.exec("idle", "test", "-e", "/tmp/mark")
""")
    suite.run("--pcompose-scope=module")
    assert "1 failed, 1 passed" in suite.run(ok=False)


def test_a_marker_that_the_fixture_cannot_see_is_refused(suite: Suite) -> None:
    suite.write(**{"compose.yaml": WEB}, test_it="""
import pytest

@pytest.mark.compose("compose.yaml", services=["idle"])
def test_one(compose_project):
    pass

@pytest.mark.compose("a.yaml", "b.yaml")
def test_two():
    pass

@pytest.mark.compose("compose.yaml", sevices=["idle"])
def test_three():
    pass

@pytest.mark.compose("missing.yaml")
def test_four():
    pass
""")
    said = suite.run("--pcompose-scope=session", ok=False)
    assert "cannot see the compose marker of a test" in said
    said = suite.run(ok=False)
    assert "takes one file, and has ('a.yaml', 'b.yaml')" in said
    assert "does not take sevices" in said
    assert "no file 'missing.yaml' in" in said


def test_the_factory_makes_stacks_from_text_and_variables(suite: Suite) -> None:
    suite.write(test_it='''
TEXT = """
services:
  idle:
    image: pcompose/host
    container_name: fixed
    command: sleep infinity
    environment: {WORD: "${WORD}"}
    volumes: ["data:/data"]
volumes: {data: {name: fixed}}
"""

def test_both(compose_up):
    one, two = compose_up(text=TEXT, env={"WORD": "a"}), compose_up(text=TEXT, env={"WORD": "b"})
    three = compose_up(text=TEXT, env={"WORD": "b"})
    assert len({one.name, two.name, three.name}) == 3
    one.exec("idle", "touch", "/data/mark")
    for stack, word in ((one, "a"), (two, "b"), (three, "b")):
        assert stack.exec("idle", "sh", "-c", "echo $WORD").stdout == f"{word}\\n"
    assert two.exec("idle", "ls", "/data").stdout == ""
''')
    suite.run()


def test_a_fixture_of_ones_own_serves_wider_fixtures(suite: Suite) -> None:
    suite.write(**{"compose.yaml": WEB}, conftest="""
import pytest
from orchestrator.testing.plugin import compose_fixture

stack = compose_fixture("compose.yaml", services=["web"], wait={"web": {"tcp": 8000}})

@pytest.fixture(scope="session")
def base(stack):
    return stack.url("web", 8000)
""", test_it="""
import urllib.request

def test_it(base):
    assert urllib.request.urlopen(base).status == 200
""")
    suite.run()


def test_ports_go_elsewhere_where_they_are_taken(suite: Suite) -> None:
    suite.write(test_it='''
TEXT = """
services:
  web:
    image: pcompose/host
    command: python3 -m http.server --directory /etc 8000
    ports: ["18080:8000"]
"""

def test_ports(compose_up):
    stacks = [compose_up(text=TEXT), compose_up(text=TEXT), compose_up(text=TEXT, ports="none")]
    first, second = (stack.host_port("web", 8000) for stack in stacks[:2])
    assert first == 18080 != second
    assert not stacks[2].project.ps()[0].status.ports
''')
    suite.run()


def test_faults_are_mended_at_the_end_of_their_block(suite: Suite) -> None:
    suite.write(**{"compose.yaml": WEB}, test_it="""
def state(stack):
    return next(s.state for s in stack.states() if s.service == "idle")

def test_faults(compose_project):
    for fault, seen in (("pause", "paused"), ("kill", "exited"), ("stop", "exited")):
        try:
            with getattr(compose_project.fault, fault)("idle"):
                assert state(compose_project) == seen, fault
                raise KeyError
        except KeyError:
            pass
        assert state(compose_project) == "running", fault
""")
    suite.run()


def test_a_partition_ends_with_its_block(suite: Suite) -> None:
    suite.write(**{"compose.yaml": WEB}, test_it="""
CONNECT = "import socket; socket.create_connection(('web', 8000), timeout=0.5)"

def reaches(stack):
    return stack.exec("idle", "python3", "-c", CONNECT, check=False).exit_code == 0

def test_faults(compose_project):
    compose_project.wait_for("web", tcp=8000)
    assert reaches(compose_project)
    with compose_project.fault.partition("idle", "web"):
        assert not reaches(compose_project)
        compose_project.wait_for("web", tcp=8000)  # from here it can be reached
    assert reaches(compose_project)
    with compose_project.fault.latency("idle", "web", seconds=0.4):
        assert not reaches(compose_project)
    assert reaches(compose_project)
""")
    suite.run()


def test_async_tests_await_the_same_methods(suite: Suite) -> None:
    """On anyio with both of its backends, on pytest-asyncio, and on an event loop of one's own."""
    pytest.importorskip("pytest_asyncio")
    pytest.importorskip("trio")
    suite.plugins = ("asyncio",)
    suite.write(**{"compose.yaml": WEB}, test_it="""
import anyio, asyncio, pytest, pytest_asyncio, sniffio

@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param

@pytest.mark.anyio
@pytest.mark.compose("compose.yaml", scope="module")
async def test_anyio(compose_project, anyio_backend):
    assert sniffio.current_async_library() == anyio_backend
    stack = compose_project.aio
    await stack.wait_for("web", tcp=8000)
    async with stack.fault.pause("idle"):
        assert [s.state for s in await stack.states()] == ["paused", "running"]
    with anyio.move_on_after(0.1) as scope:
        await stack.wait_for("web", log="never written", timeout=60)
    assert scope.cancelled_caught
    async with anyio.create_task_group() as group:
        for word in ("one", "two"):
            group.start_soon(stack.exec, "idle", "touch", f"/tmp/{word}")
    assert (await stack.exec("idle", "ls", "/tmp")).stdout == "one\\ntwo\\n"

@pytest_asyncio.fixture
async def ready(compose_project):
    await compose_project.aio.wait_for("web", http=8000)
    return compose_project.aio

@pytest.mark.asyncio
async def test_asyncio(ready):
    waiting = asyncio.create_task(ready.wait_for("web", log="never written", timeout=60))
    ended = await ready.exec("idle", "echo", "hello")
    assert ended.stdout == "hello\\n"
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

def test_a_loop_of_ones_own(compose_project):
    async def main():
        ended = await compose_project.aio.exec("idle", "echo", "hello")
        return ended.stdout
    assert asyncio.run(main()) == "hello\\n"
""")
    suite.run()
