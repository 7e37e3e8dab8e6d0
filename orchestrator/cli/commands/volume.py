"""`pcompose volume`: create, ls, inspect, rm, prune; the volumes of the whole machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from orchestrator.cli import moments, table, verbs
from orchestrator.cli.grammar import Command, many, option, switch
from orchestrator.cli.questions import confirmed
from orchestrator.cli.volumes import fields
from orchestrator.errors import PcomposeError, UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="volume",
    usage="volume create NAME | ls | inspect NAME... | rm NAME... | prune",
    summary="Volumes of this machine, of whatever project",
    flags=(
        switch("all", "a", "prune: also named volumes"),
        switch("force", "f", "prune: do not ask; rm: a missing one is no error"),
        option("format", "", "ls: table or json"),
        many("label", "", "create: KEY=VALUE", metavar="label"),
        many("opt", "o", "create: type=, device= or o=", metavar="option"),
        switch("quiet", "q", "ls: names only"),
    ),
    notes="A volume that a container has, running or not, is never removed.",
)  # fmt: skip


def run(call: Invocation) -> int:
    """Do what the verb says."""
    return verbs.dispatch(call, {
        "create": verbs.Verb(_create, 1, 1, ("label", "opt")),
        "ls": verbs.Verb(_list, flags=("quiet", "format")),
        "inspect": verbs.Verb(_inspect, 1, None),
        "rm": verbs.Verb(_remove, 1, None, ("force",)),
        "prune": verbs.Verb(_prune, flags=("all", "force")),
    })  # fmt: skip


def _create(call: Invocation, names: list[str]) -> int:
    from orchestrator import shared

    labels, options = verbs.pairs(call, "label"), verbs.pairs(call, "opt")
    if not call.is_dry_run:
        shared.create_volume(names[0], labels=labels, options=options)
    call.out.line(names[0])
    return 0


def _list(call: Invocation, _: list[str]) -> int:
    from orchestrator import shared

    found = shared.volumes()
    form = call.args.text("format") or "table"
    if call.args.has("quiet"):
        lines = [row.name for row in found]
    elif form == "json":
        lines = [json.dumps(fields(row), separators=(",", ":")) for row in found]
    elif form == "table":
        lines = table.table(("DRIVER", "VOLUME NAME"), [("local", row.name) for row in found])
    else:
        raise UsageError(f'unsupported format "{form}"', hint="table or json")
    for line in lines:
        call.out.line(line)
    return 0


def _inspect(call: Invocation, names: list[str]) -> int:
    from orchestrator import shared

    call.out.line(json.dumps([
        {"CreatedAt": moments.format_rfc3339(row.created), "Driver": "local",
         "Labels": dict(row.labels) or None, "Mountpoint": row.mountpoint, "Name": row.name,
         "Options": dict(row.options) or None, "Scope": "local",
         "Containers": list(row.containers)}
        for row in shared.chosen_volumes(names)
    ], indent=4))  # fmt: skip
    return 0


def _remove(call: Invocation, names: list[str]) -> int:
    """All that can be removed; the others are told, and make it a failure."""
    from orchestrator import shared

    failed = False
    for name in names:
        try:
            if call.is_dry_run:
                shared.chosen_volumes([name])
            else:
                shared.remove_volume(name)
            call.out.line(name)
        except PcomposeError as exc:
            if call.args.has("force") and exc.message.startswith("no such volume"):
                continue
            call.out.warn(exc.message)
            failed = True
    return 1 if failed else 0


def _prune(call: Invocation, _: list[str]) -> int:
    from orchestrator import shared

    found = shared.prunable_volumes(named=call.args.has("all"))
    if call.is_dry_run:
        for row in found:
            call.out.line(row.name)
        return 0
    which = "all" if call.args.has("all") else "anonymous"
    question = f"This will remove {which} volumes that no container has, with their data"
    if not call.args.has("force") and not confirmed(call.out, question):
        return 0
    removed, size = shared.prune_volumes(found)
    if removed:
        call.out.line("Deleted Volumes:")
    for name in removed:
        call.out.line(name)
    call.out.line(f"Total reclaimed space: {table.size(size)}")
    return 0
