"""The images of the store as `image ls` and `images --all` list them."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.cli import formats, moments, table
from orchestrator.dataclass import dataclass

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation
    from orchestrator.engine.inventory import StoredImage

NONE = "<none>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """How the list is to look."""

    form: str = "table"
    is_quiet: bool = False
    is_whole: bool = False
    """Whole ids."""
    has_digests: bool = False


def show(call: Invocation, found: Sequence[StoredImage], listing: Listing) -> int:
    """Print one line for each name."""
    if listing.is_quiet:
        lines = [_id(image, listing) for image in found]
    elif listing.form == "table":
        lines = _table(found, listing)
    else:
        fields = [_fields(image, *name, listing) for image in found for name in _names(image)]
        lines = [json.dumps(fields)] if listing.form == "json" else (
            formats.lines(listing.form, fields, least=20))  # fmt: skip
    for line in lines:
        call.out.line(line)
    return 0


def filters(call: Invocation) -> tuple[list[str], float | None]:
    """--filter, and apart from it the moment that `until` names."""
    others, until = [], None
    for text in call.args.all("filter"):
        key, _, value = text.partition("=")
        if key == "until":
            until = moments.parse(value, now=time.time())
        else:
            others.append(text)
    return others, until


def _names(image: StoredImage) -> Sequence[tuple[str, str]]:
    return image.names or ((NONE, NONE),)


def _id(image: StoredImage, listing: Listing) -> str:
    """`--quiet` prints what other commands take: the whole digits, as docker compose does."""
    digits = image.id.removeprefix("sha256:")
    if listing.is_whole:
        return image.id
    return digits if listing.is_quiet else digits[:12]


def _since(image: StoredImage) -> str:
    return "N/A" if image.created is None else f"{table.ago(time.time() - image.created)} ago"


def _table(found: Sequence[StoredImage], listing: Listing) -> list[str]:
    head = ["REPOSITORY", "TAG", "PLATFORM", "IMAGE ID", "SIZE", "CREATED"]
    rows = [
        [repository, tag, image.platform, _id(image, listing), table.size(image.size),
         _since(image)]
        for image in found for repository, tag in _names(image)
    ]  # fmt: skip
    if listing.has_digests:
        head.insert(2, "DIGEST")
        digests = [image.digests.get(repository, NONE)
                   for image in found for repository, _ in _names(image)]
        for row, digest in zip(rows, digests, strict=True):
            row.insert(2, digest)
    return table.table(tuple(head), [tuple(row) for row in rows], least=20)


def _fields(image: StoredImage, repository: str, tag: str, listing: Listing) -> dict[str, object]:
    created = moments.format_rfc3339(image.created)
    return {
        "ID": image.id, "Repository": repository, "Tag": tag, "Platform": image.platform,
        "Digest": image.digests.get(repository, NONE), "Size": image.size, "Created": created,
        "CreatedAt": created, "CreatedSince": _since(image),
    }  # fmt: skip
