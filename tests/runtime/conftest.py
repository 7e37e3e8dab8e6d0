"""Fixtures of the runtime's kernel tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.bundle import Bundles
from tests.runtime.kept import Kept


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    """A keeper of its own, ended and checked for leftovers afterwards."""
    tmp_path.chmod(0o755)
    keeper = Kept(tmp_path)
    yield keeper
    keeper.close()


@pytest.fixture
def bundles(tmp_path: Path) -> Iterator[Bundles]:
    """A state directory for `pcompose-oci`, and a check that nothing is left."""
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    found = Bundles(tmp_path)
    yield found
    found.close()
