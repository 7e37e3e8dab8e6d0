"""`pcompose image`: the images of the whole machine, looked at, named, removed, saved and made."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

from orchestrator.cli import formats, moments, storedimages, table, terminal, verbs
from orchestrator.cli.commands import import_image, load
from orchestrator.cli.grammar import Command, many, option, switch
from orchestrator.cli.policies import told, without_downloads
from orchestrator.cli.questions import confirmed
from orchestrator.errors import PcomposeError, UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation
    from orchestrator.engine.imagestore import ImageDetails


COMMAND = Command(
    name="image",
    usage="image ls | inspect NAME... | history NAME | tag NAME NEW | rm NAME... | prune | df | "
          "pull NAME... | push NAME... | save NAME... | load [ARCHIVE...] | import ARCHIVE NAME | "
          "bootstrap NAME",
    summary="Images of this machine, of whatever project",
    flags=(
        switch("all", "a", "prune: also images with a name that no container uses; ls: as without"),
        switch("build-cache", "", "prune: also what builds remember"),
        many("change", "c", "import: instruction for the image, such as CMD or ENV",
             metavar="instruction"),
        switch("digests", "", "ls: what registries call them"),
        many("filter", "", "ls, prune: dangling=, label=, label!=, until=; ls: before=, since=, "
             "reference=", metavar="filter"),
        switch("force", "f", "prune: do not ask; rm: also an image with several names"),
        option("format", "", "ls, history, df: table, json or a Go template; inspect: the latter"),
        switch("human", "H", "history: sizes and times for people; --human=false: for programs"),
        many("include", "", "bootstrap: package that is to be in it", metavar="package"),
        option("input", "i", "load: read this file", metavar="file"),
        option("message", "m", "import: comment", metavar="text"),
        option("mirror", "", "bootstrap: where packages come from", metavar="URL"),
        switch("no-trunc", "", "ls, history: whole ids, whole instructions"),
        option("output", "o", "save: write to this file", metavar="file"),
        option("platform", "", "pull: for another machine than this one", metavar="os/arch"),
        switch("quiet", "q", "ls, history: ids only; load, pull, push: no progress"),
    ),
    notes="An image that a container is made of, running or not, is never removed.\n"
          "bootstrap makes debian:bookworm, debian:12-slim, ubuntu:24.04 with mmdebstrap.",
)  # fmt: skip
_WIDTH = 45


def run(call: Invocation) -> int:
    """Do what the verb says."""
    return verbs.dispatch(call, {
        "ls": verbs.Verb(_list, 0, 1, ("all", "digests", "filter", "format", "no-trunc", "quiet")),
        "inspect": verbs.Verb(_inspect, 1, None, ("format",)),
        "history": verbs.Verb(_history, 1, 1, ("quiet", "format", "no-trunc", "human")),
        "tag": verbs.Verb(_tag, 2, 2),
        "rm": verbs.Verb(_remove, 1, None, ("force",)),
        "prune": verbs.Verb(_prune, flags=("all", "force", "build-cache", "filter")),
        "df": verbs.Verb(_usage, flags=("format",)),
        "pull": verbs.Verb(_pull, 1, None, ("platform", "quiet")),
        "push": verbs.Verb(_push, 1, None, ("quiet",)),
        "save": verbs.Verb(_save, 1, None, ("output",)),
        "load": verbs.Verb(load.load_all, 0, None, ("input", "quiet")),
        "import": verbs.Verb(import_image.import_one, 2, 2, ("change", "message")),
        "bootstrap": verbs.Verb(_bootstrap, 1, 1, ("include", "mirror")),
    })  # fmt: skip


def _list(call: Invocation, names: list[str]) -> int:
    """All, or those of a name, or of a repository."""
    from orchestrator import api

    args = call.args
    wishes, until = storedimages.filters(call)
    listing = storedimages.Listing(
        form=args.text("format") or "table", is_quiet=args.has("quiet"),
        is_whole=args.has("no-trunc"), has_digests=args.has("digests"),
    )  # fmt: skip
    wishes += [f"reference={name}" for name in names]
    return storedimages.show(call, api.image_store().rows(wishes, until=until), listing)


def _inspect(call: Invocation, names: list[str]) -> int:
    from orchestrator import api

    store = api.image_store()
    found = [_fields(store.details(name)) for name in names]
    form = call.args.text("format") or ""
    lines = formats.lines(form, found) if formats.is_template(form) else [
        json.dumps(found, indent=None if form == "json" else 4)]  # fmt: skip
    for line in lines:
        call.out.line(line)
    return 0


def _fields(found: ImageDetails) -> dict[str, object]:
    """The fields of `docker image inspect` that mean something here."""
    image, document = found.image, found.document
    return {
        "Id": image.id, "RepoTags": list(image.references),
        "RepoDigests": list(found.digests), "Author": document.get("author", ""),
        "Created": moments.format_rfc3339(image.created),
        "Architecture": document.get("architecture"), "Os": document.get("os"),
        "Variant": document.get("variant", ""), "Size": image.size,
        "Config": document.get("config", {}),
        "RootFS": {"Type": "layers", "Layers": list(found.file.diff_ids)},
        "Metadata": {"LastTagTime": moments.format_rfc3339(image.tagged)},
    }  # fmt: skip


def _history(call: Invocation, names: list[str]) -> int:
    from orchestrator import api

    rows = _history_rows(api.image_store().details(names[0]))[::-1]
    form = call.args.text("format") or "table"
    if form == "json":
        lines = [json.dumps(row, separators=(",", ":")) for row in rows]
    elif form != "table":
        lines = formats.lines(form, rows)
    elif call.args.has("quiet"):
        lines = [str(row["ID"]) for row in rows]
    else:
        lines = table.table(("IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"),
                            [_cells(call, row) for row in rows])  # fmt: skip
    for line in lines:
        call.out.line(line)
    return 0


def _cells(call: Invocation, row: dict[str, object]) -> tuple[str, ...]:
    whole = call.args.has("no-trunc")
    is_human = call.args.has("human") or not call.args.said("human")
    return (
        str(row["ID"]) if whole else _short(str(row["ID"])),
        str(row["CreatedSince" if is_human else "CreatedAt"]),
        _cut(str(row["CreatedBy"]), whole=whole),
        table.size(int(str(row["Size"]))) if is_human else str(row["Size"]), str(row["Comment"]),
    )  # fmt: skip


def _short(id_: str) -> str:
    return id_.removeprefix("sha256:")[:12]


def _cut(text: str, *, whole: bool) -> str:
    visible = terminal.visible(" ".join(text.split()))
    return visible if whole or len(visible) <= _WIDTH else f"{visible[: _WIDTH - 1]}…"


def _history_rows(found: ImageDetails) -> list[dict[str, object]]:
    """Oldest first; only the last has the image's id, as steps between are no images."""
    rows: list[dict[str, object]] = []
    left = iter(found.sizes)
    for item in found.file.history:
        since = "N/A" if item.created is None else f"{table.ago(time.time() - item.created)} ago"
        rows.append({
            "ID": "<missing>", "CreatedAt": moments.format_rfc3339(item.created),
            "CreatedSince": since, "CreatedBy": item.created_by, "Comment": item.comment,
            "Size": 0 if item.empty_layer else next(left, 0),
        })  # fmt: skip
    unknown = {"ID": "<missing>", "CreatedAt": None, "CreatedSince": "N/A", "CreatedBy": "",
               "Comment": ""}
    rows += [{**unknown, "Size": size} for size in left]  # it does not say how they came to be
    if rows:
        rows[-1]["ID"] = found.image.id
    return rows


