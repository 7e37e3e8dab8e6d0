"""Questions before something is lost, asked and answered as docker compose does."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from orchestrator.cli import terminal
from orchestrator.cli.output import Output
from orchestrator.dataclass import replace
from orchestrator.errors import PcomposeError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation
    from orchestrator.plan.policy import UpPolicy

_YES = ("y", "1", "t", "true")


def confirmed(out: Output, question: str) -> bool:
    """Whether a word from standard input says yes; `yes` itself does not, as everywhere."""
    asked = f"? {question} (y/N) " if terminal.is_terminal(0) else f"{question}\n"
    out.stdout.write(asked)
    out.flush()
    return sys.stdin.readline().strip().lower() in _YES


def trust_included(call: Invocation) -> None:
    """PcomposeError where the files include applications of registries, which may mount what they
    like, and the user does not want that."""
    urls = call.project.included_applications()
    if not urls or call.args.has("yes"):
        return
    lines = ["The project includes files from elsewhere, which may do whatever you may:", *urls]
    if not confirmed(call.out, "\n".join([*lines, "Do you trust them?"])):
        raise PcomposeError("operation cancelled by user")


def with_renewed_volumes(call: Invocation, policy: UpPolicy) -> UpPolicy:
    """The policy with the changed volumes that the user gives up, asked one by one; --yes gives up
    all of them."""
    chosen = [
        name for name in call.project.changed_volumes()
        if call.args.has("yes") or confirmed(
            call.out, f'Volume "{name}" exists but doesn\'t match configuration in compose file. '
            "Recreate (data will be lost)?")
    ]  # fmt: skip
    return replace(policy, renew_volumes=tuple(chosen))
