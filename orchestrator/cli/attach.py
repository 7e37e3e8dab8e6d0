"""Output of several containers on one terminal: prefixes, colours, times, the loop of `up`."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from orchestrator.cli import terminal
from orchestrator.cli.output import Output
from orchestrator.events import HookOutput, Noted, StateChanged
from orchestrator.names import display_name

if TYPE_CHECKING:
    from orchestrator.engine.logs import LogEntry
    from orchestrator.engine.upping import Attached

GRACEFULLY = "Gracefully Stopping... press Ctrl+C again to force"
INTERRUPTED = 130


def stamp(seconds: float) -> str:
    """RFC 3339 with nanoseconds, UTC."""
    whole = int(seconds)
    nanoseconds = int((seconds - whole) * 1e9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{nanoseconds:09d}Z"


class Printer:
    """Prints log entries; colours are given in the order of first appearance.  `merged`: what was
    written to stderr goes to stdout too."""

    def __init__(self, out: Output, *, colour: bool = True, prefix: bool = True,
                 stamps: bool = False, merged: bool = False) -> None:  # fmt: skip
        self._out, self._prefix, self._stamps = out, prefix, stamps
        self._stderr = out.stdout if merged else out.stderr
        self._colour = colour and out.style.colour_out
        self._colours: dict[str, str] = {}
        self._width = 0

    def expect(self, name: str) -> None:
        """A container whose name the prefixes must have room for."""
        self._width = max(self._width, len(name))

    def _colour_of(self, name: str) -> str:
        if not self._colour:
            return ""
        number = len(self._colours)
        palette = terminal.PREFIX_COLOURS
        return self._colours.setdefault(name, palette[number % len(palette)])

    def entry(self, entry: LogEntry) -> None:
        """One line, to stdout or stderr as the container wrote it."""
        stream = self._stderr if entry.stream == "stderr" else self._out.stdout
        if self._out.style.is_json:
            line = json.dumps({"id": entry.name, "text": entry.text}, separators=(",", ":"))
            stream.write(line + "\n")
            return
        self.expect(entry.name)
        head = ""
        if self._prefix:
            name = f"{entry.name:{self._width}}  | "
            head = terminal.paint(name, self._colour_of(entry.name))
        text = f"{stamp(entry.time)} {entry.text}" if self._stamps else entry.text
        stream.write(f"{head}{text}\n")

    def ended(self, event: StateChanged, *, project: str) -> None:
        """`web-1 exited with code 0`."""
        name = display_name(project, event.name, event.service, event.index)
        code = "unknown" if event.exit_code is None else event.exit_code
        text = f"{name} exited with code {code}" + " (restarting)" * event.restarting
        self._out.line(terminal.paint(text, self._colour_of(name)))

    def replaced(self, event: StateChanged, *, project: str) -> None:
        """`web-1 has been recreated`."""
        name = display_name(project, event.name, event.service, event.index)
        self._out.line(terminal.paint(f"{name} has been recreated", self._colour_of(name)))

    def hook(self, event: HookOutput, *, project: str) -> None:
        """`web-1 -> | text`, a line that a hook has written."""
        name = display_name(project, event.name, event.service, event.index)
        head = terminal.paint(f"{name} -> | ", self._colour_of(name)) if self._prefix else ""
        self._out.line(f"{head}{event.text}")

    def note(self, event: Noted) -> None:
        """A line of ours between those of the containers."""
        if self._out.style.is_json:
            self._out.line(json.dumps({"level": "info", "message": event.message},
                                      separators=(",", ":")))  # fmt: skip
        else:
            self._out.line(f"{'':{self._width}} ⦿ {terminal.visible(event.message)}")
        self._out.flush()

    def flush(self) -> None:
        """What has been printed is seen."""
        self._out.flush()


def serve(session: Attached, printer: Printer, out: Output, *, project: str) -> int:
    """The loop of an attached `up`: until its containers are done, or the user is."""
    said_abort = said_stopping = False
    while not session.is_over:
        _show(session, session.events(), printer, project=project)
        if session.interrupts and not said_stopping:
            said_stopping = True
            out.status(GRACEFULLY)
        if session.is_aborting and not said_abort:
            said_abort = True
            out.flush()
            out.status("Aborting on container exit...")
        printer.flush()
    _show(session, session.rest(), printer, project=project)
    return INTERRUPTED if session.interrupts else session.exit_code


def _show(session: Attached, found: list[LogEntry | StateChanged], printer: Printer, *,
          project: str) -> None:  # fmt: skip
    for event in found:
        if not isinstance(event, StateChanged):
            printer.entry(event)
        elif event.action == "die" and session.is_watched(event):
            tell = printer.replaced if event.container in session.replaced else printer.ended
            tell(event, project=project)
