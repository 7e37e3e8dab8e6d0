"""Fixtures of the end-to-end tests: a sandbox, and a stack that must leave nothing behind."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from tests.e2e.ordinary import PYTHON, Machine
from tests.e2e.sandbox import Sandbox, Stack, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

_RUN = os.urandom(8).hex()
"""What a run that was killed has left on the machine must not be taken for ours."""


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path) as held:
        yield held


@pytest.fixture
def stack(sandbox: Sandbox, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A stack named after test and run; taken down at its end, and then nothing may remain."""
    name = f"t{crc32(f'{_RUN} {request.node.nodeid}'.encode()):08x}"
    directory = sandbox.directory / name
    directory.mkdir()
    made = Stack(sandbox, directory, name)
    yield made
    made("-p", name, "down", "-v", "-t", "0", "--remove-orphans", ok=False)
    eventually(lambda: not made.remains(), what=f"nothing remains; now: {made.remains()}")


@pytest.fixture
def machine() -> Iterator[Machine]:
    """An ordinary user's, in a directory where they get to."""
    with TemporaryDirectory() as name, Machine(Path(name)) as made:
        if made.user(PYTHON, "-c", "import orchestrator.dataclass, yaml").returncode:
            pytest.skip("ordinary users cannot read this checkout")
        yield made
        made.pcompose("down", "--volumes", "--timeout", "0")
