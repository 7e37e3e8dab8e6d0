"""What `pcompose secrets` and `pcompose configs` have in common: the store for `external: true`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Literal

from orchestrator.cli import table, verbs
from orchestrator.cli.grammar import Command, switch
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation

Kind = Literal["secrets", "configs"]


def command(kind: Kind) -> Command:
    """The grammar of one of the two."""
    return Command(
        name=kind, usage=f"{kind} create NAME FILE|- | ls | rm NAME...",
        summary=f"Keep {kind} for `external: true` on this machine",
        flags=(switch("quiet", "q", "ls: names only"),),
        notes="The content is kept in a file that only you can read.",
    )  # fmt: skip


def run(call: Invocation, kind: Kind) -> int:
    """One verb of one of the two."""
    return verbs.dispatch(call, {
        "create": verbs.Verb(lambda c, rest: _create(c, kind, rest), 2, 2),
        "ls": verbs.Verb(lambda c, _: _list(c, kind), flags=("quiet",)),
        "rm": verbs.Verb(lambda c, rest: _remove(c, kind, rest), 1, None),
    })  # fmt: skip


def _create(call: Invocation, kind: Kind, operands: list[str]) -> int:
    from orchestrator import shared

    name, path = operands
    data = _content(path)
    if not call.is_dry_run:
        shared.create_stored(kind, name, data)
    call.out.line(name)
    return 0


def _content(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}") from exc


def _list(call: Invocation, kind: Kind) -> int:
    from orchestrator import shared

    found = shared.stored(kind)
    if call.args.has("quiet"):
        lines = [entry.name for entry in found]
    else:
        now = time.time()
        rows = [(e.name, table.size(e.size), f"{table.ago(now - e.created)} ago") for e in found]
        lines = table.table(("NAME", "SIZE", "CREATED"), rows, least=20)
    for line in lines:
        call.out.line(line)
    return 0


def _remove(call: Invocation, kind: Kind, names: list[str]) -> int:
    """All that are there; the others are told, and make it a failure."""
    from orchestrator import shared

    missing = []
    for name in names:
        if call.is_dry_run or shared.remove_stored(kind, name):
            call.out.line(name)
        else:
            missing.append(name)
    for name in missing:
        call.out.warn(f"no such {kind[:-1]}: {name}")
    return 1 if missing else 0
