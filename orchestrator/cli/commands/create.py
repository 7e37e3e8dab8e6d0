"""`pcompose create`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command, alias, many, number, option, switch
from orchestrator.cli.policies import build_sink, refuse_together, shown, up_policy
from orchestrator.cli.questions import trust_included, with_renewed_volumes

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="create", usage="create [OPTIONS] [SERVICE...]",
    summary="Create containers without starting them",
    examples=(
        ("make everything and start nothing", "create --build"),
    ),
    flags=(
        switch("build", "", "Build images first, those that are there already too"),
        switch("force-recreate", "", "Recreate containers that have not changed"),
        switch("no-build", "", "Build nothing; a missing image is an error"),
        switch("no-recreate", "", "Leave existing containers as they are"),
        option("pull", "", "Pull images first: always, missing or never; or build",
               metavar="policy"),
        switch("quiet-pull", "", "No progress of downloads"),
        switch("remove-orphans", "", "Remove containers of services that are not in the files"),
        many("scale", "", "Number of replicas", metavar="SERVICE=N"),
        number("timeout", "t", "Seconds until a replaced container is killed", metavar="seconds"),
        switch("yes", "y", "Answer yes to questions"),
        alias("y", "yes"),
    ),
)  # fmt: skip


def run(call: Invocation) -> int:
    """As `up --no-start`."""
    refuse_together(call.args, "force-recreate", "no-recreate")
    policy = up_policy(call.args, start=False)
    if shown(call, lambda: call.project.plan(policy)):
        return 0
    trust_included(call)
    policy = with_renewed_volumes(call, policy)
    with call.out.renderer("create") as renderer:
        call.project.up(policy, sink=build_sink(call.args, renderer))
    return 0
