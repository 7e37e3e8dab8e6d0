"""Writes docs/cli-reference.md, docs/pcompose.1 and the table of docs/commands.md from the tables
that the command line itself is made of: `make docs`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from orchestrator import __version__
from orchestrator.cli import grammar, main
from orchestrator.cli.grammar import Command

HERE = Path(__file__).parent
PAGE, MANUAL, COMMANDS = HERE / "cli-reference.md", HERE / "pcompose.1", HERE / "commands.md"
DATE = "2026-11-26"
"""Of the manual page."""
HEAD = """# CLI reference

Every command, as `pcompose COMMAND --help` prints it. This page is made by `make docs`; a test
compares. [commands.md](commands.md) tells what differs from `docker compose`, and exit codes.
"""
ENVIRONMENT = (
    ("COMPOSE_FILE", "the files, separated by `:` (COMPOSE_PATH_SEPARATOR)"),
    ("COMPOSE_PROJECT_NAME", "the project's name"),
    ("COMPOSE_PROFILES", "profiles, separated by commas"),
    ("COMPOSE_ENV_FILES", "files with variables, separated by commas"),
    ("COMPOSE_PARALLEL_LIMIT", "as --parallel"),
    ("COMPOSE_COMPATIBILITY", "as --compatibility"),
    ("COMPOSE_ANSI, COMPOSE_PROGRESS", "as --ansi and --progress"),
    ("COMPOSE_IGNORE_ORPHANS", "say nothing of orphans"),
    ("COMPOSE_STATUS_STDOUT", "1: progress goes to standard output"),
    ("NO_COLOR", "no colours"),
    ("PCOMPOSE_DATA, PCOMPOSE_RUN", "where images, volumes and records are, and what runs"),
)


def every() -> Iterator[tuple[str, str, Command]]:
    """(name, summary, command) of all commands, by name."""
    for name, (module, summary) in sorted(main.COMMANDS.items()):
        yield name, summary, import_module(f"orchestrator.cli.commands.{module}").COMMAND


def shown(flags: list[str]) -> str:
    return " ".join(f"`--{name}`" for name in sorted(flags)) or "–"


def row(name: str, command: Command) -> str:
    """The line of a command in docs/commands.md."""
    there = [f.name for f in command.flags if not f.refused and not f.hidden]
    refused = [f.name for f in command.flags if f.refused]
    return f"| `{name}` | {shown(there)} | {shown(refused)} |"


def with_table(page: str) -> str:
    """docs/commands.md with the table of the code in the place of the one it has."""
    rows = [row("pcompose", main.ROOT), *(row(name, command) for name, _, command in every())]
    rule = page.index("\n|---", page.index("| command | flags |")) + 1
    start = page.index("\n", rule) + 1
    return page[:start] + "\n".join(rows) + page[page.index("\n\n", start):]


def reference() -> str:
    """docs/cli-reference.md."""
    parts = [HEAD, "\n```text\n", grammar.help_text(main.ROOT), "\n```\n"]
    parts += [f"* [`{name}`](#{name}): {summary}\n" for name, summary, _ in every()]
    for name, _, command in every():
        parts.append(f"\n## {name}\n\n```text\n{grammar.help_text(command)}\n```\n")
    variables = "".join(f"| `{name}` | {text} |\n" for name, text in ENVIRONMENT)
    parts.append(f"\n## Environment\n\n| variable | meaning |\n|---|---|\n{variables}")
    return "".join(parts)


def escaped(text: str) -> str:
    """Text for troff."""
    lines = text.replace("\\", "\\e").replace("-", "\\-").split("\n")
    return "\n".join("\\&" + line if line.startswith((".", "'")) else line for line in lines)


def manual() -> str:
    """The manual page, for man(1)."""
    lines = [
        f'.TH PCOMPOSE 1 "{DATE}" "pcompose {__version__}" "User Commands"', ".SH NAME",
        f"pcompose \\- {escaped(main.ROOT.summary)}", ".SH SYNOPSIS",
        f".B pcompose\n{escaped(main.ROOT.usage)}", ".SH OPTIONS", *_options(main.ROOT),
        ".SH COMMANDS",
    ]  # fmt: skip
    for name, _, command in every():
        lines += [f".SS {escaped(name)}", f".B pcompose {escaped(command.usage)}", ".PP",
                  escaped(command.summary) + "."]  # fmt: skip
        lines += [".PP", escaped(command.notes)] if command.notes else []
        lines += _options(command)
        for purpose, typed in command.examples:
            lines += [".PP", f"{escaped(purpose)}:", ".PP", ".RS", f"pcompose {escaped(typed)}",
                      ".RE"]  # fmt: skip
    lines.append(".SH ENVIRONMENT")
    for name, text in ENVIRONMENT:
        lines += [".TP", f".B {escaped(name)}", escaped(text)]
    lines += [".SH EXIT STATUS", "0: done; 1: an error; 2: plan has changes; 126, 127: a command "
              "cannot be executed, or is not there; 130: interrupted; else that of the container.",
              ".SH SEE ALSO", "docs/commands.md, docs/troubleshooting.md"]  # fmt: skip
    return "\n".join(lines) + "\n"


def _options(command: Command) -> list[str]:
    lines = []
    for flag in sorted(command.flags, key=lambda f: f.name):
        if not flag.hidden and not flag.refused:
            value = "" if flag.kind == "bool" else f" {flag.metavar or flag.kind}"
            lines += [".TP", f".B {escaped(str(flag))}{escaped(value)}", escaped(flag.help)]
    return lines


if __name__ == "__main__":
    COMMANDS.write_text(with_table(COMMANDS.read_text()))
    PAGE.write_text(reference())
    MANUAL.write_text(manual())
