"""Commands whose first operand is a verb: `volume ls`, `secrets create NAME FILE`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


class Verb(NamedTuple):
    """What a verb does with the operands after it, how many it takes (`most` None: any number),
    and which flags of the command are for it."""

    run: Callable[[Invocation, list[str]], int]
    least: int = 0
    most: int | None = 0
    flags: tuple[str, ...] = ()


def dispatch(call: Invocation, verbs: Mapping[str, Verb]) -> int:
    """Run the verb; UsageError where it is none, or is given what is not for it."""
    command, known = call.args.command, ", ".join(verbs)
    if not call.args.operands:
        raise UsageError(f"{command} needs a verb", hint=f"one of: {known}")
    name, *rest = call.args.operands
    verb = verbs.get(name)
    if verb is None:
        raise UsageError(f"{command} has no verb {name!r}", hint=f"one of: {known}")
    hint = f"see 'pcompose {command} --help'"
    if len(rest) < verb.least:
        raise UsageError(f"{command} {name} needs a name", hint=hint)
    if verb.most is not None and len(rest) > verb.most:
        raise UsageError(f"{command} {name} does not take {rest[verb.most]!r}", hint=hint)
    for flag in call.args.given():
        if flag not in (*verb.flags, "dry-run", "help"):
            raise UsageError(f"{command} {name} does not take --{flag}", hint=hint)
    return verb.run(call, rest)


def pairs(call: Invocation, flag: str) -> dict[str, str]:
    """The KEY=VALUE of a flag that may be repeated; a KEY alone has an empty value."""
    found = {}
    for text in call.args.all(flag):
        key, _, value = text.partition("=")
        if not key:
            raise UsageError(f"invalid --{flag} {text!r}", hint="KEY=VALUE")
        found[key] = value
    return found
