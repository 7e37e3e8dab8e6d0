"""`pcompose ui`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command, number
from orchestrator.errors import NetworkError, UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation
    from orchestrator.live import LiveProject

COMMAND = Command(
    name="ui", usage="ui [OPTIONS]", most=0,
    summary="Serve a page with graph, states, logs and plan on loopback",
    flags=(number("port", "", "Of 127.0.0.1 (any that is free)"),),
    examples=(("on a port of your own choice", "ui --port 8900"),),
    notes="The URL has a token; whoever has it can start and stop what the project has. The page\n"
          "is there until the command ends.",
)  # fmt: skip


def run(call: Invocation) -> int:
    """Serve until Ctrl-C."""
    from orchestrator.cli.page.server import Server
    from orchestrator.cli.page.view import View

    port = call.args.number("port") or 0
    if not 0 <= port < 65536:
        raise UsageError(f"no such port: {port}")

    def make() -> LiveProject:
        return call.renewed().live

    try:
        server = Server(View(make), port=port)
    except OSError as exc:
        raise NetworkError(f"cannot serve on 127.0.0.1:{port}: {exc.strerror}") from exc
    with server:
        call.out.line(server.url)
        call.out.flush()
        server.serve_forever()
    return 0
