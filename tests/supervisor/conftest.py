"""The ground of the kernel tests, made and taken away for each test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import PcomposeError
from orchestrator.state.layout import Layout
from tests.supervisor.ground import Ground, own_namespaces, skeleton

LONGEST = 30


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    """A project of its own with a real supervisor and keeper; afterwards nothing is left of it."""
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(LONGEST)
    layout = Layout(str(tmp_path / "data"), str(tmp_path / "run"))
    with own_namespaces():
        made = Ground(layout=layout, lower=skeleton(tmp_path / "lower"))
        try:
            yield made
        except BaseException:
            _show(layout)
            raise
        finally:
            signal.alarm(LONGEST)
            try:
                made.down()
            except PcomposeError:
                _show(layout)
                raise
        signal.alarm(0)
        assert not os.path.exists(layout.run_project(made.project))


def _too_long(*_: object) -> None:
    raise TimeoutError(f"the test takes more than {LONGEST} seconds")


def _show(layout: Layout) -> None:
    path = Path(layout.supervisor_log("p"))
    if path.exists():
        print(path.read_text())  # noqa: T201  # shown by pytest where a test fails
