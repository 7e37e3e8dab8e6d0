"""The socket of an ssh agent as RUN sees it: one of its own, with the owner and the mode that the
mount says, which passes every connection on to the agent.  Keys stay where they are.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from threading import Thread

from orchestrator.linux import fds

_CHUNK = 1 << 16


class AgentSocket:
    """Passes connections on until it is closed."""

    def __init__(self, path: str, agent: str, *, mode: int, uid: int, gid: int) -> None:
        """Listens at `path` at once; `agent` is the socket of the real one."""
        self._agent = agent
        self._listener = _plain(fds.open_listener(path))
        os.chown(path, uid, gid)
        os.chmod(path, mode)
        Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """No more connections; those there are end with their containers."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes whoever waits in accept(2)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                agent = _plain(fds.connect(self._agent))
            except OSError:
                client.close()  # the agent has ended: that is what the command sees
                continue
            Thread(target=_relay, args=(client, agent), daemon=True).start()


def _relay(client: socket.socket, agent: socket.socket) -> None:
    """The life of one connection."""
    with client, agent:
        answers = Thread(target=_pass_on, args=(agent, client), daemon=True)
        answers.start()
        _pass_on(client, agent)
        answers.join()


def _plain(made: socket.SocketType) -> socket.socket:
    return socket.socket(fileno=made.detach())


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """All that comes from one end to the other, and its end."""
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
