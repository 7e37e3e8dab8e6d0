"""`pcompose completion`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="completion", usage="completion bash|zsh|fish",
    summary="Print what makes a shell complete commands, flags and services", least=1, most=1,
    examples=(
        ("bash, for all users", "completion bash > /etc/bash_completion.d/pcompose"),
        ("zsh", "completion zsh > \"${fpath[1]}/_pcompose\""),
        ("fish", "completion fish > ~/.config/fish/completions/pcompose.fish"),
    ),
)  # fmt: skip


def run(call: Invocation) -> int:
    """Print the script."""
    from orchestrator.cli.completion import SCRIPTS, script

    shell = call.args.operands[0]
    if shell not in SCRIPTS:
        raise UsageError(f"no completion for {shell}", hint="bash, zsh or fish")
    call.out.stdout.write(script(shell))
    return 0
