"""The graph of a project as text, DOT, Mermaid or SVG.  Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from orchestrator.cli import terminal

if TYPE_CHECKING:
    from orchestrator.engine.picturing import Box, Picture

WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 190, 52, 70, 18, 20
"""Of the boxes of an SVG, in its units."""
MOST_IN_COLUMN = 8


# ---- text


def as_text(picture: Picture) -> str:
    """Trees from the services nobody depends on; a service that was shown already is not opened
    again."""
    needed = {a.target for a in picture.arrows if a.kind == "service"}
    boxes = {box.name: box for box in picture.of("service")}
    seen: set[str] = set()
    lines: list[str] = []
    for name in sorted(boxes, key=lambda n: (n in needed, n)):
        if name not in seen:
            lines += _tree(picture, boxes, name, "", "", "", seen)
    for kind, title in (("network", "networks"), ("volume", "volumes")):
        found = [box for box in picture.boxes if box.kind == kind]
        lines += ["", f"{title}:"] if found else []
        lines += [_resource(picture, box) for box in found]
    return terminal_safe("\n".join(lines))


def terminal_safe(text: str) -> str:
    """Nothing from a file steers the terminal."""
    return "\n".join(terminal.visible(line) for line in text.split("\n"))


def _tree(
    picture: Picture, boxes: dict[str, Box], name: str, head: str, below: str, condition: str,
    seen: set[str],
) -> Iterator[str]:  # fmt: skip
    box = boxes[name]
    words = [f"{head}{name}", box.state, *box.ports]
    if condition and condition != "service_started":
        words.append(f"[{condition}]")
    arrows = picture.leading(name, "service")
    if name in seen and arrows:
        yield "  ".join([*words, "(above)"])
        return
    yield "  ".join(words)
    seen.add(name)
    for arrow in arrows:
        is_last = arrow is arrows[-1]
        yield from _tree(picture, boxes, arrow.target, below + ("└─ " if is_last else "├─ "),
                         below + ("   " if is_last else "│  "), arrow.label, seen)  # fmt: skip


def _resource(picture: Picture, box: Box) -> str:
    users = [
        f"{a.source}:{a.label}" if a.label else a.source
        for a in picture.arrows if a.kind == box.kind and a.target == box.name
    ]  # fmt: skip
    state = f" ({box.state})" if box.state else ""
    return f"  {box.name}{state}: {', '.join(users)}"


# ---- for other programs


def as_dot(
    picture: Picture, *, indent: str = "\t", image: bool = False, networks: bool = False,
    ports: bool = False,
) -> str:  # fmt: skip
    """Graphviz."""
    lines = [f"digraph {json.dumps(picture.project)} {{", f"{indent}layout=dot;"]
    for box in picture.of("service"):
        on = ", ".join(arrow.target for arrow in picture.leading(box.name, "network"))
        label = [box.name, box.state, *([box.image] if image else []),
                 *(box.ports if ports else ()), *([f"networks: {on}"] if networks else [])]
        lines.append(f"{indent}{json.dumps(box.name)} [shape=box, label="
                     f"{json.dumps(chr(10).join(label))}];")  # fmt: skip
    lines += [
        f"{indent}{json.dumps('volume ' + box.name)} [shape=cylinder, label={json.dumps(box.name)}]"
        ";" for box in picture.of("volume")
    ]
    for arrow in picture.arrows:
        if arrow.kind == "service":
            lines.append(f"{indent}{json.dumps(arrow.source)} -> {json.dumps(arrow.target)} "
                         f"[label={json.dumps(arrow.label)}];")  # fmt: skip
        elif arrow.kind == "volume":
            lines.append(f"{indent}{json.dumps(arrow.source)} -> "
                         f"{json.dumps('volume ' + arrow.target)} "
                         f"[style=dashed, label={json.dumps(arrow.label)}];")  # fmt: skip
    return "\n".join([*lines, "}"])


def as_mermaid(picture: Picture) -> str:
    """A flowchart for pages that draw Mermaid."""
    ids = {(box.kind, box.name): f"n{number}" for number, box in enumerate(picture.boxes)}
    lines = ["flowchart LR"]
    for box in picture.boxes:
        text = _quoted("<br>".join(filter(None, (box.name, box.state))))
        shape = {"service": f"[{text}]", "network": f"([{text}])", "volume": f"[({text})]"}
        lines.append(f"  {ids[box.kind, box.name]}{shape[box.kind]}")
    for arrow in picture.arrows:
        line = "-->" if arrow.kind == "service" else "-.->"
        label = f"|{_quoted(arrow.label)}|" if arrow.label else ""
        lines.append(f"  {ids['service', arrow.source]} {line}{label} "
                     f"{ids[arrow.kind, arrow.target]}")  # fmt: skip
    return "\n".join(lines)


def _quoted(text: str) -> str:
    entities = {'"': "#quot;", "<br>": "<br>"}
    parts = [terminal.visible(part).replace('"', entities['"']).replace("<", "#lt;")
             for part in text.split("<br>")]  # fmt: skip
    return f'"{"<br>".join(parts)}"'


# ---- SVG

_STYLE = """
svg { font: 13px system-ui, sans-serif; background: #fff; }
text { fill: #1d2430; } .small { font-size: 11px; fill: #5a6472; }
rect { fill: #f4f6f9; stroke: #9aa5b4; } .good { fill: #e2f5e6; stroke: #3d9a50; }
.bad { fill: #fde8e6; stroke: #cc4a3b; } .wait { fill: #fff4d6; stroke: #c79a1e; }
path { fill: none; stroke: #7a8697; } marker path { fill: #7a8697; }
.use { stroke-dasharray: 4 3; opacity: .55; }
@media (prefers-color-scheme: dark) {
  svg { background: #14181f; } text { fill: #e4e9f0; } .small { fill: #9aa5b4; }
  rect { fill: #1f2630; stroke: #566273; } .good { fill: #17341f; } .bad { fill: #42201c; }
  .wait { fill: #3b3012; }
}
"""


def safe(text: str) -> str:
    """As content of an element."""
    return escape(terminal.visible(text))


def shade(state: str) -> str:
    """The class of a box by its state."""
    if state.startswith(("running", "paused")):
        return "bad" if "unhealthy" in state else "wait" if "starting" in state else "good"
    if state == "exited (0)":
        return "good"
    return "bad" if state.startswith(("exited", "dead", "restarting")) else ""


def _columns(picture: Picture) -> list[list[Box]]:
    """Services by how far they are from those who need nobody, dependents on the left; then
    networks and volumes.  What would be too high has several columns."""
    depth: dict[str, int] = {}
    for box in picture.of("service"):  # dependencies come first
        needs = [a.target for a in picture.leading(box.name, "service")]
        depth[box.name] = 1 + max((depth.get(n, -1) for n in needs), default=-1)
    deepest = max(depth.values(), default=0)
    columns: list[list[Box]] = [[] for _ in range(deepest + 1)]
    for box in picture.of("service"):
        columns[deepest - depth[box.name]].append(box)
    columns.append([box for box in picture.boxes if box.kind != "service"])
    highest = max(MOST_IN_COLUMN, math.isqrt(len(picture.boxes)))
    return [column[at : at + highest] for column in columns
            for at in range(0, len(column), highest)]  # fmt: skip


def as_svg(picture: Picture) -> str:
    """A picture that needs no other program."""
    columns = _columns(picture)
    places = {
        (box.kind, box.name): (MARGIN + x * (WIDTH + GAP_X), MARGIN + y * (HEIGHT + GAP_Y))
        for x, column in enumerate(columns) for y, box in enumerate(column)
    }  # fmt: skip
    width = 2 * MARGIN + len(columns) * (WIDTH + GAP_X) - GAP_X
    height = 2 * MARGIN + max(map(len, columns), default=1) * (HEIGHT + GAP_Y) - GAP_Y
    body = [_arrow_svg(places["service", a.source], places[a.kind, a.target], a.kind)
            for a in picture.arrows]  # fmt: skip
    body += [_box_svg(box, places[box.kind, box.name]) for box in picture.boxes]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img">',
        f"<title>{safe(picture.project)}</title><style>{_STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>',
        *body, "</svg>",
    ])  # fmt: skip


def _box_svg(box: Box, place: tuple[int, int]) -> str:
    x, y = place
    radius = 4 if box.kind == "service" else HEIGHT // 2 if box.kind == "network" else 14
    words = box.state if box.kind == "service" else f"{box.kind} {box.state}".strip()
    small = f'<text class="small" x="{x + 14}" y="{y + 40}">'
    return (
        f'<g><title>{safe(" ".join((box.name, box.state, box.image, *box.ports)))}</title>'
        f'<rect class="{shade(box.state) if box.kind == "service" else ""}" x="{x}" y="{y}" '
        f'width="{WIDTH}" height="{HEIGHT}" rx="{radius}"/>'
        f'<text x="{x + 14}" y="{y + 22}">{safe(terminal.cut(box.name, 24))}</text>'
        f"{small}{safe(terminal.cut(words, 28))}</text></g>"
    )


def _arrow_svg(source: tuple[int, int], target: tuple[int, int], kind: str) -> str:
    x1, y1 = source[0] + WIDTH, source[1] + HEIGHT // 2
    x2, y2 = target[0], target[1] + HEIGHT // 2
    middle = (x1 + x2) // 2
    css = "" if kind == "service" else ' class="use"'
    return (f'<path{css} d="M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}" '
            'marker-end="url(#tip)"/>')  # fmt: skip
