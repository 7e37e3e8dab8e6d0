"""`pcompose restart`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command, number, switch
from orchestrator.cli.policies import previewed

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="restart", usage="restart [OPTIONS] [SERVICE...]", summary="Restart containers",
    notes="Changes of the files are not applied: that is what up is for.",
    examples=(
        ("with a shorter grace period", "restart -t 2 web"),
    ),
    flags=(
        switch("no-deps", "", "Leave alone those that want to be restarted with them"),
        number("timeout", "t", "Seconds until a container is killed", metavar="seconds"),
    ),
)


def run(call: Invocation) -> int:
    """Stop and start."""
    dependents = not call.args.has("no-deps")
    if previewed(call, "restart", dependents=dependents):
        return 0
    args = call.args
    with call.out.renderer("restart") as renderer:
        call.project.restart(args.operands, timeout=args.number("timeout"), sink=renderer,
                             dependents=dependents)  # fmt: skip
    return 0
