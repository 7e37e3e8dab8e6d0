"""examples/pytest: one after the other, on four workers in random order, with a worker killed."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.e2e.sandbox import Sandbox, eventually
from tests.source_tree import ROOT
from tests.testing.suite import Suite

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("mmdebstrap") is None, reason="needs mmdebstrap for images"),
]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """The example in a sandbox that has its image."""
    directory = tmp_path_factory.mktemp("example")
    webapp = ROOT / "examples/webapp"
    ignored = shutil.ignore_patterns(".cache", "__pycache__")
    shutil.copytree(ROOT / "examples", directory, dirs_exist_ok=True, ignore=ignored)
    with Sandbox(directory) as sandbox:
        environment = {**sandbox.environment, "WEBAPP_CACHE": str(webapp / ".cache")}
        made = subprocess.run(["sh", str(webapp / "make-images.sh")], env=environment, timeout=600,
                              capture_output=True, text=True, check=False)  # fmt: skip
        assert made.returncode == 0, made.stdout + made.stderr
        word = f"s{os.urandom(4).hex()}"
        (directory / "pytest").rename(directory / word)  # in the names of its stacks
        yield Suite(sandbox, directory / word, keeps_ini=True)


def is_tidy(example: Suite) -> bool:
    eventually(lambda: not example.remains(), timeout=15, what=f"nothing: {example.remains()}")
    return True


def test_one_after_the_other(example: Suite) -> None:
    said = example.run()
    assert "passed" in said
    assert is_tidy(example)


def test_four_workers_in_random_order(example: Suite) -> None:
    pytest.importorskip("xdist")
    pytest.importorskip("pytest_randomly")
    example.plugins = ("xdist", "randomly")
    said = example.run("-n", "4")
    assert "Using --randomly-seed" in said
    assert is_tidy(example)


def test_a_worker_killed_in_the_middle(example: Suite) -> None:
    """Its test fails, the others do not care."""
    pytest.importorskip("xdist")
    example.plugins = ("xdist",)
    killer = example.directory / "tests" / "test_killer.py"
    killer.write_text(
        "import os, signal\n\n\n"
        "def test_kills_its_worker(compose_project):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    try:
        said = example.run("-n", "2", "tests/test_links.py", "tests/test_killer.py", ok=False)
    finally:
        killer.unlink()
    assert "1 failed" in said
    assert "test_kills_its_worker" in said
    assert is_tidy(example)
