"""`pcompose rm`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command, switch
from orchestrator.cli.policies import previewed
from orchestrator.cli.questions import confirmed

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="rm", usage="rm [OPTIONS] [SERVICE...]", summary="Remove stopped containers",
    examples=(
        ("stop and remove one service", "rm -sf web"),
    ),
    flags=(
        switch("all", "a", hidden=True),
        switch("force", "f", "Do not ask"),
        switch("stop", "s", "Stop them first"),
        switch("volumes", "v", "Also anonymous volumes"),
    ),
)


def run(call: Invocation) -> int:
    """Ask and remove."""
    args = call.args
    if previewed(call, "rm", stop=args.has("stop")):
        return 0
    names = call.project.removable(args.operands, stop=args.has("stop"))
    if not names:
        call.out.status("No stopped containers")
        return 0
    going = f"Going to remove {', '.join(names)}"
    if args.has("force"):
        call.out.line(going)
        call.out.flush()
    elif not confirmed(call.out, going):
        return 0
    with call.out.renderer("rm") as renderer:
        call.project.rm(args.operands, stop=args.has("stop"), volumes=args.has("volumes"),
                        sink=renderer)  # fmt: skip
    return 0
