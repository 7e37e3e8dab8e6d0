"""`pcompose attach`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command, number, option, switch
from orchestrator.cli.policies import told

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="attach", usage="attach [OPTIONS] SERVICE", least=1, most=1,
    summary="Connect this terminal to the main process of a container",
    flags=(
        option("detach-keys", "", "What to type to leave (ctrl-p,ctrl-q)", metavar="keys"),
        number("index", "", "Number of the replica"),
        switch("no-stdin", "", "Do not pass on what is typed"),
        switch("sig-proxy", "", "=false keeps signals from a container without a terminal"),
    ),
    examples=(("The console of a game server; ctrl-p ctrl-q leaves it running", "attach game"),),
)  # fmt: skip


def run(call: Invocation) -> int:
    """The exit code of the container; 0 where the user left."""
    args = call.args
    if told(call, f"attach to a container of {args.operands[0]}"):
        return 0
    call.out.flush()
    code = call.project.attach(
        args.operands[0], index=args.number("index") or 0, stdin=not args.has("no-stdin"),
        signals=not args.said("sig-proxy") or args.has("sig-proxy"),
        detach_keys=args.text("detach-keys") or "",
    )  # fmt: skip
    if code is None:
        call.out.status("Detached; the container runs on")
    return code or 0
