"""Containers from start to removal, with the real keeper."""

from __future__ import annotations

import time

import pytest

from tests.supervisor.ground import Ground, words

pytestmark = pytest.mark.kernel


def test_a_container_starts_runs_and_is_removed(ground: Ground) -> None:
    web = ground.spec("web", "echo hello; exec sleep 1000")
    events = ground.up(web)
    assert words(events) == [f"Container p-web-1 {w}" for w in
                             ("Creating", "Created", "Starting", "Started")]
    assert ground.status(web).state == "running"
    assert ground.ran(web)
    ground.down()
