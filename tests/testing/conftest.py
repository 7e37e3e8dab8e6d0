"""A user's suite that must leave nothing behind, whatever its tests do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.e2e.sandbox import Sandbox, eventually
from tests.testing.suite import Suite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def suite(tmp_path: Path) -> Iterator[Suite]:
    with Sandbox(tmp_path) as sandbox:
        directory = tmp_path / f"s{os.urandom(4).hex()}"  # in the names of its stacks
        directory.mkdir()
        made = Suite(sandbox, directory)
        yield made
        eventually(lambda: not made.remains(), what=f"nothing remains; now: {made.remains()}")
