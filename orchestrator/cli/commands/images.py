"""`pcompose images`: those of the project, or with --all those of the store."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from orchestrator.cli import formats, moments, storedimages, table
from orchestrator.cli.grammar import Command, option, switch
from orchestrator.cli.storedimages import NONE
from orchestrator.errors import SpecError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation
    from orchestrator.engine.inventory import ImageRow


COMMAND = Command(
    name="images", usage="images [OPTIONS] [SERVICE...]",
    summary="List images of the project's containers, or all of the store",
    examples=(
        ("ids for a script", "images -q"),
    ),
    flags=(
        switch("all", "a", "All images that are here, of whatever project"),
        option("format", "", "table, json, or a Go template"),
        switch("quiet", "q", "Ids only"),
    ),
)

def run(call: Invocation) -> int:
    """Print the list."""
    form = call.args.text("format") or "table"
    if call.args.has("all") or _is_nowhere(call):
        from orchestrator import api

        listing = storedimages.Listing(form=form, is_quiet=call.args.has("quiet"))
        return storedimages.show(call, api.image_store().rows(), listing)
    rows = call.project.images(call.args.operands)
    if call.args.has("quiet"):
        lines = list(dict.fromkeys(row.id.removeprefix("sha256:") for row in rows))
    elif form == "json":
        lines = [json.dumps([_fields(row) for row in rows], separators=(",", ":"))]
    elif form != "table":
        lines = formats.lines(form, [_fields(row) for row in rows], least=20)
    else:
        head = ("CONTAINER", "REPOSITORY", "TAG", "PLATFORM", "IMAGE ID", "SIZE", "CREATED")
        lines = table.table(head, [_cells(row) for row in rows], least=20)
    for line in lines:
        call.out.line(line)
    return 0


def _is_nowhere(call: Invocation) -> bool:
    """Without a project there is still the store to be looked at."""
    try:
        return not call.args.operands and not call.project.name
    except SpecError:
        return True


def _cells(row: ImageRow) -> tuple[str, ...]:
    created = "N/A" if row.created is None else f"{table.ago(time.time() - row.created)} ago"
    id_ = row.id.removeprefix("sha256:")[:12]
    return (row.container, row.repository or NONE, row.tag or NONE, row.platform, id_,
            table.size(row.size), created)  # fmt: skip


def _fields(row: ImageRow) -> dict[str, object]:
    return {
        "ID": row.id, "ContainerName": row.container, "Repository": row.repository,
        "Tag": row.tag, "Platform": row.platform, "Size": row.size,
        "Created": moments.format_rfc3339(row.created),
        "LastTagTime": moments.format_rfc3339(row.tagged),
    }  # fmt: skip
