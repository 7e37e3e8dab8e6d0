"""A few hundred spoiled inputs, the same each time; `make fuzz` goes on with others."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from orchestrator.errors import ImageError
from tests.fuzzing import images
from tests.fuzzing.__main__ import attempt, run_batch


@pytest.mark.skipif(os.geteuid() != 0, reason="archives hold device nodes")
@pytest.mark.parametrize("case", [case.name for case in images.cases()])
def test_spoiled_input_gives_errors_and_nothing_else(case: str) -> None:
    assert run_batch(7, [], 60, case) == []


def test_what_must_not_happen_is_seen() -> None:
    def escapes(data: bytes, directory: Path) -> None:
        images.into_store(directory, lambda store: (directory / "outside").touch())

    def ends(data: bytes, directory: Path) -> None:
        raise KeyError("a bug")

    def complains(data: bytes, directory: Path) -> None:
        with images.accepted():
            raise ImageError("this is damaged")

    assert "outside of the store" in str(attempt(partial(escapes, b"")))
    assert "KeyError" in str(attempt(partial(ends, b"")))
    assert attempt(partial(complains, b"")) is None
