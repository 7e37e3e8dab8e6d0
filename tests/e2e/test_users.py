"""What users of Compose tools stumbled over, on whole stacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

pytestmark = pytest.mark.e2e


def test_a_dependency_in_a_disabled_profile_stops_nothing_but_up(stack: Stack) -> None:
    """R-24."""
    stack.write(f"""
name: {stack.name}
services:
  main: {{image: pcompose/host, command: sleep infinity, profiles: [dev], stop_signal: SIGKILL}}
  test:
    image: pcompose/host
    command: sh -c 'echo said; exec sleep infinity'
    depends_on: [main]
    stop_signal: SIGKILL
""")
    refused = stack("up", "-d", ok=False)
    assert "compose.yaml:8:18: services.test.depends_on.main: needs main" in refused.stderr
    assert stack.ps() == {}

    stack("up", "-d", "main")
    assert list(stack.ps()) == [f"{stack.name}-main-1"]
    stack("--profile", "dev", "up", "-d")
    assert list(stack.ps()) == [f"{stack.name}-main-1", f"{stack.name}-test-1"]

    assert any("said" in line for line in stack.logs("test"))
    stack("build")
    stack("stop", "test")
    stack("start", "--wait", "test")
    stack("rm", "--force", "--stop", "test")
    assert list(stack.ps()) == [f"{stack.name}-main-1"]
    stack("up", "-d", "--no-deps", "test")
    stack("down", "--remove-orphans")
    assert stack.ps() == {}
