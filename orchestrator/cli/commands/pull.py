"""`pcompose pull`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command, option, switch
from orchestrator.cli.policies import told, without_downloads
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="pull", usage="pull [OPTIONS] [SERVICE...]", summary="Pull the images of services",
    flags=(
        switch("ignore-buildable", "", "Leave out services that can be built"),
        switch("ignore-pull-failures", "", "Go on where an image cannot be pulled"),
        switch("include-deps", "", "Also what the services depend on"),
        switch("no-parallel", "", hidden=True),
        switch("parallel", "", hidden=True),
        option("policy", "", "missing: only what is not here; always", metavar="policy"),
        switch("quiet", "q", "No progress"),
    ),
    examples=(("the newest images of all services", "pull"),
              ("one service and what it needs", "pull --include-deps web")),
)  # fmt: skip


def run(call: Invocation) -> int:
    """Pull; what cannot be pulled is told in one go."""
    args = call.args
    policy = args.text("policy") or ""
    if policy not in ("", "always", "missing"):
        raise UsageError(f'invalid --policy option "{policy}"', hint="always or missing")
    if told(call, f"pull {' '.join(args.operands) or 'the images of all services'}"):
        return 0
    with call.out.renderer("pull") as renderer:
        call.project.pull(
            args.operands, policy=policy, ignore_buildable=args.has("ignore-buildable"),
            ignore_failures=args.has("ignore-pull-failures"),
            with_dependencies=args.has("include-deps"),
            sink=without_downloads(renderer) if args.has("quiet") else renderer,
        )  # fmt: skip
    return 0
