"""`pcompose logout`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command
from orchestrator.cli.policies import told

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="logout", usage="logout [REGISTRY]", most=1,
    summary="Forget the password for a registry, Docker Hub where none is named",
)


def run(call: Invocation) -> int:
    """Say whether there was one."""
    from orchestrator import api

    host = call.args.operands[0] if call.args.operands else ""
    if told(call, f"log out of {host or 'docker.io'}"):
        return 0
    name, was_known = api.registries().log_out(host)
    call.out.line(f"Removing login credentials for {name}" if was_known
                  else f"Not logged in to {name}")
    return 0
