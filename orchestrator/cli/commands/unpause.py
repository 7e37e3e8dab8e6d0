"""`pcompose unpause`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command
from orchestrator.cli.policies import told

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation

COMMAND = Command(
    name="unpause", usage="unpause [SERVICE...]", summary="Let paused containers go on",
)


def run(call: Invocation) -> int:
    """Thaw them."""
    if told(call, f"unpause {' '.join(call.args.operands) or 'all services'}"):
        return 0
    with call.out.renderer("unpause") as renderer:
        found = call.project.unpause(call.args.operands, sink=renderer)
    if not found:
        call.out.status("No container to unpause")
    return 0
