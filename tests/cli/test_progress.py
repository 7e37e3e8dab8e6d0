"""Progress as lines, as a live picture, as JSON."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import struct
from fcntl import ioctl
from termios import TIOCSWINSZ
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli.progress import Built, Json, Live, Plain, Renderer, Row, frame
from orchestrator.events import BuildStatus, BuildStep, Progress, StateChanged, Warned

ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def event(name: str = "p-web-1", text: str = "Starting", **said: Any) -> Progress:
    status = "Done" if text.endswith("ed") else "Working"
    return Progress(**{"kind": "Container", "name": name, "text": text, "status": status, **said})


def test_a_plain_line_begins_and_ends_with_a_blank() -> None:
    stream = io.StringIO()
    sink = Plain(stream, print)
    sink(event())
    sink(event(text="Started", details="now"))
    assert stream.getvalue() == " Container p-web-1 Starting \n Container p-web-1 Started now\n"


def test_bytes_that_move_on_are_a_bar_on_a_terminal_and_no_line_in_a_log() -> None:
    out = io.StringIO()
    plain = Plain(out, print)
    there = [Progress(kind="Image", name="a", text="Pulling", status="Working", current=count,
                      total=4_000_000) for count in (0, 1_000_000, 2_000_000)]  # fmt: skip
    for event in there:
        plain(event)
    assert out.getvalue() == " Image a Pulling \n"
    lines = frame([Row(there[2], 0.0)], operation="pull", now=1.0, width=80, height=9,
                  colour=False)  # fmt: skip
    assert "Pulling [==========>         ] 2MB / 4MB" in lines[1]


def test_a_bar_is_shorter_where_the_name_is_long() -> None:
    pulling = Progress(kind="Image", name="registry.example.org:5000/shop/large:1", text="Pulling",
                       status="Working", current=7_160_000, total=31_500_000)  # fmt: skip
    line = frame([Row(pulling, 0.0)], operation="pull", now=5.6, width=80, height=9,
                 colour=False)[1]  # fmt: skip
    assert "shop…  Pulling [=>   ] 7.16MB / 31.5MB" in line
    assert len(line) <= 80


def test_a_build_has_a_bar_of_its_steps_over_all_stages() -> None:
    built = Built()
    def after(stage: str, number: int, status: BuildStatus) -> str:
        step = BuildStep(build="web", step=f"[{stage} {number}/2] RUN x", status=status,
                         stage=stage, number=number, total=2)  # fmt: skip
        return frame([Row(built.progress(step), 0.0)], operation="build", now=1.0, width=80,
                     height=9, colour=False)[1]  # fmt: skip

    assert "Building [>                   ] 0/2 [a 1/2] RUN x" in after("a", 1, "Started")
    assert "Building [==========>         ] 1/2 [a 1/2]" in after("a", 1, "Cached")
    assert "Building [=====>              ] 1/4 [b 1/2]" in after("b", 1, "Started")
    assert "Building [===============>    ] 3/4 [b 2/2]" not in after("b", 2, "Started")
    assert "Building [===============>    ] 3/4 [b 2/2]" in after("b", 2, "Done")


def test_a_json_line_has_the_fields_of_docker_compose() -> None:
    stream = io.StringIO()
    sink = Json(stream, print)
    sink(event(current=1, total=3))
    sink(StateChanged(action="start", container="c", name="n", service="s", index=1))
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"id": "Container p-web-1", "status": "Working", "text": "Starting", "current": 1,
         "total": 3, "percent": 33}
    ]  # fmt: skip


def test_quiet_says_warnings_only() -> None:
    said: list[str] = []
    sink = Renderer(said.append)
    sink(event())
    sink(Warned(message="careful"))
    assert said == ["careful"]


def test_control_characters_in_a_name_do_not_reach_the_terminal() -> None:
    stream = io.StringIO()
    Plain(stream, print)(event(name="a\x1b[2Jb"))
    assert "\x1b" not in stream.getvalue()


def rows(*events: Progress) -> list[Row]:
    return [Row(e, float(n)) for n, e in enumerate(events)]


def test_the_picture_has_a_head_and_one_line_for_each_resource() -> None:
    done = Row(event(text="Started"), 0.0)
    done.update(event(text="Started"), 0.3)
    working = Row(event(name="p-database-1"), 0.0)
    assert frame([done, working], operation="up", now=1.25, width=60, height=20, colour=False) == [
        "[+] up 1/2",
        " ✔ Container p-web-1       Started  0.3s",
        " ⠹ Container p-database-1  Starting 1.2s",
    ]


@given(
    names=st.lists(st.text(max_size=90), max_size=12), width=st.integers(12, 200),
    height=st.integers(1, 50), colour=st.booleans(),
)  # fmt: skip
def test_the_picture_fits_the_terminal(
    names: list[str], width: int, height: int, *, colour: bool
) -> None:
    made = rows(*(event(name=n) for n in names))
    lines = frame(made, operation="up", now=99.0, width=width, height=height, colour=colour)
    assert all(len(ESCAPE.sub("", line)) <= width for line in lines)
    assert len(lines) <= max(height, 3)


def test_a_short_screen_says_how_many_are_not_shown() -> None:
    made = rows(*(event(name=f"p-s{n}-1") for n in range(10)))
    lines = frame(made, operation="up", now=9.0, width=80, height=6, colour=False)
    assert lines[-1] == " ... 7 more"


@pytest.fixture
def terminal() -> Any:
    master, slave = pty.openpty()
    ioctl(slave, TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    with open(slave, "w") as stream:
        yield stream, master
    os.close(master)


def read(terminal: Any) -> str:
    """All that has been written: the terminal hands it over in pieces, so up to an end mark."""
    stream, master = terminal
    stream.write("END")
    stream.flush()
    seen = b""
    while not seen.endswith(b"END"):
        seen += os.read(master, 1 << 16)
    return seen.decode().removesuffix("END")


def test_the_live_display_is_redrawn_in_place_and_can_be_used_again(terminal: Any) -> None:
    stream, _ = terminal
    live = Live(stream, stream.write, operation="up", colour=False)
    for use in range(2):
        live(event())
        live(event(text="Started"))
        live.close()
        shown = read(terminal)
        assert use or "\x1b[2A\r[+] up 1/1\x1b[K" in shown
        assert "\x1b[J" not in shown, "nothing is blank between two pictures"
        assert "✔ Container p-web-1  Started" in shown


def test_a_reason_to_recreate_stays_on_the_screen(terminal: Any) -> None:
    stream, _ = terminal
    live = Live(stream, stream.write, operation="up", colour=False, ticking=False)
    live(event(text="Recreate", details="recreate web: image"))
    live(event(text="Started"))
    live.close()
    _, _, pictures = read(terminal).partition(" recreate web: image\r\n")
    assert "recreate" not in pictures
    assert "\x1b[2A\r[+] up 1/1" in pictures, "only its own two lines are written over"
