"""`pcompose snapshot`: save, restore, ls, rm."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Literal

from orchestrator.cli import moments, table, verbs
from orchestrator.cli.grammar import Command, option, switch
from orchestrator.cli.policies import told
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation
    from orchestrator.state.records import SnapshotRecord


COMMAND = Command(
    name="snapshot",
    usage="snapshot save NAME [SERVICE...] | restore NAME [SERVICE...] | ls | rm NAME...",
    summary="Keep what volumes and containers have in them, and bring it back",
    flags=(
        option("format", "", "ls: table or json"),
        switch("quiet", "q", "ls: names only"),
    ),
    notes="Whoever has the volumes is stopped for a save and killed for a restore, and then "
          "started again.  Volumes are not copied: they become layers.",
)  # fmt: skip


def run(call: Invocation) -> int:
    """Do what the verb says."""
    return verbs.dispatch(call, {
        "save": verbs.Verb(partial(_move, verb="save"), 1, None),
        "restore": verbs.Verb(partial(_move, verb="restore"), 1, None),
        "ls": verbs.Verb(_list, flags=("quiet", "format")),
        "rm": verbs.Verb(_remove, 1, None),
    })  # fmt: skip


def _move(call: Invocation, words: list[str], *, verb: Literal["save", "restore"]) -> int:
    name, *services = words
    if told(call, f"{verb} snapshot {name}"):
        return 0
    act = call.live.save_snapshot if verb == "save" else call.live.restore_snapshot
    with call.out.renderer(f"snapshot {verb}") as renderer:
        act(name, services, sink=renderer)
    return 0


def _list(call: Invocation, _: list[str]) -> int:
    found = call.live.snapshots()
    form = call.args.text("format") or "table"
    if form not in ("table", "json"):
        raise UsageError(f'invalid value for --format: "{form}"', hint="table or json")
    if call.args.has("quiet"):
        for record in found:
            call.out.line(record.name)
    elif form == "json":
        for record in found:
            call.out.line(json.dumps(_fields(record)))
    else:
        rows = [(str(f["Name"]), str(f["CreatedAt"]), str(len(record.volumes)),
                 str(len(record.containers)))
                for record in found for f in [_fields(record)]]  # fmt: skip
        for line in table.table(("NAME", "CREATED", "VOLUMES", "CONTAINERS"), rows):
            call.out.line(line)
    return 0


def _fields(record: SnapshotRecord) -> dict[str, object]:
    return {"Name": record.name, "Project": record.project,
            "CreatedAt": moments.format_rfc3339(record.created_at),
            "Volumes": sorted(record.volumes), "Containers": sorted(record.containers)}  # fmt: skip


def _remove(call: Invocation, names: list[str]) -> int:
    if not told(call, f"remove {', '.join(names)}"):
        call.live.remove_snapshots(names)
        for name in names:
            call.out.line(name)
    return 0
