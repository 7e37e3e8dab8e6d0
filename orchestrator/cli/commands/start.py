"""`pcompose start`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command, number, switch
from orchestrator.cli.policies import previewed

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="start", usage="start [OPTIONS] [SERVICE...]", summary="Start containers that exist",
    examples=(
        ("and wait until it is ready", "start --wait db"),
    ),
    flags=(
        switch("wait", "", "Wait until services run or are healthy"),
        number("wait-timeout", "", "Most seconds to wait", metavar="seconds"),
    ),
)


def run(call: Invocation) -> int:
    """Dependencies first."""
    if previewed(call, "start"):
        return 0
    args = call.args
    with call.out.renderer("start") as renderer:
        call.project.start(args.operands, wait=args.has("wait"), sink=renderer,
                           wait_timeout=args.number("wait-timeout") or None)  # fmt: skip
    return 0
