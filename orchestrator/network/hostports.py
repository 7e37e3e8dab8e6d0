"""Sockets of the host for a supervisor that lives in a user's own network namespace.

Who holds the namespace stays outside of it, and makes there what is asked for over a unix socket
named by PCOMPOSE_PORTS.  A rule of the kernel is that a socket belongs to the namespace it was made
in, wherever it is used.
"""

from __future__ import annotations

import os
import socket
import struct

from orchestrator.linux import fds

VARIABLE = "PCOMPOSE_PORTS"
_UCRED = struct.Struct("3i")


def is_elsewhere() -> bool:
    """Whether published ports are those of another network namespace than ours."""
    return bool(os.environ.get(VARIABLE))


def make_socket(family: int, kind: int) -> socket.socket:
    """A socket that will be bound to a published port, of the namespace where users look for it.
    OSError."""
    path = os.environ.get(VARIABLE)
    if not path:
        return socket.socket(family, kind | socket.SOCK_NONBLOCK)
    channel = fds.Channel(fds.connect(path))
    try:
        channel.send({"family": int(family), "kind": int(kind)})
        answer = channel.receive()
    finally:
        channel.close()
    if answer is None:
        raise ConnectionResetError(104, "who holds the user's namespaces has ended")
    message, given = answer
    if not given:
        raise OSError(message["errno"], os.strerror(message["errno"]))
    sock = socket.socket(fileno=given[0])
    sock.setblocking(False)
    return sock


def serve(connection: socket.socket) -> None:
    """Answer one request of a process of our own user."""
    channel = fds.Channel(connection)
    try:
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        if _UCRED.unpack(peer)[1] != os.geteuid():
            return
        received = channel.receive()
        if received is None:
            return
        try:
            with socket.socket(received[0]["family"], received[0]["kind"]) as sock:
                channel.send({}, [sock.fileno()])
        except OSError as exc:
            channel.send({"errno": exc.errno})
    except (OSError, ValueError, KeyError, TypeError):  # it has gone, or speaks something else
        pass
    finally:
        channel.close()
