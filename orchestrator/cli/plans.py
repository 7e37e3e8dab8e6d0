"""A plan as text for people, or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli import terminal
from orchestrator.cli.output import Output

if TYPE_CHECKING:
    from orchestrator.plan.plan import Plan


def show(out: Output, plan: Plan, *, form: str = "text") -> None:
    """Print the plan and its warnings."""
    for message in plan.warnings:
        out.warn(message)
    if form == "json":
        import json

        out.line(json.dumps({"actions": plan.to_json(), "unchanged": list(plan.unchanged),
                             "warnings": list(plan.warnings)}, indent=2))  # fmt: skip
        return
    if not plan:
        out.line("Nothing to do")
        return
    for line in str(plan).splitlines():
        out.line(terminal.visible(line))
    for reason in reasons(plan):
        out.line(terminal.visible(reason))


def reasons(plan: Plan) -> list[str]:
    """`recreate web: environment.LOG_LEVEL "info" -> "debug" (compose.yaml:14)`."""
    from orchestrator.plan.actions import CreateContainer

    found = (n.action for n in plan if isinstance(n.action, CreateContainer) and n.action.replaces)
    return [f"recreate {action.service}: {action.cause}" for action in found]