def _tag(call: Invocation, names: list[str]) -> int:
    from orchestrator import api

    if not call.is_dry_run:
        api.image_store().tag(*names)
    return 0


def _remove(call: Invocation, names: list[str]) -> int:
    """All that can be removed; the others are told, and make it a failure."""
    from orchestrator import api

    store, failed = api.image_store(), False
    for name in names:
        try:
            if call.is_dry_run:
                call.out.line(f"Untagged: {store.details(name).image.id}")
                continue
            gone, ids = store.remove(name, force=call.args.has("force"))
        except PcomposeError as exc:
            call.out.warn(exc.message)
            failed = True
            continue
        for text in gone:
            call.out.line(f"Untagged: {text}")
        for text in ids:
            call.out.line(f"Deleted: {text}")
    return 1 if failed else 0


def _prune(call: Invocation, _: list[str]) -> int:
    from orchestrator import api

    store = api.image_store()
    wishes, until = storedimages.filters(call)
    found = store.prunable(everything=call.args.has("all"), filters=wishes, until=until)
    if call.is_dry_run:
        for image in found:
            call.out.line(image.id)
        return 0
    which = "all images that no container uses" if call.args.has("all") else "all dangling images"
    cache = call.args.has("build-cache")
    question = f"This will remove {which}{', and the build cache' if cache else ''}"
    if not call.args.has("force") and not confirmed(call.out, question):
        return 0
    pruned = store.prune(found, cache=cache)
    if pruned.images:
        call.out.line("Deleted Images:")
    for text in pruned.images:
        call.out.line(text)
    if cache:
        call.out.line(f"Deleted build steps: {pruned.steps}")
    call.out.line(f"Total reclaimed space: {table.size(pruned.size)}")
    return 0


