"""The runner of commands, a store with a base image, and a context for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.engine.buildrun import BuildRunner
from tests.build.ground import Ground


@pytest.fixture(scope="module")
def runner() -> Iterator[BuildRunner]:
    with BuildRunner() as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, runner: BuildRunner) -> Ground:
    """One store with the base image; each test has a context of its own."""
    ground = Ground(tmp_path_factory.mktemp("build"), runner)
    ground.add_base()
    return ground


@pytest.fixture
def ground(shared: Ground, tmp_path: Path) -> Ground:
    shared.context = tmp_path / "context"
    shared.context.mkdir()
    return shared
