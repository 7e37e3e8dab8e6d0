"""`pcompose import`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command, many, option
from orchestrator.cli.policies import told

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="import", usage="import [OPTIONS] ARCHIVE|DIRECTORY|- NAME[:TAG]", least=2, most=2,
    summary="Make an image of a root file system archive",
    flags=(
        many("change", "c", "Instruction for the image, such as CMD or ENV", metavar="instruction"),
        option("message", "m", "Comment", metavar="text"),
    ),
)  # fmt: skip


def run(call: Invocation) -> int:
    """Print the id of the image."""
    return import_one(call, call.args.operands)


def import_one(call: Invocation, operands: list[str]) -> int:
    """As `run`: what is imported, and its name."""
    from orchestrator import api

    source, reference = operands
    if told(call, f"make image {reference} of {source}"):
        return 0
    call.out.line(api.image_store().import_rootfs(
        sys.stdin.buffer if source == "-" else source, reference,
        changes=call.args.all("change"), comment=call.args.text("message") or "",
    ))  # fmt: skip
    return 0
