"""`pcompose fork`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command, number
from orchestrator.cli.policies import told
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="fork", usage="fork SNAPSHOT [-n COUNT]", least=1, most=1,
    summary="Bring up more projects that begin with what a snapshot has",
    flags=(number("number", "n", "How many (default 1)"),),
    notes="They are called PROJECT-SNAPSHOT-1 and so on; nothing has a name or a host port that "
          "the files have chosen where that is taken.",
)  # fmt: skip


def run(call: Invocation) -> int:
    """Make them and print their names."""
    from orchestrator.names import normalise_project_name

    snapshot, count = call.args.operands[0], call.args.number("number")
    count = 1 if count is None else count
    if not 0 < count < 1000:
        raise UsageError(f"cannot make {count} forks", hint="a number from 1 to 999")
    word = normalise_project_name(snapshot)
    names = [f"{call.project.name}-{word}-{number}" for number in range(1, count + 1)]
    if told(call, f"make {', '.join(names)}"):
        return 0
    with call.out.renderer("fork") as renderer:
        call.live.fork(snapshot, names, sink=renderer)
    for name in names:
        call.out.line(name)
    return 0
