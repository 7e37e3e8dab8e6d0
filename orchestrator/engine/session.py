"""A process in a container that is connected to ours: `exec`, `run`, with or without a terminal.

The streams belong to the process itself (descriptors travel through the supervisor to the keeper),
so without a terminal nothing is copied here.  With one, bytes are copied between our terminal and
the master of the container's pty, and our terminal is restored whatever happens.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal costs 4 ms
import os
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

from orchestrator.dataclass import asdict
from orchestrator.errors import SupervisorError, from_json
from orchestrator.linux import tty
from orchestrator.linux.waiting import ready
from orchestrator.state.layout import Layout
from orchestrator.supervisor import client
from orchestrator.supervisor.protocol import ExecRequest

_CHUNK = 1 << 16
Source: TypeAlias = "int | Session | Signals"
FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
KEPT = (*FORWARDED, "SIGWINCH")


class Signals:
    """Signals that are kept for somebody else instead of ending us, from now until `close`."""

    def __init__(self, names: Sequence[str] = KEPT) -> None:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._names = {int(getattr(_signal, name)): name for name in names}
        self._arrived: list[str] = []
        self._former: dict[int, Any] = {}  # a handler has no narrower type
        self._is_open = True
        try:
            for number in self._names:
                self._former[number] = _signal.signal(number, self._keep)
        except ValueError:
            pass  # not the main thread: there signals mean what they mean

    def fileno(self) -> int:
        """Readable when something has arrived."""
        return self._reader

    def _keep(self, number: int, frame: object) -> None:
        self._arrived.append(self._names[number])
        try:
            os.write(self._writer, b"!")
        except BlockingIOError:
            return  # nobody has looked for 64 KiB of signals: it is readable as it is

    def take(self) -> list[str]:
        """Names of what has arrived, in order."""
        try:
            os.read(self._reader, _CHUNK)
        except BlockingIOError:
            pass
        found, self._arrived = self._arrived, []
        return found

    def close(self) -> None:
        """Signals mean again what they meant."""
        for number, handler in self._former.items():
            _signal.signal(number, handler)
        self._former = {}
        if self._is_open:
            self._is_open = False
            os.close(self._reader)
            os.close(self._writer)


class Session(Protocol):
    """What `interact` needs of a running process."""

    signals: Signals

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
                 streams: Sequence[int], *, signals: Sequence[str] = KEPT) -> None:  # fmt: skip
        self._client = client.open_client(layout, project)
        self._is_detached = request.detach
        self.signals = Signals(signals)
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
                self.exit_code = self._code(message["result"].get("exit_code"))
            for fd in fds:
                os.close(fd)

    def _code(self, code: int | None) -> int:
        if code is None and not self._is_detached:
            raise SupervisorError("the process ended without an exit code")
        return code or 0  # detached: the process runs on, and so far nothing went wrong

    def signal(self, name: str) -> None:
        self._client.send({"signal": name})

    def close(self) -> None:
        self.signals.close()
        self._client.close()
        if self.master is not None:
            os.close(self.master)
            self.master = None


def interact(session: Session, *, stdin: int, stdout: int) -> int:
    """Serve the session until its process has ended; its exit code."""
    try:
        while session.exit_code is None and session.master is None:
            waiting: list[Source] = [session, session.signals]
            readable, _ = ready(waiting)
            _news(session)
            if session in readable:
                session.step()
        if session.master is not None:
            _copy(session, session.master, stdin=stdin, stdout=stdout)
    finally:
        session.close()
    if session.exit_code is None:
        raise SupervisorError("the process ended without an exit code")
    return session.exit_code


def _news(session: Session) -> None:
    """Pass on the signals that have arrived."""
    for name in session.signals.take():
        if name != "SIGWINCH":
            session.signal(name)
        elif session.master is not None:
            resize(session.master)


def resize(master: int) -> None:
    """Give the pty the size of our own terminal, if we have one."""
    for fd in (1, 0, 2):
        if tty.is_terminal(fd):
            rows, columns = tty.window_size(fd)
            tty.set_window_size(master, rows=rows, columns=columns)
            return


def _copy(session: Session, master: int, *, stdin: int, stdout: int) -> None:
    """Until the pty's last slave is closed and the exit code is known."""
    resize(master)
    saved = tty.enter_raw_mode(stdin) if tty.is_terminal(stdin) else None
    try:
        _pump(session, master, stdin=stdin, stdout=stdout)
    finally:
        if saved is not None:
            tty.restore_mode(stdin, saved)


def _pump(session: Session, master: int, *, stdin: int, stdout: int) -> None:
    reading: list[Source] = [session, session.signals, master, stdin]
    pending = b""
    while session.exit_code is None or master in reading:
        timeout = None if session.exit_code is None else 0.2  # a background child may hold the pty
        readable, writable = ready(reading, [master] if pending else [], timeout=timeout)
        if not readable and not writable:
            return
        if session.signals in readable:
            _news(session)
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
                reading = [master] if master in reading else []


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

