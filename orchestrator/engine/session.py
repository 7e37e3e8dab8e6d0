"""A process in a container that is connected to ours: `exec`, `run`, with or without a terminal.

The streams belong to the process itself (descriptors travel through the supervisor to the keeper), so
without a terminal nothing is copied here.  With one, bytes are copied between our terminal and the
master of the container's pty, and our terminal is restored whatever happens.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal costs 4 ms
import os
import select
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Protocol

from orchestrator.errors import SupervisorError, from_json
from orchestrator.linux import tty
from orchestrator.state.layout import Layout
from orchestrator.supervisor import client
from orchestrator.supervisor.protocol import ExecRequest

_CHUNK = 1 << 16
Source = "int | Session"
FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")


class Session(Protocol):
    """What `interact` needs of a running process."""

    master: int | None
    """Of the container's pty; None until it runs, or without a terminal."""
    exit_code: int | None

    def fileno(self) -> int:
        """Readable when there is news."""

    def step(self) -> None:
        """Take the news; raises why it could not run."""

    def signal(self, name: str) -> None:
        """Pass a signal on."""

    def close(self) -> None:
        """Let go of the connection."""


class Exec:
    """A command in a running container."""

    def __init__(self, layout: Layout, project: str, request: ExecRequest,
                 streams: Sequence[int]) -> None:  # fmt: skip
        self._client = client.open_client(layout, project)
        self.master: int | None = None
        self.exit_code: int | None = None
        self.pid = 0
        self._client.request("exec", fds=() if request.tty or request.detach else streams,
                             **asdict(request))  # fmt: skip

    def fileno(self) -> int:
        return self._client.fileno()

    def step(self) -> None:
        for message, fds in self._client.pending():
            if "error" in message:
                raise from_json(message["error"])
            if "started" in message:
                self.pid = int(message["started"])
                self.master = fds.pop() if fds else None
            elif "result" in message:
                # detached: the process runs on, and so far nothing went wrong
                self.exit_code = int(message["result"].get("exit_code") or 0)
            for fd in fds:
                os.close(fd)

    def signal(self, name: str) -> None:
        self._client.send({"signal": name})

    def close(self) -> None:
        self._client.close()
        if self.master is not None:
            os.close(self.master)
            self.master = None


def interact(session: Session, *, stdin: int, stdout: int) -> int:
    """Serve the session until its process has ended; its exit code."""
    try:
        with _signals(session) as wake:
            while session.exit_code is None and session.master is None:
                waiting: list[Source] = [session, wake]
                select.select(waiting, [], [])
                _drain(wake)
                session.step()
            if session.master is not None:
                _copy(session, session.master, stdin=stdin, stdout=stdout, wake=wake)
    finally:
        session.close()
    if session.exit_code is None:
        raise SupervisorError("the process ended without an exit code")
    return session.exit_code


@contextmanager
def _signals(session: Session) -> Iterator[int]:
    """Pass signals on while this lasts; gives a descriptor that becomes readable with each."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    names = {int(getattr(_signal, name)): name for name in FORWARDED}

    def forward(number: int, frame: object) -> None:
        session.signal(names[number])
        _poke(writer)

    def resized(number: int, frame: object) -> None:
        if session.master is not None:
            _resize(session.master)
        _poke(writer)

    former = {number: _signal.signal(number, forward) for number in names}
    former[_signal.SIGWINCH] = _signal.signal(_signal.SIGWINCH, resized)
    try:
        yield reader
    finally:
        for number, handler in former.items():
            _signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


def _poke(fd: int) -> None:
    try:
        os.write(fd, b"!")
    except BlockingIOError:
        return


def _drain(fd: int) -> None:
    try:
        os.read(fd, _CHUNK)
    except BlockingIOError:
        return


def _resize(master: int) -> None:
    for fd in (1, 0, 2):
        if tty.is_terminal(fd):
            rows, columns = tty.window_size(fd)
            tty.set_window_size(master, rows=rows, columns=columns)
            return


def _copy(session: Session, master: int, *, stdin: int, stdout: int, wake: int) -> None:
    """Until the pty's last slave is closed and the exit code is known."""
    _resize(master)
    saved = tty.enter_raw_mode(stdin) if tty.is_terminal(stdin) else None
    try:
        _pump(session, master, stdin=stdin, stdout=stdout, wake=wake)
    finally:
        if saved is not None:
            tty.restore_mode(stdin, saved)


def _pump(session: Session, master: int, *, stdin: int, stdout: int, wake: int) -> None:
    reading: list[Source] = [session, wake, master, stdin]
    pending = b""
    while session.exit_code is None or master in reading:
        timeout = None if session.exit_code is None else 0.2  # a background child may hold the pty
        readable, writable, _ = select.select(reading, [master] if pending else [], [], timeout)
        if not readable and not writable:
            return
        if wake in readable:
            _drain(wake)
        if master in readable:
            data = _read(master)
            if data:
                _write_all(stdout, data)
            else:
                reading.remove(master)
        if stdin in readable:
            typed = _read(stdin)
            pending += typed or b"\x04"
            if not typed:
                reading.remove(stdin)
        if writable:
            pending = pending[_write(master, pending) :]
        if session in readable:
            session.step()
            if session.exit_code is not None:
                reading = [source for source in reading if source in (master, wake)]


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, _CHUNK)
    except BlockingIOError:
        return b""
    except OSError:  # EIO: the last slave of a pty is closed
        return b""


def _write(fd: int, data: bytes) -> int:
    try:
        return os.write(fd, data)
    except BlockingIOError:
        return 0
    except OSError:
        return len(data)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[_write(fd, data) :]

