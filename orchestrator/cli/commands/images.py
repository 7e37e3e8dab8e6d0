"""`pcompose images`: those of the project, or with --all those of the store."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from orchestrator.cli import formats, moments, table
from orchestrator.cli.grammar import Command, option, switch
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
NONE = "<none>"


def run(call: Invocation) -> int:
    """Print the list."""
    form = call.args.text("format") or "table"
    if call.args.has("all") or _is_nowhere(call):
        return show_store(call, form)
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


def show_store(call: Invocation, form: str) -> int:
    """All images of the machine."""
    from orchestrator import api

    found = api.image_store().rows()
    if call.args.has("quiet"):
        for image in found:
            call.out.line(image.id.removeprefix("sha256:"))
        return 0
    names = [(image, *name) for image in found for name in image.names or ((NONE, NONE),)]
    if form != "table":
        fields = [
            {"ID": image.id, "Repository": repository, "Tag": tag, "Platform": image.platform,
             "Size": image.size, "Created": moments.format_rfc3339(image.created)}
            for image, repository, tag in names
        ]  # fmt: skip
        lines = [json.dumps(fields)] if form == "json" else formats.lines(form, fields, least=20)
        for line in lines:
            call.out.line(line)
        return 0
    now = time.time()
    rows = [
        (repository, tag, image.platform, image.id.removeprefix("sha256:")[:12],
         table.size(image.size),
         "N/A" if image.created is None else f"{table.ago(now - image.created)} ago")
        for image, repository, tag in names
    ]  # fmt: skip
    head = ("REPOSITORY", "TAG", "PLATFORM", "IMAGE ID", "SIZE", "CREATED")
    for line in table.table(head, rows, least=20):
        call.out.line(line)
    return 0
