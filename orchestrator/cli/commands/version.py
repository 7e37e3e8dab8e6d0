"""`pcompose version`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator import __version__
from orchestrator.cli.grammar import Command, option, switch
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation

COMMAND = Command(
    name="version", usage="version [OPTIONS]", summary="Print the version", most=0,
    examples=(
        ("for a script", "version --short"),
    ),
    flags=(option("format", "f", "pretty or json"), switch("short", "", "Only the number")),
)  # fmt: skip


def run(call: Invocation) -> int:
    """Print it."""
    form = call.args.text("format") or "pretty"
    if form not in ("pretty", "json"):
        raise UsageError(f'format value "{form}" could not be parsed')
    if call.args.has("short"):
        call.out.line(__version__)
    elif form == "json":
        call.out.line(f'{{"version":"v{__version__}"}}')
    else:
        call.out.line(f"pcompose version v{__version__}")
    return 0
