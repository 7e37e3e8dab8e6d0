"""`pcompose pause`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command
from orchestrator.cli.policies import told

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation

COMMAND = Command(
    name="pause", usage="pause [SERVICE...]", summary="Let containers stand still",
)


def run(call: Invocation) -> int:
    """Freeze them."""
    if told(call, f"pause {' '.join(call.args.operands) or 'all services'}"):
        return 0
    with call.out.renderer("pause") as renderer:
        found = call.project.pause(call.args.operands, sink=renderer)
    if not found:
        call.out.status("No container to pause")
    return 0
