"""`pcompose load`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, BinaryIO

from orchestrator.cli import terminal
from orchestrator.cli.grammar import Command, option, switch
from orchestrator.cli.policies import told
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="load", usage="load [OPTIONS] [ARCHIVE...]",
    summary="Load images from a docker archive or an OCI layout (tar or directory)",
    flags=(
        option("input", "i", "Read this file instead of standard input", metavar="file"),
        switch("quiet", "q", "No progress"),
    ),
)


def run(call: Invocation) -> int:
    """Print the names of what was loaded."""
    return load_all(call, call.args.operands)


def load_all(call: Invocation, archives: list[str]) -> int:
    """As `run`, of these."""
    from orchestrator import api

    given = call.args.text("input")
    sources: list[str | BinaryIO] = [*([given] if given else []), *archives]
    if not sources and terminal.is_terminal(0):
        raise UsageError("there is no archive: standard input is a terminal",
                         hint="pcompose load -i ARCHIVE")  # fmt: skip
    names = ", ".join(str(source) for source in sources) or "standard input"
    if told(call, f"load the images of {names}"):
        return 0
    loaded = []
    with call.out.renderer("load") as renderer:
        for source in sources or [sys.stdin.buffer]:
            loaded += api.image_store().load(source, sink=renderer)
    for name in loaded:
        call.out.line(f"Loaded image: {name}")
    return 0
