"""Flags that several commands share, as policies of planning; refusals of what makes no sense."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Arguments
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation
    from orchestrator.plan.policy import UpPolicy


def refuse_together(args: Arguments, one: str, other: str) -> None:
    """UsageError where both switches are on."""
    if args.has(one) and args.has(other):
        raise UsageError(f"--{one} and --{other} are incompatible")


def up_policy(args: Arguments, *, start: bool = True) -> UpPolicy:
    """The policy that the flags of `up`, `create` and `plan` mean."""
    from orchestrator.plan.policy import UpPolicy

    ignore = os.environ.get("COMPOSE_IGNORE_ORPHANS", "").lower() in ("1", "t", "true")
    if ignore and args.has("remove-orphans"):
        raise UsageError("cannot combine COMPOSE_IGNORE_ORPHANS and --remove-orphans")
    never = args.has("no-recreate")
    force = args.has("force-recreate")
    return UpPolicy(
        services=tuple(args.operands),
        with_dependencies=not args.has_if_known("no-deps"),
        recreate="never" if never else "force" if force else "diverged",
        recreate_dependencies="never" if never else
        "force" if args.has_if_known("always-recreate-deps") else "diverged",
        scale=_scale(args.all("scale")),
        remove_orphans=args.has("remove-orphans"),
        ignore_orphans=ignore,
        renew_anonymous_volumes=args.has_if_known("renew-anon-volumes"),
        start=start and not args.has_if_known("no-start"),
        timeout=args.number("timeout"),
    )  # fmt: skip


def _scale(texts: Sequence[str]) -> dict[str, int]:
    found = {}
    for text in texts:
        name, equals, count = text.partition("=")
        if not (name and equals and count.isdecimal() and len(count) < 9):
            raise UsageError(f'invalid --scale option "{text}". Should be SERVICE=NUM')
        found[name] = int(count)
    return found


def variables(texts: Sequence[str]) -> dict[str, str | None]:
    """`NAME=VALUE`; `NAME` alone takes our own value, None where we have none."""
    found: dict[str, str | None] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise UsageError(f"bad variable {text!r}", hint="NAME=VALUE or NAME")
        found[name] = value if equals else os.environ.get(name)
    return found


def no_dry_run(call: Invocation) -> None:
    """UsageError where --dry-run has no meaning."""
    if call.is_dry_run:
        raise UsageError(f"--dry-run is not available for {call.args.command}")


def previewed(call: Invocation, verb: str) -> bool:
    """Whether this is a dry run, which has then been shown."""
    if not call.is_dry_run:
        return False
    from orchestrator.cli.plans import show
    from orchestrator.plan.policy import DownPolicy

    show(call.out, call.project.preview(verb, DownPolicy(services=tuple(call.args.operands))))
    return True
