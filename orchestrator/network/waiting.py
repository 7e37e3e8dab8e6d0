"""Closing sockets that a task of this event loop may still be waiting for.

The wait is ended first, and the number of the descriptor stays taken until the waiting task has
noticed: else the next descriptor opened could get that number and lose its own wait to the cleanup
of the old one (anyio keeps waits by number).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable


def close(sockets: Iterable[socket.socket]) -> None:
    """Close them; ports are free at once.  Whoever waits for one gets anyio.ClosedResourceError."""
    for sock in sockets:
        if sock.fileno() >= 0 and not _close_under_loop(sock):
            sock.close()


def _close_under_loop(sock: socket.socket) -> bool:
    """False where no event loop runs in this thread, so that nobody can be waiting."""
    import asyncio

    import anyio

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return False
    anyio.notify_closing(sock)
    number = sock.detach()
    with open(os.devnull, "rb", buffering=0) as placeholder:
        os.dup2(placeholder.fileno(), number, inheritable=False)
    # Runs after the wake-up of the waiting task, which notify_closing has queued already.
    loop.call_soon(os.close, number)
    return True
