"""`pcompose stop`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command, number
from orchestrator.cli.policies import previewed

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="stop", usage="stop [OPTIONS] [SERVICE...]", summary="Stop containers",
    examples=(
        ("one service", "stop web"),
    ),
    flags=(number("timeout", "t", "Seconds until a container is killed", metavar="seconds"),),
)


def run(call: Invocation) -> int:
    """Dependents first."""
    if previewed(call, "stop"):
        return 0
    with call.out.renderer("stop") as renderer:
        call.project.stop(call.args.operands, timeout=call.args.number("timeout"), sink=renderer)
    return 0
