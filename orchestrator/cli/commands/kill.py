"""`pcompose kill`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command, option, switch
from orchestrator.cli.policies import previewed

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="kill", usage="kill [OPTIONS] [SERVICE...]",
    summary="Send a signal to running containers",
    examples=(
        ("another signal", "kill -s HUP web"),
    ),
    flags=(
        switch("remove-orphans", "", "Also containers of services that are not in the files"),
        option("signal", "s", "Name or number; SIGKILL where nothing is said"),
    ),
)


def run(call: Invocation) -> int:
    """Send it."""
    args, signal = call.args, call.args.text("signal") or "SIGKILL"
    if previewed(call, "kill", signal=signal, orphans=args.has("remove-orphans")):
        return 0
    with call.out.renderer("kill") as renderer:
        found = call.project.kill(args.operands, signal=signal,
                                  orphans=args.has("remove-orphans"), sink=renderer)  # fmt: skip
    if not found:
        call.out.status("No container to kill")
    return 0
