"""`pcompose graph`; `docker compose alpha viz` is its `--format dot`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.grammar import Command, number, option, switch
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation


COMMAND = Command(
    name="graph", usage="graph [OPTIONS] [SERVICE...]",
    summary="Draw services, networks and volumes, with their states",
    flags=(
        option("format", "", "text, dot, svg or mermaid"),
        switch("image", "", "dot: show images"),
        number("indentation-size", "", "dot: tabs, or spaces, of an indent"),
        switch("networks", "", "dot: show networks"),
        switch("ports", "", "dot: show published ports"),
        switch("spaces", "", "dot: indent with spaces"),
    ),
    examples=(
        ("as a picture", "graph --format svg > stack.svg"),
        ("by graphviz, with images", "graph --format dot --image | dot -Tpng > stack.png"),
    ),
)  # fmt: skip


def run(call: Invocation) -> int:
    """Draw it."""
    from orchestrator.cli import drawing

    args = call.args
    form = args.text("format") or "text"
    if form not in ("text", "dot", "svg", "mermaid"):
        raise UsageError(f'unsupported format "{form}"', hint="text, dot, svg or mermaid")
    picture = call.live.picture(args.operands)
    if form == "dot":
        size = args.number("indentation-size")
        indent = (" " if args.has("spaces") else "\t") * (1 if size is None else max(size, 0))
        text = drawing.as_dot(picture, indent=indent, image=args.has("image"),
                              networks=args.has("networks"), ports=args.has("ports"))  # fmt: skip
    else:
        draw = {"text": drawing.as_text, "svg": drawing.as_svg, "mermaid": drawing.as_mermaid}
        text = draw[form](picture)
    call.out.line(text)
    return 0
