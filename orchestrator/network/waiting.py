"""Closing sockets that a task of this event loop may still be waiting for."""

from __future__ import annotations

import socket
from collections.abc import Iterable


def close(sockets: Iterable[socket.socket]) -> None:
    """Close them, telling the event loop first (if one runs in this thread): the number of a
    closed descriptor may be that of the next one opened, which must not inherit the wait.  Whoever
    waits gets anyio.ClosedResourceError."""
    for sock in sockets:
        if sock.fileno() >= 0:
            _tell_loop(sock)
            sock.close()


def _tell_loop(sock: socket.socket) -> None:
    import anyio

    try:
        anyio.notify_closing(sock)
    except RuntimeError:
        return  # no event loop in this thread, so nobody waits
