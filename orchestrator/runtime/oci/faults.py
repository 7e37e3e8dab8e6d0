"""What goes wrong with an OCI command: one line for stderr and the log.

Not `orchestrator.errors`: every call of this command line is a process of its own, and that module
costs the import of `typing`.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class OciError(Exception):
    """The whole line, lower case, without a full stop; `code` is the exit code."""

    def __init__(self, message: str, *, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def words_of(exc: BaseException) -> str:
    """The error as one line, with the path it is about."""
    if not isinstance(exc, OSError):
        return " ".join(str(exc).split()) or type(exc).__name__
    text = exc.strerror or (os.strerror(exc.errno) if exc.errno else str(exc))
    text = text[:1].lower() + text[1:]
    where = exc.filename
    return f"{where}: {text}" if isinstance(where, str) and where else text


def step_error(what: str, message: dict[str, Any]) -> OciError:
    """What a step of a child said, as one line."""
    path, text = message.get("path", ""), str(message.get("message", ""))
    about = f" {path}:" if path and path not in message["step"] else ""
    return OciError(f"{what}: {message['step']}:{about} {text[:1].lower()}{text[1:]}")
