"""`pcompose wait`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command, switch
from orchestrator.cli.policies import previewed, told

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="wait", usage="wait [OPTIONS] SERVICE [SERVICE...]", least=1,
    summary="Wait until the containers of services have ended",
    flags=(switch("down-project", "", "Take the project down afterwards"),),
    examples=(("Run the tests of a stack that is up, and take it down with their exit code",
               "wait --down-project tests"),),
)  # fmt: skip


def run(call: Invocation) -> int:
    """The exit code of the container that ended last."""
    from orchestrator.plan.policy import DownPolicy

    policy = DownPolicy(remove_orphans=True)
    if call.is_dry_run:
        told(call, f"wait for {' '.join(call.args.operands)}")
        return int(call.args.has("down-project") and not previewed(call, "down", policy))
    code = 0
    for container, code in call.project.wait(call.args.operands):
        call.out.line(f'container "{container}" exited with status code {code}')
        call.out.flush()
    if call.args.has("down-project"):
        with call.out.renderer("down") as renderer:
            call.project.down(policy, sink=renderer)
    return code
