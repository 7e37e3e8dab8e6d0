"""Terminals: handing a master to whoever listens on --console-socket, or relaying it ourselves."""

from __future__ import annotations

import errno
import os
import select

from orchestrator.linux import fds, tty
from orchestrator.runtime.oci.faults import OciError, words_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def hand_over(master: int, socket_path: str) -> None:
    """Send the master over the unix socket (SCM_RIGHTS); its name is the data, as engines expect;
    OciError."""
    from _socket import SCM_RIGHTS, SOL_SOCKET

    try:
        sock = fds.connect(socket_path)
        try:
            packed = master.to_bytes(4, "little")
            sock.sendmsg([b"/dev/ptmx"], [(SOL_SOCKET, SCM_RIGHTS, packed)])
        finally:
            sock.close()
    except OSError as exc:
        raise OciError(f"cannot hand the terminal to {socket_path}: {words_of(exc)}") from exc


class Relay:
    """Our terminal, raw, joined to a master until the container ends."""

    def __init__(self, master: int) -> None:
        self._master = master
        self._saved: Any = None
        self._is_open = True

    def __enter__(self) -> Relay:
        if os.isatty(0):
            self._saved = tty.enter_raw_mode(0)
            self.resize()
        return self

    def __exit__(self, *exc: object) -> None:
        while self._is_open and self._readable():
            self.take()
        if self._saved is not None:
            tty.restore_mode(0, self._saved)
        os.close(self._master)

    def resize(self) -> None:
        """The master has the size of our terminal."""
        if os.isatty(0):
            rows, columns = tty.window_size(0)
            tty.set_window_size(self._master, rows=rows, columns=columns)

    def fileno(self) -> int:
        return self._master

    def take(self) -> bool:
        """Bytes of the container to our stdout; False at their end."""
        try:
            data = os.read(self._master, 1 << 16)
        except OSError as exc:
            if exc.errno != errno.EIO:  # nobody has the slave open
                raise
            data = b""
        self._is_open = bool(data)
        _write_all(1, data)
        return self._is_open

    def give(self) -> bool:
        """Bytes of our stdin to the container; False at their end."""
        data = os.read(0, 1 << 12)
        _write_all(self._master, data)
        return bool(data)

    def _readable(self) -> bool:
        poll = select.poll()
        poll.register(self._master, select.POLLIN)
        return any(events & select.POLLIN for _, events in poll.poll(0))


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest):]
