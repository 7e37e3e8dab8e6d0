"""The grammar of the command line: flags as tables, arguments as values, help as text.

Written by hand because argparse costs 10 ms of every command, and because scripts expect the habits
of docker compose: `-dT`, `-p80:80`, `--flag=false`, `--`, flags that stop at SERVICE for `run` and
`exec`.  A flag docker compose has and we lack is declared with `refused`, so that the error names
it.  Knows no command; prints nothing.
"""

from __future__ import annotations

from orchestrator.dataclass import dataclass
from orchestrator.errors import InternalError, UsageError

TYPE_CHECKING = False  # that of typing costs every command 5 ms
if TYPE_CHECKING:
    from typing import Literal

    Kind = Literal["bool", "str", "int", "list"]
    Value = bool | str | int | list[str]

_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag; `refused` says why it cannot be used."""

    name: str
    short: str = ""
    help: str = ""
    kind: Kind = "bool"
    metavar: str = ""
    refused: str = ""
    hidden: bool = False
    alias_of: str = ""

    def __str__(self) -> str:
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


def switch(name: str, short: str = "", help: str = "", *, hidden: bool = False) -> Flag:
    """A flag that is there or not."""
    return Flag(name, short, help, hidden=hidden)


def option(
    name: str, short: str = "", help: str = "", *, metavar: str = "string", hidden: bool = False
) -> Flag:
    """A flag with one value; the last one counts."""
    return Flag(name, short, help, "str", metavar, hidden=hidden)


def number(name: str, short: str = "", help: str = "", *, metavar: str = "int") -> Flag:
    """A flag with a whole number."""
    return Flag(name, short, help, "int", metavar)


def many(name: str, short: str = "", help: str = "", *, metavar: str = "stringArray") -> Flag:
    """A flag that may be repeated."""
    return Flag(name, short, help, "list", metavar)


def alias(name: str, of: str, *, kind: Kind = "bool") -> Flag:
    """Another spelling that old scripts use; not shown in help."""
    return Flag(name, kind=kind, hidden=True, alias_of=of)


def lacking(name: str, short: str = "", why: str = "not available yet", *,
            kind: Kind = "bool") -> Flag:  # fmt: skip
    """A flag of docker compose that this version refuses by name."""
    return Flag(name, short, kind=kind, refused=why, hidden=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a command takes; `most` None: any number of operands."""

    name: str
    usage: str
    summary: str
    flags: tuple[Flag, ...] = ()
    interspersed: bool = True
    """False: parsing of flags stops at the first operand."""
    least: int = 0
    most: int | None = None
    notes: str = ""
    examples: tuple[tuple[str, str], ...] = ()
    """(what it is for, what is typed after `pcompose`)."""


DRY_RUN = switch("dry-run", "", "Show what would be done and do nothing")
HELP = switch("help", "h", "Show this text")


class Arguments:
    """What was said: the values of flags by name, and the operands."""

    __slots__ = ("_known", "_values", "command", "operands")

    def __init__(self, command: Command) -> None:
        self._known = {f.name: f for f in (*command.flags, DRY_RUN, HELP)}
        self._values: dict[str, Value] = {}
        self.command = command.name
        self.operands: list[str] = []

    def _get(self, name: str, kind: Kind) -> Value | None:
        if self._known[name].kind != kind:
            raise InternalError(f"flag --{name} is not of kind {kind}")
        return self._values.get(name)

    def put(self, flag: Flag, value: Value) -> None:
        """Remember a value; a `list` collects."""
        name = flag.alias_of or flag.name
        if flag.kind == "list":
            collected = self._values.setdefault(name, [])
            assert isinstance(collected, list)
            collected.append(str(value))
        else:
            self._values[name] = value

    def has(self, name: str) -> bool:
        """Whether a switch is on."""
        return bool(self._get(name, "bool"))

    def has_if_known(self, name: str) -> bool:
        """As `has`, for flags that some of several commands lack."""
        return name in self._known and self.has(name)

    def knows(self, name: str) -> bool:
        """Whether the command has the flag, for several commands that share what they do."""
        return name in self._known

    def said(self, name: str) -> bool:
        """Whether the flag was given at all, also as `--flag=false`."""
        return self._known[name].name in self._values

    def given(self) -> list[str]:
        """The names of all flags that were given."""
        return list(self._values)

    def text(self, name: str) -> str | None:
        """The value of an option; None: not given."""
        value = self._get(name, "str")
        return None if value is None else str(value)

    def number(self, name: str) -> int | None:
        """The value of a numeric option; None: not given."""
        value = self._get(name, "int")
        return value if isinstance(value, int) else None

    def all(self, name: str) -> list[str]:
        """The values of a repeatable option, in order."""
        value = self._get(name, "list")
        return value if isinstance(value, list) else []


