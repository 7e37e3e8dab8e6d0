"""Progress events as lines: plain, live on a terminal, JSON, or not at all.

Each renderer is a `Sink`, and a context manager for the operation it shows.  Knows events and a
stream; starts nothing but the clock of the spinner.
"""

from __future__ import annotations

import _thread
import json
import time
from collections.abc import Callable
from typing import Self, TextIO

from orchestrator.cli import table, terminal
from orchestrator.cli.buildlines import BuildLines
from orchestrator.dataclass import replace
from orchestrator.events import BuildOutput, BuildStep, Event, HookOutput, Noted, Progress, Warned

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
TICK = 0.1
"""Seconds between two redraws, as docker compose."""

Warn = Callable[[str], object]


class Renderer:
    """Shows nothing but warnings; what the others begin with."""

    def __init__(self, warn: Warn) -> None:
        self._warn = warn

    def __call__(self, event: Event) -> None:
        if isinstance(event, Warned):
            self._warn(event.message)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The operation is over, however it ended."""


class Plain(Renderer):
    """One line per event, ` Container p-web-1 Starting `."""

    def __init__(self, stream: TextIO, warn: Warn, *, prefix: str = "") -> None:
        super().__init__(warn)
        self._stream, self._prefix = stream, prefix
        self._builds = BuildLines()
        self._said: dict[str, str] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, Warned):
            self._warn(event.message)
        elif isinstance(event, Progress):
            self._say(event)
        elif isinstance(event, Noted):
            self._stream.write(f"{self._prefix} {terminal.visible(event.message)}\n")
            self._stream.flush()
        elif isinstance(event, HookOutput):
            self._stream.write(f"{event.name} -> | {terminal.visible(event.text)}\n")
            self._stream.flush()
        elif isinstance(event, BuildStep | BuildOutput):
            self._stream.writelines(f"{line}\n" for line in self._builds.lines(event))
            self._stream.flush()

    def _say(self, event: Progress) -> None:
        line = plain_line(event, prefix=self._prefix)
        if event.current and event.status == "Working" and self._said.get(event.id) == line:
            return  # only its bytes have moved on
        self._said[event.id] = line
        self._stream.write(line + "\n")
        self._stream.flush()


def plain_line(event: Progress, *, prefix: str = "") -> str:
    """Prefix, id, text and details, each followed by one blank."""
    return f"{prefix} {terminal.visible(event.id)} {event.text} {terminal.visible(event.details)}"


class Json(Renderer):
    """One JSON object per event on the stream."""

    def __init__(self, stream: TextIO, warn: Warn) -> None:
        super().__init__(warn)
        self._stream = stream

    def __call__(self, event: Event) -> None:
        data = json_line(event)
        if data is not None:
            self._stream.write(json.dumps(data, separators=(",", ":")) + "\n")
            self._stream.flush()


def json_line(event: Event) -> dict[str, object] | None:
    """The fields docker compose gives; None for what is no progress."""
    if isinstance(event, Warned):
        return {"level": "warning", "message": event.message}
    if isinstance(event, Noted):
        return {"level": "info", "message": event.message}
    if isinstance(event, BuildStep):
        return {"id": f"Image {event.build}", "status": "Working", "text": event.step,
                "details": f"{event.status} {event.details}".rstrip()}
    if not isinstance(event, Progress):
        return None
    data: dict[str, object] = {"id": event.id, "status": event.status, "text": event.text}
    if event.details:
        data["details"] = event.details
    if event.total:
        percent = min(100, event.current * 100 // event.total)
        data |= {"current": event.current, "total": event.total, "percent": percent}
    return data


class Row:
    """One resource on the live display."""

    __slots__ = ("began", "ended", "event")

    def __init__(self, event: Progress, now: float) -> None:
        self.event, self.began = event, now
        self.ended: float | None = None

    def update(self, event: Progress, now: float) -> None:
        """Take the latest event; the clock stops while nothing is going on."""
        if event.status == "Working" and self.ended is not None:
            self.began, self.ended = now, None
        elif event.status != "Working" and self.ended is None:
            self.ended = now
        self.event = event


def frame(
    rows: list[Row], *, operation: str, now: float, width: int, height: int, colour: bool
) -> list[str]:
    """The lines of the live display, none wider than `width` and no more than `height`."""
    done = sum(row.event.status != "Working" for row in rows)
    head = terminal.cut(f"[+] {operation} {done}/{len(rows)}", width)
    room = max(1, height - 2)
    shown = rows if len(rows) <= room else _most_alive(rows, room - 1)
    lines = [terminal.paint(head, terminal.BLUE if colour and done == len(rows) else "")]
    bodies = _bodies([row.event for row in shown], width - _AROUND)
    lines += [_row_line(row, body, now=now, width=width, colour=colour)
              for row, body in zip(shown, bodies, strict=True)]  # fmt: skip
    if len(shown) < len(rows):
        lines.append(terminal.cut(f" ... {len(rows) - len(shown)} more", width))
    return lines


def _most_alive(rows: list[Row], room: int) -> list[Row]:
    """What still works comes first; the order of appearance is kept."""
    ranked = sorted(rows, key=lambda r: (r.event.status == "Done", -r.began))[: max(1, room)]
    return [r for r in rows if r in ranked]


BARS = (20, 10, 5)
"""Characters of a bar: the first that the terminal has room for."""
_AROUND = 12
"""Characters of a row beside name and text: the sign, the clock, blanks."""
_LEAST_NAME = 20


def _bodies(events: list[Progress], room: int) -> list[str]:
    """Name, text, bar and details in columns.  Where that is too much, bars are shorter, then names
    are cut, and at last details."""
    names = [terminal.visible(event.id) for event in events]
    heads: list[str] = []
    name_width = head_width = 0
    for size in BARS:
        heads = [f"{event.text} {_bar(event, size)}".rstrip() for event in events]
        name_width = max(map(len, names), default=0)
        head_width = max(map(len, heads), default=0)
        if name_width + head_width <= room:
            break
    name_width = min(name_width, max(_LEAST_NAME, room - head_width))
    texts = [f"{head} {terminal.visible(event.details)}".rstrip()
             for head, event in zip(heads, events, strict=True)]  # fmt: skip
    text_width = max(map(len, texts), default=0)
    return [f"{terminal.cut(name, name_width):{name_width}}  {text:{text_width}}"
            for name, text in zip(names, texts, strict=True)]  # fmt: skip


def _bar(event: Progress, size: int) -> str:
    """`[====>    ] 12MB / 40MB` of an image on its way, `[====>    ] 2/5` of a build."""
    if event.status != "Working" or not event.total:
        return ""
    there = min(event.current, event.total)
    drawn = ("=" * (there * size // event.total) + ">")[:size]
    if event.text == "Building":
        return f"[{drawn:{size}}] {there}/{event.total}"
    if event.text in ("Pulling", "Pushing"):
        return f"[{drawn:{size}}] {table.size(there)} / {table.size(event.total)}"
    return ""


class Built:
    """How many steps of builds are behind them, over all their stages as far as they are known."""

    def __init__(self) -> None:
        self._stages: dict[str, dict[str, tuple[int, int]]] = {}

    def progress(self, step: BuildStep) -> Progress:
        """The step as progress of its image."""
        stages = self._stages.setdefault(step.build, {})
        stages[step.stage] = step.number - (step.status == "Started"), step.total
        return Progress(
            kind="Image", name=step.build, text="Building", status="Working", details=step.step,
            current=sum(done for done, _ in stages.values()),
            total=sum(total for _, total in stages.values()),
        )  # fmt: skip


_SIGNS = {
    "Done": ("✔", terminal.GREEN),
    "Warning": ("!", terminal.YELLOW),
    "Error": ("✘", terminal.RED),
}


def _row_line(row: Row, body: str, *, now: float, width: int, colour: bool) -> str:
    seconds = (row.ended if row.ended is not None else now) - row.began
    turn = SPINNER[int(seconds / TICK) % len(SPINNER)]
    sign, shade = _SIGNS.get(row.event.status, (turn, terminal.CYAN))
    clock = f"{seconds:.1f}s"
    room = width - len(clock) - 5
    body = f"{terminal.cut(body.rstrip(), room):{min(len(body), room)}}"
    shade = shade if colour else ""
    return f" {terminal.paint(sign, shade)} {body} {terminal.paint(clock, shade):>{len(clock)}}"


class Live(Renderer):
    """The live display: one line per resource, drawn again ten times a second."""

    def __init__(
        self, stream: TextIO, warn: Warn, *, operation: str, colour: bool,
        clock: Callable[[], float] = time.monotonic, ticking: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(warn)
        self._stream, self._clock = stream, clock
        self._operation, self._colour = operation, colour
        self._rows: dict[str, Row] = {}
        self._built = Built()
        self._drawn = 0
        self._last = 0.0
        self._lock = _thread.allocate_lock()
        self._stop, self._ended = self._lock, self._lock  # of the clock, once there is one
        self._ticking = ticking

    def __call__(self, event: Event) -> None:
        with self._lock:
            if isinstance(event, Warned):
                self._erase()
                self._warn(event.message)
            elif isinstance(event, BuildStep):
                self._take(self._built.progress(event))
            elif isinstance(event, Progress):
                self._take(event)
                if self._clock() - self._last < TICK:
                    return  # forty services start in a blink: the next tick draws them all
            else:
                return
            self._draw()

    def _take(self, event: Progress) -> None:
        if event.text == "Recreate" and event.details:  # the reason stays when the row moves on
            self._erase()
            self._stream.write(f" {terminal.visible(event.details)}\n")
            self._draw()
            event = replace(event, details="")
        now = self._clock()
        row = self._rows.get(event.id)
        if row is None:
            if not self._rows and self._ticking:
                self._start_clock()
            row = self._rows[event.id] = Row(event, now)
        row.update(event, now)

    def _start_clock(self) -> None:
        self._stop, self._ended = _thread.allocate_lock(), _thread.allocate_lock()
        self._stop.acquire()
        self._ended.acquire()
        _thread.start_new_thread(self._tick, (self._stop, self._ended))

    def _tick(self, stop: _thread.LockType, ended: _thread.LockType) -> None:
        try:
            while not stop.acquire(timeout=TICK):
                with self._lock:
                    self._draw()
        finally:
            ended.release()

    def _erase(self) -> None:
        if self._drawn:  # line by line, see `_draw`
            up = f"\x1b[{self._drawn}A\r"
            self._stream.write(up + "\x1b[K\n" * self._drawn + up)
            self._drawn = 0

    def _draw(self) -> None:
        if not self._rows:
            return
        self._last = self._clock()
        width, height = terminal.size(self._stream.fileno())
        lines = frame(list(self._rows.values()), operation=self._operation, now=self._last,
                      width=width, height=height, colour=self._colour)  # fmt: skip
        up = f"\x1b[{self._drawn}A\r" if self._drawn else ""
        below = "\x1b[J" if self._drawn > len(lines) else ""
        # each line is written over the one before it: nothing is blank for a moment, and a terminal
        # that keeps what is cleared (tmux does) keeps nothing
        self._stream.write(up + "".join(f"{line}\x1b[K\n" for line in lines) + below)
        self._stream.flush()
        self._drawn = len(lines)

    def close(self) -> None:
        """Stop the clock and leave the last picture on the screen."""
        if self._rows and self._ticking:
            self._stop.release()
            self._ended.acquire()
        with self._lock:
            self._draw()
        self._rows.clear()
        self._drawn = 0
