"""The graph of a project, drawn in each way, from values."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from orchestrator.cli import drawing
from orchestrator.engine.picturing import Arrow, Box, Picture

STACK = Picture(
    project="p",
    boxes=(
        Box(kind="service", name="cache", state="exited (1)", image="redis"),
        Box(kind="service", name="db", state="running (healthy)", image="pg"),
        Box(kind="service", name="api", state="running 2/2", image="api"),
        Box(kind="service", name="web", state="running", image="web", ports=("8080->80/tcp",)),
        Box(kind="network", name="default", state=""),
        Box(kind="volume", name="data", state="missing"),
    ),
    arrows=(
        Arrow(source="api", target="cache", kind="service", label="service_started"),
        Arrow(source="api", target="db", kind="service", label="service_healthy"),
        Arrow(source="web", target="api", kind="service", label="service_started"),
        Arrow(source="web", target="cache", kind="service", label="service_started"),
        Arrow(source="db", target="default", kind="network"),
        Arrow(source="web", target="default", kind="network"),
        Arrow(source="db", target="data", kind="volume", label="/data"),
    ),
)


def test_as_text() -> None:
    assert drawing.as_text(STACK).splitlines() == [
        "web  running  8080->80/tcp",
        "├─ api  running 2/2",
        "│  ├─ cache  exited (1)",
        "│  └─ db  running (healthy)  [service_healthy]",
        "└─ cache  exited (1)",
        "",
        "networks:",
        "  default: db, web",
        "",
        "volumes:",
        "  data (missing): db:/data",
    ]


def test_as_dot() -> None:
    lines = drawing.as_dot(STACK, indent=" ", image=True, ports=True, networks=True).splitlines()
    assert lines[0] == 'digraph "p" {'
    assert lines[-1] == "}"
    assert (' "web" [shape=box, label="web\\nrunning\\nweb\\n8080->80/tcp\\nnetworks: default"];'
            in lines)  # fmt: skip
    assert ' "api" -> "db" [label="service_healthy"];' in lines
    assert ' "db" -> "volume data" [style=dashed, label="/data"];' in lines


def test_as_mermaid() -> None:
    lines = drawing.as_mermaid(STACK).splitlines()
    assert lines[0] == "flowchart LR"
    assert '  n1["db<br>running (healthy)"]' in lines
    assert '  n2 -->|"service_healthy"| n1' in lines
    assert '  n5[("data<br>missing")]' in lines


def test_as_svg_every_box_is_there_and_none_lies_on_another() -> None:
    root = ElementTree.fromstring(drawing.as_svg(STACK))
    name = "{http://www.w3.org/2000/svg}"
    boxes = [(int(r.get("x", "")), int(r.get("y", ""))) for r in root.iter(f"{name}rect")]
    assert len(boxes) == len(set(boxes)) == len(STACK.boxes)
    titles = [t.text for t in root.iter(f"{name}text")]
    assert {"web", "running", "data", "volume missing"} <= set(titles)
    width, height = int(root.get("width", "")), int(root.get("height", ""))
    assert all(x + drawing.WIDTH <= width and y + drawing.HEIGHT <= height for x, y in boxes)


def test_a_hundred_services_are_drawn_in_columns_of_bounded_height() -> None:
    boxes = tuple(Box(kind="service", name=f"s{n}", state="") for n in range(100))
    root = ElementTree.fromstring(drawing.as_svg(Picture(project="p", boxes=boxes, arrows=())))
    places = {(r.get("x"), r.get("y")) for r in root.iter("{http://www.w3.org/2000/svg}rect")}
    assert len(places) == 100
    assert int(root.get("height", "")) <= 10 * (drawing.HEIGHT + drawing.GAP_Y) + 2 * drawing.MARGIN


@pytest.mark.parametrize("draw", [drawing.as_text, drawing.as_svg, drawing.as_mermaid])
def test_hostile_names_stay_text(draw: object) -> None:
    evil = '</text><script>"\x1b[2J'
    picture = Picture(project=evil, arrows=(), boxes=(Box(kind="service", name=evil, state=""),))
    text = draw(picture)  # type: ignore[operator]
    assert "<script>" not in text or draw is drawing.as_text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("state", "shade"),
    [("running", "good"), ("running (unhealthy)", "bad"), ("running (starting)", "wait"),
     ("exited (0)", "good"), ("exited (137)", "bad"), ("restarting (1)", "bad"), ("created", "")],
)  # fmt: skip
def test_colours_by_state(state: str, shade: str) -> None:
    assert drawing.shade(state) == shade
