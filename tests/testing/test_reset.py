"""Data that each test finds as it was seeded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.testing.suite import Suite

pytestmark = pytest.mark.e2e


def test_each_test_finds_what_was_seeded(suite: Suite) -> None:
    suite.write(**{"compose.yaml": """
services:
  db:
    image: pcompose/host
    command: sleep infinity
    volumes: ["data:/data"]
    healthcheck: {test: "test -e /data || exit 1", interval: 1s}
volumes: {data: }
"""}, conftest="""
import pytest

@pytest.fixture(scope="session")
def seeded(compose_project):
    compose_project.exec("db", "sh", "-c", "echo seed > /data/row")
    compose_project.snapshot()
    return compose_project
""", test_it="""
import pytest

@pytest.mark.parametrize("number", range(4))
def test_row(seeded, compose_reset, number):
    address = [c.record.spec["endpoints"][0]["address"] for c in seeded.project.ps()]
    assert seeded.exec("db", "cat", "/data/row").stdout == "seed\\n"
    assert seeded.states()[0].health == "healthy"
    seeded.exec("db", "sh", "-c", f"echo {number} >> /data/row; touch /data/{number}")
    seeded.restore()
    assert seeded.exec("db", "ls", "/data").stdout == "row\\n"
    assert address == [c.record.spec["endpoints"][0]["address"] for c in seeded.project.ps()]
""")
    suite.run("--pcompose-scope=session")
