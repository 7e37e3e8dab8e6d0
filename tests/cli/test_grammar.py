"""The command line as docker compose's users type it."""

from __future__ import annotations

from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli import main
from orchestrator.cli.grammar import (
    Arguments,
    Command,
    alias,
    help_text,
    lacking,
    many,
    number,
    option,
    parse,
    switch,
)
from orchestrator.errors import UsageError

FLAGS = (
    switch("detach", "d", "In the background"), switch("no-tty", "T"), option("user", "u"),
    number("timeout", "t"), many("env", "e"), lacking("build", "", "nothing is built yet"),
    alias("no-TTY", "no-tty"),
)  # fmt: skip
SPREAD = Command(name="up", usage="up", summary="Up", flags=FLAGS)
STRICT = Command(name="run", usage="run", summary="Run", flags=FLAGS, interspersed=False, least=1)
BRIEF = Command(name="port", usage="port", summary="Port", most=1)


def read(words: str, command: Command = SPREAD) -> Arguments:
    return parse(command, words.split())


def test_flags_and_operands_may_be_mixed() -> None:
    args = read("-d web --timeout 5 db")
    assert (args.has("detach"), args.number("timeout"), args.operands) == (True, 5, ["web", "db"])


def test_run_and_exec_stop_at_the_service() -> None:
    args = read("-T web sh -d --timeout", STRICT)
    assert args.operands == ["web", "sh", "-d", "--timeout"]
    assert (args.has("no-tty"), args.has("detach")) == (True, False)


@pytest.mark.parametrize("words", ["-dTt5", "-dT -t5", "-dT -t=5", "-d -T -t 5", "-dT --timeout=5"])
def test_short_flags_may_be_written_together(words: str) -> None:
    args = read(words)
    assert (args.has("detach"), args.has("no-tty"), args.number("timeout")) == (True, True, 5)


def test_switches_take_a_truth_value() -> None:
    args = read("--detach=false -T=1")
    assert (args.has("detach"), args.said("detach"), args.has("no-tty")) == (False, True, True)
    assert not read("").said("detach")


def test_lists_collect_and_options_take_the_last() -> None:
    args = read("-e A=1 --env B=2 -u x -u y")
    assert (args.all("env"), args.text("user")) == (["A=1", "B=2"], "y")


def test_two_dashes_end_the_flags() -> None:
    assert read("web -- -d").operands == ["web", "-d"]


def test_old_spellings_mean_the_new_ones() -> None:
    assert read("--no-TTY").has("no-tty")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--nonsense", "unknown flag: --nonsense"),
        ("-x", "unknown shorthand flag: 'x' in -x"),
        ("-dx", "unknown shorthand flag: 'x' in -x"),
        ("--timeout", "flag needs an argument: --timeout"),
        ("-t", "flag needs an argument: --timeout"),
        ("--timeout=soon", 'invalid argument "soon" for "-t, --timeout": not a whole number'),
        ("-t 99999999999999999999", "not a whole number"),
        ("--detach=maybe", 'invalid argument "maybe" for "-d, --detach": neither true nor false'),
        ("--build", "flag --build of up is refused: nothing is built yet"),
        ("--build=true", "flag --build of up is refused"),
    ],
)
def test_a_wrong_flag_is_told_by_name(words: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(words)
    assert message in caught.value.message


def test_a_refused_flag_may_be_said_to_be_off() -> None:
    assert read("--build=false").operands == []


def test_a_flag_that_is_nearly_right_is_proposed() -> None:
    with pytest.raises(UsageError) as caught:
        read("--detatch")
    assert caught.value.hint == "did you mean --detach?"


def test_the_number_of_operands_is_checked() -> None:
    with pytest.raises(UsageError, match="run needs at least 1 argument"):
        read("-d", STRICT)
    with pytest.raises(UsageError, match="port does not take 'b'"):
        read("a b", BRIEF)


def test_help_shows_every_flag_that_can_be_used() -> None:
    text = help_text(SPREAD)
    assert "  -d, --detach" in text
    assert "In the background" in text
    assert "--build" not in text
    assert read("-h").has("help")


@given(st.lists(st.text(max_size=6) | st.sampled_from(["-d", "--", "-t", "--env", "-e=x", "-"])))
def test_any_words_are_read_or_refused(words: list[str]) -> None:
    try:
        operands = parse(SPREAD, words).operands
    except UsageError:
        operands = []
    assert set(operands) <= set(words)


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_has_a_table_with_names_of_its_own(name: str) -> None:
    module = import_module(f"orchestrator.cli.commands.{main.COMMANDS[name][0]}")
    command: Command = module.COMMAND
    names = [f.name for f in command.flags]
    shorts = [f.short for f in command.flags if f.short]
    assert command.name == name
    assert len(set(names)) == len(names)
    assert len(set(shorts)) == len(shorts)
    assert command.usage.startswith(name)
    assert all(f.alias_of in names for f in command.flags if f.alias_of)
    assert "Usage:  pcompose " in help_text(command)
