"""`pcompose commit`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command, many, number, option, switch
from orchestrator.cli.policies import told
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="commit", usage="commit [OPTIONS] SERVICE [NAME[:TAG]]", least=1, most=2,
    summary="Make an image of what a container has become",
    flags=(
        option("author", "a", "Who made it"),
        many("change", "c", "Instruction for the image, such as CMD or ENV",
             metavar="instruction"),
        number("index", "", "Number of the replica"),
        option("message", "m", "Comment in the image's history"),
        switch("pause", "p", "Let the container stand still meanwhile, as is always done"),
    ),
    notes="What is mounted in the container, volumes above all, is no part of the image.",
)  # fmt: skip


def run(call: Invocation) -> int:
    """Print the id of the image."""
    args = call.args
    service, *name = args.operands
    if args.said("pause") and not args.has("pause"):
        raise UsageError("a container that goes on cannot be committed",
                         hint="leave out --pause=false")
    if told(call, f"make an image of a container of {service}"):
        return 0
    with call.out.renderer("commit") as renderer:
        made = call.project.commit(
            service, name[0] if name else None, index=args.number("index") or 0,
            author=args.text("author") or "", message=args.text("message") or "",
            changes=args.all("change"), sink=renderer,
        )  # fmt: skip
    call.out.line(made)
    return 0
