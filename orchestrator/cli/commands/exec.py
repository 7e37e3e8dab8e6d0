"""`pcompose exec`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orchestrator.cli import terminal
from orchestrator.cli.grammar import Arguments, Command, alias, many, number, option, switch
from orchestrator.cli.policies import told, variables
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="exec", usage="exec [OPTIONS] SERVICE COMMAND [ARGS...]",
    summary="Run a command in a running container", interspersed=False, least=2,
    examples=(
        ("a shell", "exec web sh"),
        ("in a script", "exec -T db pg_dump shop > shop.sql"),
    ),
    flags=(
        switch("detach", "d", "Do not wait for it"),
        many("env", "e", "Variable", metavar="NAME=VALUE"),
        number("index", "", "Number of the replica"),
        switch("interactive", "i", hidden=True),
        switch("no-tty", "T", "No terminal, even if there is one"),
        switch("privileged", "", "All capabilities"),
        switch("tty", "t", hidden=True),
        option("user", "u", "User, or user:group", metavar="user"),
        option("workdir", "w", "Working directory", metavar="dir"),
        alias("no-TTY", "no-tty"),
    ),
)  # fmt: skip


def wants_terminal(args: Arguments) -> bool:
    """A terminal where ours is one, unless told otherwise."""
    if args.has("no-tty") and args.has("tty"):
        raise UsageError("--tty and --no-tty can't be used together")
    return not args.has("no-tty") and terminal.is_terminal(0) and terminal.is_terminal(1)


def streams(args: Arguments) -> tuple[int, int, int]:
    """Our own three, or nothing to read with `-i=false`."""
    if args.said("interactive") and not args.has("interactive"):
        return os.open(os.devnull, os.O_RDONLY), 1, 2
    return 0, 1, 2


def run(call: Invocation) -> int:
    """The exit code of the command."""
    from orchestrator import api

    args = call.args
    service, *argv = args.operands
    if told(call, f"execute {' '.join(argv)} in a container of {service}"):
        return 0
    call.out.flush()
    session = call.project.exec(
        service, argv, index=args.number("index") or 0, user=args.text("user") or "",
        cwd=args.text("workdir") or "", tty=wants_terminal(args), streams=streams(args),
        environment={k: v for k, v in variables(args.all("env")).items() if v is not None},
        privileged=args.has("privileged"), detach=args.has("detach"),
    )  # fmt: skip
    return api.interact(session)
