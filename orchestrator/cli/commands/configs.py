"""`pcompose configs`: create, ls, rm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli import stored

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = stored.command("configs")


def run(call: Invocation) -> int:
    """Do what the verb says."""
    return stored.run(call, "configs")
