"""`pcompose cp`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from orchestrator.cli import terminal
from orchestrator.cli.grammar import Command, number, switch
from orchestrator.cli.policies import told
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="cp", usage="cp [OPTIONS] SERVICE:SRC_PATH DEST_PATH|-\n"
    "        pcompose cp [OPTIONS] SRC_PATH|- SERVICE:DEST_PATH", least=2, most=2,
    summary="Copy files between a service's containers and this machine",
    flags=(
        switch("all", "", "Also containers of run"),
        switch("archive", "a", "Keep owners"),
        switch("follow-link", "L", "A source that is a link stands for what it leads to"),
        number("index", "", "Number of the replica"),
    ),
    examples=(
        ("A file out of the first replica", "cp web:/etc/nginx/nginx.conf ."),
        ("The contents of a directory into all replicas", "cp ./site/. web:/srv"),
        ("A directory as a tar", "cp db:/var/lib/data - | tar -t"),
    ),
)  # fmt: skip


def run(call: Invocation) -> int:
    """Copy one way."""
    args = call.args
    source, target = args.operands
    if told(call, f"copy {source} to {target}"):
        return 0
    if target == "-" and terminal.is_terminal(1):
        raise UsageError("a tar is not written to a terminal", hint="send it to a file or a pipe")
    with call.out.renderer("copy") as renderer:
        call.project.copy(
            source, target, index=args.number("index") or 0, archive=args.has("archive"),
            follow=args.has("follow-link"), oneoffs=args.has("all"), stdin=sys.stdin.buffer,
            stdout=sys.stdout.buffer, sink=renderer,
        )  # fmt: skip
    return 0
