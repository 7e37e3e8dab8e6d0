"""Fixtures of the end-to-end tests: a sandbox, and a stack that must leave nothing behind."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from tests import leftovers
from tests.e2e.ordinary import PYTHON, Machine
from tests.e2e.sandbox import Sandbox, Stack, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


def unused_name(test: str) -> str:
    """The same in every run, but where one that was killed has left groups of that name on the
    machine: they must not be taken for ours."""
    groups = " ".join(leftovers.cgroups())
    names = (f"t{crc32(f'{test}{number or str()}'.encode()):08x}" for number in count())
    return next(name for name in names if f"/pcompose-{name}-" not in groups)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path) as held:
        yield held


@pytest.fixture
def stack(sandbox: Sandbox, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A stack named after the test; taken down at its end, and then nothing may remain."""
    name = unused_name(request.node.nodeid)
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
