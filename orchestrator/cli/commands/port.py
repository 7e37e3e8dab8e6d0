"""`pcompose port`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli import containers
from orchestrator.cli.grammar import Command, number, option
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="port", usage="port [OPTIONS] SERVICE PRIVATE_PORT", least=2, most=2,
    summary="Print the host address of a published port",
    examples=(
        ("where port 80 of web is on this machine", "port web 80"),
    ),
    flags=(
        number("index", "", "Number of the replica"),
        option("protocol", "", "tcp or udp"),
    ),
)


def run(call: Invocation) -> int:
    """Print `IP:PORT`."""
    service, text = call.args.operands
    if not text.isdecimal() or int(text) > 65535:
        raise UsageError(f"invalid port {text!r}", hint="a number from 0 to 65535")
    protocol = (call.args.text("protocol") or "tcp").lower()
    index = call.args.number("index") or 0
    found = [c for c in call.project.ps([service]) if index in (0, c.record.index)]
    if not found:
        raise UsageError(f'service "{service}" is not running')
    container = min(found, key=lambda c: (c.record.oneoff, c.record.index))
    for port in container.status.ports:
        if (port["target"], port["protocol"]) == (int(text), protocol):
            call.out.line(f"{containers.host_text(port['host_ip'])}:{port['published']}")
            return 0
    known = containers.ports_text(container)
    raise UsageError(f"no port {text}/{protocol} for container {container.record.name}: {known}")
