"""What a shell may complete: commands, flags, their values, and the services of the project.

Scripts for bash, zsh and fish ask `pcompose __complete WORDS…`; the last word is the one that is
being typed, and what could stand in its place comes back, a line each, with a tab and an
explanation behind it.  `:files` stands for names of files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from orchestrator.cli.grammar import DRY_RUN, HELP, Command, Flag
from orchestrator.errors import PcomposeError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation

FILES = ":files"
_FILE_FLAGS = {"file", "env-file", "project-directory", "output", "input", "env-from-file"}
_VALUES = {
    "ansi": ("auto", "never", "always"), "progress": ("auto", "tty", "plain", "json", "quiet"),
    "ports": ("fixed", "auto", "none"), "rmi": ("local", "all"), "protocol": ("tcp", "udp"),
    "status": ("paused", "restarting", "removing", "running", "dead", "created", "exited"),
    "format": ("table", "json"),
}  # fmt: skip
_SERVICE_FLAGS = {"attach", "no-attach", "exit-code-from"}

Summaries = dict[str, tuple[str, str]]
"""Command -> (module, summary)."""
Found = list[tuple[str, str]]
"""(word, explanation)."""


def complete(
    words: Sequence[str], root: Command, commands: Summaries,
    project: Callable[[Sequence[str]], Invocation],
) -> Found:  # fmt: skip
    """The candidates for the last of the words.  `project` makes the project of root words."""
    *before, typed = words or [""]
    command, seen, pending = _walk(before, root, commands)
    if typed == "=" and pending is not None:
        typed = ""  # bash makes three words of --flag=value
    if pending is not None and command is root:
        seen.root.pop()  # it has no value yet
    names = _Names(project, seen)
    if pending is not None:
        return _begin(_values(pending, names), typed)
    if typed.startswith("--") and "=" in typed:
        name, _, value = typed[2:].partition("=")
        flag = next((f for f in command.flags if f.name == name), None)
        found = _values(flag, names) if flag is not None else []
        return _begin([(f"--{name}={word}", text) for word, text in found
                       if word.startswith(value)], "")  # fmt: skip
    if typed.startswith("-"):
        return _begin([(f"--{f.name}", f.help) for f in (*command.flags, DRY_RUN, HELP)
                       if f.help and not f.hidden and not f.refused], typed)  # fmt: skip
    if command is root:
        return _begin([(name, text) for name, (_, text) in commands.items()], typed)
    return _begin(_operands(command, seen.operands, names), typed)


def _begin(found: Iterable[tuple[str, str]], typed: str) -> Found:
    return [(word, text) for word, text in found if word == FILES or word.startswith(typed)]


class _Seen:
    """What the words before have said."""

    def __init__(self) -> None:
        self.root: list[str] = []
        """Words before the command."""
        self.operands: list[str] = []


def _walk(
    words: Sequence[str], root: Command, commands: Summaries
) -> tuple[Command, _Seen, Flag | None]:
    """The command that is being typed, and the flag whose value comes next."""
    command, seen, pending = root, _Seen(), None
    for word in words:
        if command is root:
            seen.root.append(word)
        if pending is not None:
            pending = pending if word == "=" else None
        elif word.startswith("-") and len(word) > 1:
            pending = _wants_value(command, word)
        elif command is root and word in commands:
            seen.root.pop()
            command = import_module(f"orchestrator.cli.commands.{commands[word][0]}").COMMAND
        else:
            seen.operands.append(word)
    return command, seen, pending


def _wants_value(command: Command, word: str) -> Flag | None:
    if "=" in word:
        return None
    if word.startswith("--"):
        found = next((f for f in command.flags if f.name == word[2:]), None)
    else:
        found = next((f for f in command.flags if f.short and f.short == word[-1]), None)
    return found if found is not None and found.kind != "bool" else None


class _Names:
    """Names that only the project or the machine knows; none where they cannot be had."""

    def __init__(self, project: Callable[[Sequence[str]], Invocation], seen: _Seen) -> None:
        self._project, self._seen = project, seen

    def services(self) -> Found:
        """Of the files, else of the containers."""
        try:
            project = self._project(self._seen.root).project
            try:
                model = project.model
            except PcomposeError:
                return [(name, "") for name in sorted({c.record.service
                                                       for c in project.ps(all=True)})]  # fmt: skip
            return [(name, s.image or "") for name, s in
                    sorted({**model.disabled, **model.services}.items())]  # fmt: skip
        except PcomposeError:
            return []

    def projects(self) -> Found:
        from orchestrator import api

        try:
            return [(row.name, ",".join(row.config_files)) for row in api.projects()]
        except PcomposeError:
            return []

    def profiles(self) -> Found:
        try:
            model = self._project(self._seen.root).project.model
        except PcomposeError:
            return []
        services = (*model.services.values(), *model.disabled.values())
        return [(name, "") for name in sorted({p for s in services for p in s.profiles})]


def _values(flag: Flag, names: _Names) -> Found:
    if flag.name in _FILE_FLAGS:
        return [(FILES, "")]
    if flag.name == "project-name":
        return names.projects()
    if flag.name == "profile":
        return names.profiles()
    if flag.name == "scale":
        return [(f"{name}=", "") for name, _ in names.services()]
    if flag.name in _SERVICE_FLAGS:
        return names.services()
    return [(word, "") for word in _VALUES.get(flag.name, ())]


def _operands(command: Command, operands: list[str], names: _Names) -> Found:
    if command.name in ("load", "import"):
        return [(FILES, "")]
    if command.name == "cp":
        return [(FILES, ""), *((f"{name}:", "") for name, _ in names.services())]
    if command.name == "scale":
        return [(f"{name}=", "") for name, _ in names.services()]
    if command.name == "analyze" and not operands:
        return [(word, "") for word in ("blame", "chain", "svg")]
    if command.name == "completion" and not operands:
        return [(word, "") for word in SCRIPTS]
    if "SERVICE" not in command.usage:
        return []
    if operands and "SERVICE..." not in command.usage:
        return [(FILES, "")] if command.name in ("exec", "run") else []
    return [(name, text) for name, text in names.services() if name not in operands]


SCRIPTS = {"bash": "pcompose.bash", "fish": "pcompose.fish", "zsh": "_pcompose"}
"""shell -> file beside this one, which a wheel also installs where the shell looks."""


def script(shell: str) -> str:
    """What makes the shell ask us."""
    with open(os.path.join(os.path.dirname(__file__), "shells", SCRIPTS[shell])) as file:
        return file.read()
