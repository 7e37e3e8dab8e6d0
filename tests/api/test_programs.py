"""The Python API, used by programs on real stacks."""

from __future__ import annotations

import inspect
import re
import sys
from typing import TYPE_CHECKING

import pytest

from orchestrator import aio, live
from tests.source_tree import ROOT

if TYPE_CHECKING:
    from tests.e2e.sandbox import Stack

PROGRAMS = [
    "a_life", "errors_are_of_the_one_tree", "the_same_to_await", "cancelling_ends_what_waits",
    "a_cancelled_up_begins_nothing_more", "two_threads_at_once",
]  # fmt: skip
COMPOSE = """
services:
  db:
    image: pcompose/host
    command: sleep infinity
  web:
    image: pcompose/host
    command: sh -c 'echo here; exec sleep infinity'
    depends_on: [db]
    init: true
  job:
    image: pcompose/host
    command: 'true'
    profiles: [jobs]
"""
PAGE = ROOT / "docs/api.md"


def run(stack: Stack, code: str) -> None:
    stack.write(f"name: {stack.name}\n{COMPOSE}")
    environment = {**stack.sandbox.environment, "PYTHONPATH": str(ROOT)}
    done = stack.sandbox.run([sys.executable, "-W", "error", "-c", code], cwd=stack.directory,
                             env=environment)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr + stack.log()


@pytest.mark.e2e
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program(stack: Stack, name: str) -> None:
    run(stack, f"from tests.api import program; program.main({name!r})")


@pytest.mark.e2e
def test_the_examples_of_the_page_do_what_they_say(stack: Stack) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        run(stack, block)


def test_what_the_page_names_is_there_and_has_a_docstring() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| **")]
    named = {name for line in rows for name in re.findall(r"`(\w+)\(\)`", line)}
    assert len(named) > 30
    assert all(inspect.getdoc(getattr(live.LiveProject, name)) for name in named)
    awaited = {name for name in vars(aio.AsyncProject) if not name.startswith("_")}
    assert awaited <= {*dir(live.LiveProject), "project"}
