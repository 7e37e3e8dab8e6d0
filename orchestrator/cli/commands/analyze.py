"""`pcompose analyze`: where the time of the last `up` went."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from orchestrator.cli import table, terminal
from orchestrator.cli.grammar import Command, option
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.main import Invocation
    from orchestrator.engine.timing import Analysis, Step


COMMAND = Command(
    name="analyze", usage="analyze [OPTIONS] [blame|chain|svg]",
    summary="Show where the time of the last up went", most=1,
    notes="blame: a table of services, slowest first (default).\n"
          "chain: the critical path, from what came last back to the beginning.\n"
          "svg:   every step on a time line, as a picture.",
    flags=(option("format", "", "text or json"),),
    examples=(("what kept the stack from being ready", "analyze chain"),
              ("as a picture", "analyze svg > up.svg")),
)  # fmt: skip
_WORDS = {
    "CreateContainer": "created", "StartContainer": "started", "StopContainer": "stopped",
    "RemoveContainer": "removed", "CreateNetwork": "network created", "RunHooks": "hooks run",
    "CreateVolume": "volume created", "WaitFor": "awaited", "Load": "files read", "Plan": "planned",
    "Supervisor": "supervisor there", "Image": "image built", "RemoveNetwork": "network removed",
}  # fmt: skip


def run(call: Invocation) -> int:
    """Print one of the views."""
    view = call.args.operands[0] if call.args.operands else "blame"
    if view not in ("blame", "chain", "svg"):
        raise UsageError(f"no such view: {view}", hint="blame, chain or svg")
    analysis = call.live.analysis()
    if (call.args.text("format") or "text") == "json":
        call.out.line(json.dumps(as_json(analysis), separators=(",", ":")))
        return 0
    lines = {"blame": blame, "chain": chain, "svg": svg}[view](analysis)
    for line in lines:
        call.out.line(line)
    return 0


def as_json(analysis: Analysis) -> dict[str, object]:
    """Seconds from the beginning of the `up`."""
    return {
        "project": analysis.project, "took": round(analysis.took, 6),
        "services": {n: {k: round(s, 6) for k, s in row.items()}
                     for n, row in analysis.services.items()},
        "chain": [step.number for step in analysis.chain],
        "steps": [{"number": s.number, "kind": s.kind, "subject": s.subject, "after": s.after,
                   "begin": round(s.begin, 6), "end": round(s.end, 6)} for s in analysis.steps],
    }  # fmt: skip


def seconds(value: float) -> str:
    """`12ms`, `3.214s`; `-` for what did not happen."""
    if value <= 0:
        return "-"
    return f"{value * 1000:.0f}ms" if value < 1 else f"{value:.3f}s"


def blame(analysis: Analysis) -> list[str]:
    """A line per service, the one that was ready last first."""
    found = sorted(analysis.services.items(), key=lambda item: -item[1]["total"])
    rows = [(name, *(seconds(row[c]) for c in analysis.columns), seconds(row["total"]))
            for name, row in found]  # fmt: skip
    heads = ("SERVICE", *(c.upper() for c in analysis.columns), "READY AFTER")
    return table.table(heads, rows)


def chain(analysis: Analysis) -> list[str]:
    """The critical path; each line waited for the one below it."""
    head = f"{analysis.project} was up {seconds(analysis.took)} after the command began."
    return [
        f"{head} The critical path, each waited for the one below:",
        *(f"  @{seconds(s.end):>8}  +{seconds(s.took):>8}  {_said(s)}" for s in analysis.chain),
    ]


def _said(step: Step) -> str:
    words = _WORDS.get(step.kind, step.kind)
    return terminal.visible(f"{step.subject} {words}".strip())


ROW, LEFT, WIDTH = 20, 260, 900
_COLOURS = {"Image": "#8e6bbf", "CreateContainer": "#4f86c6", "StartContainer": "#3d9a50",
            "WaitFor": "#d9a521", "CreateNetwork": "#2f9c95", "RunHooks": "#c46a3d"}  # fmt: skip


def svg(analysis: Analysis) -> list[str]:
    """A bar for each step; those of the critical path have a frame."""
    steps = sorted(analysis.steps, key=lambda s: (s.begin, s.end))
    critical = {step.number for step in analysis.chain}
    scale = WIDTH / max(analysis.took, 1e-6)
    height = ROW * (len(steps) + 2)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 90}" height="{height}">',
        "<style>svg{font:12px system-ui,sans-serif;background:#fff}text{fill:#1d2430}"
        ".c{stroke:#cc4a3b;stroke-width:2}@media(prefers-color-scheme:dark){svg{background:#14181f}"
        "text{fill:#e4e9f0}}</style>",
        f'<text x="8" y="14">{escape(analysis.project)}: {seconds(analysis.took)}</text>',
    ]
    for number, step in enumerate(steps, start=1):
        y = number * ROW
        x, width = LEFT + step.begin * scale, max(step.took * scale, 1.5)
        css = ' class="c"' if step.number in critical else ""
        fill = _COLOURS.get(step.kind, "#7a8697")
        lines.append(f'<text x="8" y="{y + 14}">{escape(terminal.cut(_said(step), 38))}</text>')
        lines.append(f'<rect{css} x="{x:.1f}" y="{y + 3}" width="{width:.1f}" height="{ROW - 6}" '
                     f'fill="{fill}"><title>{seconds(step.took)}</title></rect>')  # fmt: skip
        lines.append(f'<text x="{x + width + 6:.1f}" y="{y + 14}">{seconds(step.took)}</text>')
    return [*lines, "</svg>"]