def parse(command: Command, words: list[str]) -> Arguments:
    """The arguments in `words`; UsageError names what is wrong.  With `--help` nothing else is
    checked."""
    arguments = Arguments(command)
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            arguments.operands += rest
            break
        if word.startswith("--"):
            _long(command, arguments, word[2:], rest)
        elif word.startswith("-") and word != "-":
            _shorts(command, arguments, word[1:], rest)
        elif command.interspersed:
            arguments.operands.append(word)
        else:
            arguments.operands += [word, *rest]
            break
    if not arguments.has("help"):
        _count(command, arguments.operands)
    return arguments


def _count(command: Command, operands: list[str]) -> None:
    least, most = command.least, command.most
    if len(operands) < least:
        raise _usage(command, f"{command.name} needs at least {least} argument{'s'[: least != 1]}")
    if most is not None and len(operands) > most:
        raise _usage(command, f"{command.name} does not take {operands[most]!r}")


def _usage(command: Command, message: str, *, hint: str = "") -> UsageError:
    name = f"pcompose {command.name}" if command.name else "pcompose"
    return UsageError(message, hint=hint or f"see '{name} --help'")


def _long(command: Command, arguments: Arguments, text: str, rest: list[str]) -> None:
    name, equals, value = text.partition("=")
    flag = next((f for f in (*command.flags, DRY_RUN, HELP) if f.name == name), None)
    if flag is None:
        raise _unknown(command, name)
    _accept(command, arguments, flag, value if equals else None, rest)


def _unknown(command: Command, name: str) -> UsageError:
    from difflib import get_close_matches  # 3 ms: only where something is wrong

    near = get_close_matches(name, [f.name for f in command.flags if not f.refused], n=1)
    hint = f"did you mean --{near[0]}?" if near else ""
    return _usage(command, f"unknown flag: --{name}", hint=hint)


def _shorts(command: Command, arguments: Arguments, letters: str, rest: list[str]) -> None:
    """`-dT`, `-t5`, `-t=5`, `-t 5`."""
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = next((f for f in (*command.flags, HELP) if f.short == letter), None)
        if flag is None:
            raise _usage(command, f"unknown shorthand flag: '{letter}' in -{letter}{letters}")
        if flag.kind == "bool" and not letters.startswith("="):
            _accept(command, arguments, flag, None, rest)
            continue
        _accept(command, arguments, flag, letters.removeprefix("=") if letters else None, rest)
        return


def _accept(command: Command, arguments: Arguments, flag: Flag, value: str | None,
            rest: list[str]) -> None:  # fmt: skip
    if flag.refused and not (flag.kind == "bool" and value in _FALSE):
        raise UsageError(f"flag --{flag.name} of {command.name or 'pcompose'} is refused: "
                         f"{flag.refused}")
    if flag.kind == "bool":
        arguments.put(flag, _truth(command, flag, value))
        return
    if value is None:
        if not rest:
            raise _usage(command, f"flag needs an argument: --{flag.name}")
        value = rest.pop(0)
    arguments.put(flag, _whole(command, flag, value) if flag.kind == "int" else value)


def _truth(command: Command, flag: Flag, value: str | None) -> bool:
    if value is None or value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise _usage(command, f'invalid argument "{value}" for "{flag}": neither true nor false')


def _whole(command: Command, flag: Flag, value: str) -> int:
    digits = value.removeprefix("-").removeprefix("+") if value[:1] in "+-" else value
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        raise _usage(command, f'invalid argument "{value}" for "{flag}": not a whole number')
    return int(value)


def help_text(command: Command, *, extra: str = "") -> str:
    """What `--help` prints."""
    lines = [f"Usage:  pcompose {command.usage}", "", command.summary]
    if extra:
        lines += ["", extra]
    if command.notes:
        lines += ["", command.notes]
    lines += ["", "Options:", *_flag_lines(command)]
    if command.examples:
        lines += ["", "Examples:"]
        for purpose, typed in command.examples:
            lines += [f"  # {purpose}", f"  pcompose {typed}"]
    return "\n".join(lines)


def _flag_lines(command: Command) -> list[str]:
    shown = sorted(
        (f for f in (*command.flags, DRY_RUN, HELP) if not f.hidden), key=lambda f: f.name
    )
    heads = {f.name: _head(f) for f in shown}
    width = max(map(len, heads.values()))
    return [f"{heads[f.name]:{width}}   {f.help}" for f in shown]


def _head(flag: Flag) -> str:
    short = f"-{flag.short}, " if flag.short else "    "
    value = "" if flag.kind == "bool" else f" {flag.metavar or flag.kind}"
    return f"  {short}--{flag.name}{value}"
