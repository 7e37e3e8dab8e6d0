"""Fixtures of the runtime's kernel tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.kept import Kept


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    """A keeper of its own, ended and checked for leftovers afterwards."""
    tmp_path.chmod(0o755)
    keeper = Kept(tmp_path)
    yield keeper
    keeper.close()
