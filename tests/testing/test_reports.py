"""What a failed test says about its stacks."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.testing.suite import Suite

pytestmark = pytest.mark.e2e

CHATTY = """
services:
  chat:
    image: pcompose/host
    command: sh -c "echo from the start; sleep infinity"
  victim:
    image: pcompose/host
    command: sleep infinity
  checked:
    image: pcompose/host
    command: sleep infinity
    healthcheck: {test: "echo looks bad; exit 4", interval: 50ms, retries: 1}
  hungry:
    image: pcompose/host
    command: python3 -c "x = b'x' * (200 << 20)"
    mem_limit: 30m
    memswap_limit: 30m
"""
TWO_TESTS = """
import pytest

def say(stack, words):
    stack.exec("chat", "sh", "-c", f"echo {words} > /proc/1/fd/1")

@pytest.mark.compose("compose.yaml", scope="module", wait=False)
class TestBoth:
    def test_good(self, compose_project):
        compose_project.wait_for("chat", log="from the start")
        say(compose_project, "of the good test")

    def test_bad(self, compose_project):
        say(compose_project, "of the bad test")
        compose_project.wait_for("chat", log="of the bad test")
        with pytest.raises(Exception, match="not ready after 0.3s: health: (un|start)"):
            compose_project.wait_for("checked", health=True, timeout=0.3)
        with pytest.raises(Exception, match="out of memory|137"):
            compose_project.wait_for("hungry", log="never written")
        compose_project.kill("victim")
        assert not "all is well"

def test_without_a_stack():
    assert False
"""


def test_the_report_has_states_and_the_output_of_this_test_only(suite: Suite) -> None:
    suite.write(**{"compose.yaml": CHATTY}, test_it=TWO_TESTS)
    said = suite.run("--pcompose-artifacts", "kept", ok=False)
    # one section: none for the test without a stack
    assert said.count(f"- pcompose pt-{suite.directory.name}-") == 1
    assert "chat-1: running" in said
    assert "victim-1: exited (137)" in said
    assert "hungry-1: exited (137), killed for want of memory" in said
    assert "checked-1: running, unhealthy" in said
    assert "  probe (exit 4): looks bad" in said
    assert "chat-1 | of the bad test" in said
    assert "| of the good test" not in said
    (place,) = (suite.directory / "kept").glob("*test_bad*/pt-*")
    assert "of the bad test" in (place / "report.txt").read_text()
    kept = (place / "logs" / "chat-1.log").read_text()
    assert "stdout from the start" in kept
    assert "of the good test" in kept
    states = json.loads((place / "ps.json").read_text())
    assert [s["name"] for s in states] == ["chat-1", "checked-1", "hungry-1", "victim-1"]
    assert states[1]["probes"][0]["exit_code"] == 4
    events = [json.loads(line) for line in (place / "events.jsonl").read_text().splitlines()]
    ended = [(e["service"], e["exit_code"]) for e in events if e["action"] == "die"]
    assert ended == [("hungry", 137), ("victim", 137)]


def test_a_stack_that_does_not_come_up_is_told_in_full(suite: Suite) -> None:
    suite.write(**{"compose.yaml": """
services:
  db:
    image: pcompose/host
    command: sh -c "echo cannot open data; exit 3"
    healthcheck: {test: [CMD, "false"], interval: 30s}
"""}, test_it="def test_it(compose_project): pass")
    said = suite.run(ok=False)
    assert "1 error" in said
    assert "exited (3)" in said
    assert "db-1 | cannot open data" in said


def test_a_broken_file_is_told_with_its_line(suite: Suite) -> None:
    suite.write(**{"compose.yaml": "services:\n  db:\n    imagee: x\n"},
                test_it="def test_it(compose_project): pass")
    said = suite.run(ok=False)
    assert "compose.yaml:3:" in said


def test_a_service_that_dies_while_it_is_awaited_fails_the_wait_at_once(suite: Suite) -> None:
    suite.write(**{"compose.yaml": """
services:
  db:
    image: pcompose/host
    command: sh -c "sleep 0.5; echo disk is gone; exit 7"
"""}, test_it="""
import pytest
from orchestrator.errors import DependencyError

@pytest.mark.parametrize("condition", [{"tcp": 1}, {"log": "never"}, {"http": 1}])
def test_it(compose_project, condition):
    with pytest.raises(DependencyError) as caught:
        compose_project.wait_for("db", **condition, timeout=100)
    assert "exited (7)" in str(caught.value)
    assert "disk is gone" in str(caught.value)
""")
    begun = time.monotonic()
    suite.run()
    assert time.monotonic() - begun < 60
