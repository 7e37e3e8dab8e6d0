"""`pcompose plan`: exit code 0 nothing to do, 2 changes, 1 error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli import plans
from orchestrator.cli.grammar import Command, many, number, option, switch
from orchestrator.cli.policies import refuse_together, up_policy
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="plan", usage="plan [OPTIONS] [SERVICE...]", summary="Show what up would do, and why",
    notes="Exit code 0: nothing to do; 2: changes; 1: error.",
    examples=(
        ("would up do anything? 2: yes", "plan >/dev/null; echo $?"),
    ),
    flags=(
        switch("always-recreate-deps", "", "Recreate dependencies too"),
        switch("force-recreate", "", "Recreate containers that have not changed"),
        option("format", "", "text or json"),
        switch("no-deps", "", "Leave dependencies alone"),
        switch("no-recreate", "", "Leave existing containers as they are"),
        switch("no-start", "", "Create only"),
        switch("remove-orphans", "", "Remove containers of services that are not in the files"),
        switch("renew-anon-volumes", "V", "Fresh anonymous volumes"),
        option("ports", "", "Host ports: fixed, auto (another where one is taken) or none"),
        many("scale", "", "Number of replicas", metavar="SERVICE=N"),
        number("timeout", "t", "Seconds until a container is killed", metavar="seconds"),
    ),
)  # fmt: skip
CHANGES = 2


def run(call: Invocation) -> int:
    """Print the plan; touch nothing."""
    refuse_together(call.args, "force-recreate", "no-recreate")
    form = call.args.text("format") or "text"
    if form not in ("text", "json"):
        raise UsageError(f'unsupported format "{form}"', hint="text or json")
    plan = call.project.plan(up_policy(call.args))
    plans.show(call.out, plan, form=form)
    return CHANGES if plan else 0
