"""`pcompose push`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command, switch
from orchestrator.cli.policies import told, without_downloads

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="push", usage="push [OPTIONS] [SERVICE...]",
    summary="Push the images that services build",
    flags=(
        switch("ignore-push-failures", "", "Go on where an image cannot be pushed"),
        switch("include-deps", "", "Also what the services depend on"),
        switch("quiet", "q", "No progress"),
    ),
)  # fmt: skip


def run(call: Invocation) -> int:
    """Push; what cannot be pushed is told in one go."""
    args = call.args
    if told(call, f"push {' '.join(args.operands) or 'the images of all services'}"):
        return 0
    with call.out.renderer("push") as renderer:
        call.project.push(
            args.operands, ignore_failures=args.has("ignore-push-failures"),
            with_dependencies=args.has("include-deps"),
            sink=without_downloads(renderer) if args.has("quiet") else renderer,
        )  # fmt: skip
    return 0
