"""What to do with errors: known ones go to whoever asked, unknown ones into supervisor.log too."""

from __future__ import annotations

import sys

from orchestrator.errors import InternalError, PcomposeError


def known(error: Exception, *, doing: str) -> PcomposeError:
    """The error as something a user may read.  Anything but a PcomposeError is a bug of ours: its
    traceback goes to stderr, which is supervisor.log, and an InternalError stands for it."""
    if isinstance(error, PcomposeError):
        return error
    report(error, doing=doing)
    return InternalError(
        f"internal error while {doing}: {type(error).__name__}: {error}",
        hint="please report this with the end of supervisor.log",
    )


def report(error: BaseException, *, doing: str) -> None:
    """The traceback, with the time, into supervisor.log."""
    import time
    import traceback

    stamp = time.strftime("%Y-%m-%dT%H:%M:%S")
    text = "".join(traceback.format_exception(error))
    sys.stderr.write(f"{stamp} error while {doing}\n{text}")
    sys.stderr.flush()


def note(text: str) -> None:
    """One line with the time into supervisor.log."""
    import time

    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}\n")
    sys.stderr.flush()
