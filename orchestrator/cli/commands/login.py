"""`pcompose login`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from orchestrator.cli import terminal
from orchestrator.cli.grammar import Command, option, switch
from orchestrator.cli.policies import told
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="login", usage="login [OPTIONS] [REGISTRY]", most=1,
    summary="Log in to a registry, Docker Hub where none is named",
    flags=(
        option("password", "p", "Password; others on the machine can read it here"),
        switch("password-stdin", "", "Read the password from standard input"),
        option("username", "u", "Name"),
    ),
    examples=(("a registry of one's own", "login -u me --password-stdin registry.example.org"),),
    notes="The password is kept where docker keeps it: ~/.docker/config.json, or its helper.",
)  # fmt: skip


def run(call: Invocation) -> int:
    """Ask for what was not given, try it, keep it."""
    from orchestrator import api

    host = call.args.operands[0] if call.args.operands else ""
    if told(call, f"log in to {host or 'docker.io'}"):
        return 0
    user, password = _given(call, host)
    registries = api.registries(insecure=call.root.all("insecure-registry"))
    found = registries.log_in(host, user, password)
    if found.is_readable and user is not None:
        call.out.warn(f"the password is kept readable in {found.place}; a credential helper "
                      "(credsStore there) would keep it elsewhere")
    call.out.line("Login Succeeded")
    return 0


def _given(call: Invocation, host: str) -> tuple[str | None, str | None]:
    args = call.args
    user, password = args.text("username"), args.text("password")
    if args.has("password-stdin"):
        if password is not None:
            raise UsageError("--password and --password-stdin are mutually exclusive")
        if user is None:
            raise UsageError("Must provide --username with --password-stdin")
        password = sys.stdin.readline().rstrip("\r\n")
    elif password is not None:
        call.out.warn("using --password via the CLI is insecure; use --password-stdin")
    if user is not None and password is not None:
        return user, password
    return _asked(user, password, host)


def _asked(user: str | None, password: str | None, host: str) -> tuple[str | None, str | None]:
    from getpass import getpass

    from orchestrator import api

    known = api.registries().stored_user(host)
    if user is None and password is None and known is not None:
        return None, None
    if not terminal.is_terminal(0):
        raise UsageError("there is no terminal to ask for name and password",
                         hint="give --username and --password-stdin")  # fmt: skip
    user = user or input(f"Username{f' ({known})' if known else ''}: ") or known
    return user, password if password is not None else getpass("Password: ")
