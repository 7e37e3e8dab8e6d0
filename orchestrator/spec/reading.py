"""Bytes of an input that may be no file but a pipe or a device: bounded in size and in time.

A file is read as it is.  A pipe, as of `--env-file <(…)`, is waited for: not for ever.
"""

from __future__ import annotations

import os
import stat

PATIENCE = 5.0
"""Seconds until somebody has to have written to a pipe that nobody had open."""
SILENCE = 60.0
"""Seconds within which a writer, or a terminal, has to say something more."""
_PIECE = 1 << 20


def read(path: str, most: int) -> bytes:
    """All of it, or `most` + 1 bytes where it is longer than `most`.  OSError; TimeoutError, which
    is one, where nothing comes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        return _all(descriptor, most + 1)
    finally:
        os.close(descriptor)


def _all(descriptor: int, wanted: int) -> bytes:
    pieces: list[bytes] = []
    is_waiting = not stat.S_ISREG(os.fstat(descriptor).st_mode)
    while wanted > 0:
        try:
            piece = os.read(descriptor, min(wanted, _PIECE))
        except BlockingIOError:
            if not _has_news(descriptor, SILENCE):
                raise TimeoutError(None, f"nothing comes for {SILENCE:.0f} seconds") from None
            continue
        if not piece and is_waiting and not pieces:  # nobody has it open for writing
            if not _has_news(descriptor, PATIENCE):
                raise TimeoutError(None, f"nobody writes to it for {PATIENCE:.0f} seconds")
            is_waiting = False
        elif not piece:
            break
        pieces.append(piece)
        wanted -= len(piece)
    return b"".join(pieces)


def _has_news(descriptor: int, seconds: float) -> bool:
    """Whether there is something to read, or the last writer has gone, within so many seconds."""
    import select  # only for what is no file

    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def why_no_file(path: str) -> str:
    """What is wrong with a path where a file has to be."""
    if os.path.isdir(path):
        return "is a directory"
    return "is not a file" if os.path.exists(path) else "no such file"