def _save(call: Invocation, names: list[str]) -> int:
    from orchestrator import api

    path = call.args.text("output")
    if path is None and terminal.is_terminal(1):
        raise UsageError("an archive is not for a terminal", hint="-o FILE, or redirect it")
    if call.is_dry_run:
        return 0
    if path is None:
        api.image_store().save(names, sys.stdout.buffer.write)
        sys.stdout.buffer.flush()
    else:
        api.image_store().save_to(names, path)
    return 0


def _usage(call: Invocation, _: list[str]) -> int:
    """As `docker system df`, of what has to do with images."""
    from orchestrator import api

    rows = api.image_store().usage()
    form = call.args.text("format") or "table"
    fields = [{"Type": row.kind, "TotalCount": row.count, "Active": row.active, "Size": row.size,
               "Reclaimable": row.reclaimable} for row in rows]  # fmt: skip
    if form == "json":
        lines = [json.dumps(item, separators=(",", ":")) for item in fields]
    elif form == "table":
        lines = table.table(("TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"), [
            (row.kind, str(row.count), str(row.active), table.size(row.size),
             table.size(row.reclaimable)) for row in rows])
    else:
        lines = formats.lines(form, fields)
    for line in lines:
        call.out.line(line)
    return 0


def _pull(call: Invocation, names: list[str]) -> int:
    return _move(call, names, "pull", platform=call.args.text("platform") or "")


def _push(call: Invocation, names: list[str]) -> int:
    return _move(call, names, "push")


def _move(call: Invocation, names: list[str], verb: str, **more: str) -> int:
    """Between the store and registries."""
    from orchestrator import api

    if told(call, f"{verb} {', '.join(names)}"):
        return 0
    registries = api.registries(insecure=call.root.all("insecure-registry"))
    with call.out.renderer(verb) as renderer:
        sink = without_downloads(renderer) if call.args.has("quiet") else renderer
        (registries.pull if verb == "pull" else registries.push)(names, sink=sink, **more)
    return 0


def _bootstrap(call: Invocation, names: list[str]) -> int:
    from orchestrator import api

    if told(call, f"make {names[0]} of packages"):
        return 0
    packages = [part for text in call.args.all("include") for part in text.split(",") if part]
    with call.out.renderer("bootstrap") as renderer:
        made = api.image_store().bootstrap(
            names[0], packages=packages, mirror=call.args.text("mirror"), sink=renderer)
    call.out.line(made)
    return 0
