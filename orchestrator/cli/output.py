"""Where a command's words go: results to stdout, progress, warnings and errors to stderr.

Decides once whether escape sequences and colours may be written.  Knows nothing of commands.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping

from orchestrator.cli import terminal
from orchestrator.dataclass import dataclass, replace
from orchestrator.errors import UsageError

TYPE_CHECKING = False  # that of typing costs every command 5 ms
if TYPE_CHECKING:
    from typing import TextIO

    from orchestrator.cli import progress
    from orchestrator.errors import PcomposeError

MODES = ("auto", "tty", "plain", "json", "quiet", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How to write: which renderer, and on which stream colour is allowed."""

    mode: str
    colour_out: bool
    colour_err: bool
    cursor_err: bool
    """Escape sequences that move the cursor may go to stderr."""

    @property
    def is_json(self) -> bool:
        return self.mode == "json"


def choose_style(
    *, ansi: str, progress: str, out_is_terminal: bool, err_is_terminal: bool,
    environ: Mapping[str, str],
) -> Style:  # fmt: skip
    """The style that --ansi, --progress, NO_COLOR and the terminals ask for."""
    if ansi not in ("auto", "never", "always"):
        raise UsageError(f'unknown ansi mode: "{ansi}"', hint="one of auto, never, always")
    if progress not in MODES:
        raise UsageError(f'unsupported --progress value "{progress}"',
                         hint="one of " + ", ".join(MODES))
    if progress == "tty" and ansi == "never":
        raise UsageError("can't use --progress tty while ANSI support is disabled")
    if progress == "plain" and ansi == "always":
        raise UsageError("can't use --progress plain while ANSI support is forced")
    dumb = environ.get("TERM") == "dumb"
    cursor = ansi != "never" and err_is_terminal and not dumb
    mode = progress
    if mode == "auto":
        mode = "tty" if cursor else "plain"
    allowed = ansi == "always" or (ansi == "auto" and not environ.get("NO_COLOR") and not dumb)
    return Style(
        mode="quiet" if mode == "none" else mode,
        colour_out=allowed and (out_is_terminal or ansi == "always"),
        colour_err=allowed and (err_is_terminal or ansi == "always"),
        cursor_err=cursor,
    )


PLAIN = Style(mode="plain", colour_out=False, colour_err=False, cursor_err=False)


class Output:
    """The two streams of a command and its style."""

    def __init__(self, *, stdout: TextIO | None = None, stderr: TextIO | None = None,
                 style: Style = PLAIN) -> None:  # fmt: skip
        self._fails_as_json = False
        self.stdout = sys.stdout if stdout is None else stdout
        self.stderr = sys.stderr if stderr is None else stderr
        self.style = style

    def line(self, text: str = "") -> None:
        """One line of result."""
        self.stdout.write(text + "\n")

    def status(self, text: str) -> None:
        """One line for the reader's eyes; stdout only where COMPOSE_STATUS_STDOUT asks."""
        stream = self._status_stream()
        stream.write(text + "\n")
        stream.flush()

    def _status_stream(self) -> TextIO:
        return self.stdout if os.environ.get("COMPOSE_STATUS_STDOUT") == "1" else self.stderr

    def flush(self) -> None:
        """Everything written so far is out."""
        self.stdout.flush()
        self.stderr.flush()

    def warn(self, message: str) -> None:
        """A warning, in the words of docker compose's logger."""
        self.stdout.flush()
        self.stderr.write(self._warning(message) + "\n")
        self.stderr.flush()

    def _warning(self, message: str) -> str:
        if self.style.is_json:
            import json

            return json.dumps({"level": "warning", "message": message}, separators=(",", ":"))
        if self.style.cursor_err:
            return f"{terminal.paint('WARN', terminal.YELLOW if self.style.colour_err else '')}" \
                   f" {message}"
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        quoted = message.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'time="{stamp}" level=warning msg="{quoted}"'

    def renderer(self, operation: str, *, quiet: bool = False) -> progress.Renderer:
        """A sink for `operation`, and a context manager that lasts as long as it."""
        from orchestrator.cli import progress

        if quiet:
            return progress.Renderer(self.warn)
        if self.style.mode == "tty":
            return progress.Live(self.stderr, self.warn, operation=operation,
                                 colour=self.style.colour_err)  # fmt: skip
        return self.line_renderer()

    def line_renderer(self) -> progress.Renderer:
        """As `renderer`, but never one that moves the cursor: for progress between log lines."""
        from orchestrator.cli import progress

        if self.style.is_json:
            return progress.Json(self._status_stream(), self.warn)
        if self.style.mode == "quiet":
            return progress.Renderer(self.warn)
        return progress.Plain(self._status_stream(), self.warn)

    def fail_as_json(self) -> None:
        """From here on an error is one line of JSON: for editors."""
        self._fails_as_json = True

    def error(self, error: PcomposeError) -> None:
        """The error as the last thing a command says."""
        from orchestrator.cli.failure import describe

        self.stdout.flush()
        style = replace(self.style, mode="json") if self._fails_as_json else self.style
        self.stderr.write(describe(error, style=style))
        self.stderr.flush()
