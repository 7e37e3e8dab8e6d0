"""A plan as text for people, or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli import terminal
from orchestrator.cli.output import Output

if TYPE_CHECKING:
    from orchestrator.plan.plan import Plan


def show(out: Output, plan: Plan, *, form: str = "text", mark: str = "") -> None:
    """Print the plan and its warnings; `mark` is put before each line."""
    for message in plan.warnings:
        out.warn(message)
    if form == "json":
        import json

        out.line(json.dumps({"actions": plan.to_json(), "unchanged": list(plan.unchanged),
                             "warnings": list(plan.warnings)}, indent=2))  # fmt: skip
        return
    if not plan:
        out.line(f"{mark}Nothing to do")
        return
    for line in str(plan).splitlines():
        out.line(mark + terminal.visible(line))
    for reason in plan.reasons():
        out.line(mark + terminal.visible(reason))
