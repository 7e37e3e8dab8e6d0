"""`pcompose search`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from orchestrator.cli import formats, table, terminal
from orchestrator.cli.grammar import Command, many, number, option, switch
from orchestrator.cli.policies import told
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation
    from orchestrator.image.registry.client import Found


COMMAND = Command(
    name="search", usage="search [OPTIONS] [REGISTRY/]TERM", least=1, most=1,
    summary="Search a registry for images, Docker Hub where none is named",
    flags=(
        many("filter", "f", "is-official=true|false, stars=N", metavar="filter"),
        option("format", "", "table, json, or a Go template"),
        number("limit", "", "Most results"),
        switch("no-trunc", "", "Whole descriptions"),
    ),
)  # fmt: skip
LIMIT = 25
_WIDTH = 45


def run(call: Invocation) -> int:
    """Print what the registry has."""
    from orchestrator import api

    args = call.args
    term = args.operands[0]
    if told(call, f"search for {term}"):
        return 0
    limit = args.number("limit") or LIMIT
    if not 0 < limit <= 100:
        raise UsageError("--limit is from 1 to 100")
    official, stars = _wishes(args.all("filter"))
    registries = api.registries(insecure=call.root.all("insecure-registry"))
    found = [item for item in registries.search(term, most=limit)
             if item.stars >= stars and official in (None, item.is_official)]  # fmt: skip
    form = args.text("format") or "table"
    if form == "json":
        lines = [json.dumps(_fields(item)) for item in found]
    elif form != "table":
        lines = formats.lines(form, [_fields(item) for item in found], least=10)
    else:
        rows = [_cells(item, is_whole=args.has("no-trunc")) for item in found]
        lines = table.table(("NAME", "DESCRIPTION", "STARS", "OFFICIAL"), rows, least=10)
    for line in lines:
        call.out.line(line)
    return 0


def _wishes(filters: list[str]) -> tuple[bool | None, int]:
    """(is-official, least stars)."""
    official, stars = None, 0
    for text in filters:
        key, _, value = text.partition("=")
        if key == "is-official" and value in ("true", "false"):
            official = value == "true"
        elif key == "stars" and value.isdecimal():
            stars = int(value)
        else:
            raise UsageError(f"invalid --filter {text!r}", hint="is-official=true, stars=10")
    return official, stars


def _cells(item: Found, *, is_whole: bool) -> tuple[str, ...]:
    text = " ".join(item.description.split())
    if not is_whole and len(text) > _WIDTH:
        text = text[: _WIDTH - 1] + "…"
    official = "[OK]" if item.is_official else ""
    return terminal.visible(item.name), terminal.visible(text), str(item.stars), official


def _fields(item: Found) -> dict[str, object]:
    return {"Name": item.name, "Description": item.description, "StarCount": str(item.stars),
            "IsOfficial": str(item.is_official).lower()}  # fmt: skip
