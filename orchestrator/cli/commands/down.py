"""`pcompose down`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command, alias, number, option, switch
from orchestrator.cli.policies import previewed
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="down", usage="down [OPTIONS] [SERVICE...]",
    summary="Stop and remove containers and networks",
    examples=(
        ("containers and networks", "down"),
        ("volumes too, at once", "down -v -t 0"),
    ),
    flags=(
        switch("remove-orphans", "", "Also containers of services that are not in the files"),
        option("rmi", "", 'Remove images: "local" or "all"'),
        number("timeout", "t", "Seconds until a container is killed", metavar="seconds"),
        switch("volumes", "v", "Also volumes, with their data"),
        alias("volume", "volumes"),
    ),
)  # fmt: skip


def run(call: Invocation) -> int:
    """Take it down; nothing there is no error."""
    from orchestrator.plan.policy import DownPolicy

    args = call.args
    images = args.text("rmi")
    if images not in (None, "local", "all"):
        raise UsageError(f'invalid value for --rmi: "{images}"')
    policy = DownPolicy(
        services=tuple(args.operands), timeout=args.number("timeout"),
        volumes=args.has("volumes"), remove_orphans=args.has("remove-orphans"),
    )  # fmt: skip
    if previewed(call, "down", policy):
        return 0
    with call.out.renderer("down") as renderer:
        found = call.project.down(policy, images=images, sink=renderer)
    if not found:
        name = call.project.name
        call.out.warn(f'Warning: No resource found to remove for project "{name}".')
    return 0
