"""Every command and flag of docker compose, as ../shared/reference/cli-matrix.md has them, against
ours.  What is missing is in `GAPS`, and only what is missing."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from orchestrator.cli import main
from orchestrator.cli.grammar import Command
from tests.source_tree import ROOT

MATRIX = ROOT.parent / "shared/reference/cli-matrix.md"
needs_matrix = pytest.mark.skipif(not MATRIX.exists(), reason="no reference beside the checkout")

COMMAND_GAPS = {
    "alpha generate": "nothing makes a file of running containers yet",
    "alpha publish": "it is called publish",
    "alpha viz": "it is called graph",
    **dict.fromkeys(("bridge convert", "bridge transformations create",
                     "bridge transformations list"), "no words of other engines yet"),
}  # fmt: skip
"""Command -> why it is not here."""
GAPS = {("up", "menu"): "there are no keys to press, on purpose"}
"""(command, flag) -> why it does not work; the command is empty for flags before it."""


def matrix(path: Path) -> dict[str, set[str]]:
    """Command -> its flags without the dashes; the root is ''."""
    found: dict[str, set[str]] = {}
    name = None
    for line in path.read_text().splitlines():
        head = re.match(r"### `([^`]+)`", line)
        if head:
            name = "" if head[1].startswith("docker compose") else head[1]
            found[name] = set()
        elif line.startswith("## "):
            name = None
        flag = re.match(r"\| `--([\w-]+)`", line)
        if flag and name is not None:
            found[name].add(flag[1])
    return found


def ours(name: str) -> Command:
    if not name:
        return main.ROOT
    command: Command = import_module(
        f"orchestrator.cli.commands.{main.COMMANDS[name][0]}").COMMAND  # fmt: skip
    return command


def usable(command: Command) -> set[str]:
    return {flag.name for flag in command.flags if not flag.refused} | {"dry-run", "help"}


@needs_matrix
def test_every_command_of_docker_compose_is_here_or_its_lack_has_a_reason() -> None:
    missing = {n for n in matrix(MATRIX) if n and n not in main.COMMANDS}
    assert missing == set(COMMAND_GAPS), "COMMAND_GAPS has to name exactly these"


@needs_matrix
def test_every_flag_works_or_its_lack_has_a_reason() -> None:
    missing = {
        (name, flag)
        for name, flags in matrix(MATRIX).items() if not name or name in main.COMMANDS
        for flag in flags - usable(ours(name))
    }  # fmt: skip
    assert missing == set(GAPS), "GAPS has to name exactly these"


@pytest.mark.parametrize("name", ["", *main.COMMANDS])
def test_help_shows_every_flag_that_is_not_hidden(name: str) -> None:
    from orchestrator.cli.grammar import help_text

    command = ours(name)
    text = help_text(command)
    for flag in command.flags:
        assert (f"--{flag.name}" in text.split()) != flag.hidden, flag.name
