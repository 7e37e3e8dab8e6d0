"""`pcompose export`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from orchestrator.cli import terminal
from orchestrator.cli.grammar import Command, number, option
from orchestrator.cli.policies import told
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="export", usage="export [OPTIONS] SERVICE", least=1, most=1,
    summary="Write the file system of a container as a tar",
    flags=(
        number("index", "", "Number of the replica"),
        option("output", "o", "Into this file instead of standard output", metavar="file"),
    ),
    examples=(("An image of what a container has become",
               "export web | pcompose import - web:changed"),),
)  # fmt: skip


def run(call: Invocation) -> int:
    """What is mounted in the container is left out."""
    path, index = call.args.text("output"), call.args.number("index") or 0
    [service] = call.args.operands
    if told(call, f"export a container of {service}"):
        return 0
    if path is None:
        if terminal.is_terminal(1):
            raise UsageError("output option is required when exporting to terminal")
        call.project.export(service, sys.stdout.buffer, index=index)
        return 0
    partial = f"{path}.partial"
    try:
        with open(partial, "wb") as file:
            call.project.export(service, file, index=index)
        os.replace(partial, path)
    except OSError as exc:
        raise UsageError(f"cannot write {path}: {exc.strerror}") from exc
    finally:
        if os.path.exists(partial):
            os.unlink(partial)
    return 0
