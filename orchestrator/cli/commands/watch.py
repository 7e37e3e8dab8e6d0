"""`pcompose watch`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command, switch
from orchestrator.cli.policies import told, without_build_output

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="watch", usage="watch [OPTIONS] [SERVICE...]",
    summary="Bring changes of files into containers, as `develop.watch` says",
    flags=(
        switch("no-up", "", "Do not build and start first"),
        switch("prune", "", "Remove the image that a rebuild has replaced (default true)"),
        switch("quiet", "", "No output of builds"),
    ),
    examples=(("while you work on the service web", "watch web"),),
)  # fmt: skip


def run(call: Invocation) -> int:
    """Up, then watch until interrupted."""
    from orchestrator.plan.policy import UpPolicy

    args = call.args
    if told(call, "watch " + (" ".join(args.operands) or "all services")):
        return 0
    sink = call.out.line_renderer()
    shown = without_build_output(sink) if args.has("quiet") else sink
    prune = args.has("prune") or not args.said("prune")
    watching = call.live.watch(args.operands, prune=prune, sink=shown)
    if not args.has("no-up"):
        policy = UpPolicy(services=tuple(args.operands), build="always")
        call.project.up(policy, sink=shown)
    with watching:
        watching.run()
    return 0
