"""`pcompose scale`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command, switch
from orchestrator.cli.policies import shown
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="scale", usage="scale [OPTIONS] SERVICE=REPLICAS...", least=1,
    summary="Change the number of replicas of services",
    flags=(switch("no-deps", "", "Leave dependencies alone"),),
    examples=(("Three of one, none of another", "scale web=3 worker=0"),),
)  # fmt: skip


def run(call: Invocation) -> int:
    """As `up -d --scale` of just these services."""
    from orchestrator.plan.policy import UpPolicy

    counts = dict(map(_count, call.args.operands))
    policy = UpPolicy(services=tuple(counts), scale=counts,
                      with_dependencies=not call.args.has("no-deps"))  # fmt: skip
    if shown(call, lambda: call.project.plan(policy)):
        return 0
    with call.out.renderer("scale") as renderer:
        call.project.up(policy, sink=renderer)
    return 0


def _count(text: str) -> tuple[str, int]:
    name, equals, count = text.partition("=")
    if not equals or not name:
        raise UsageError(f"invalid scale specifier: {text}", hint="SERVICE=NUMBER")
    if not (count.isascii() and count.isdecimal() and len(count) < 9):
        raise UsageError(f"invalid scale specifier: can't parse replica value as int: {text}")
    return name, int(count)
