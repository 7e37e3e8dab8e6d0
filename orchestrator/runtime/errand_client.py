"""Run a container to its end, without a supervisor: for the steps of builds.

`Pool` keeps the errand processes, one for each container that runs at a time; see
`runtime.errand`.
"""

from __future__ import annotations

import os
import sys
import threading
from _socket import AF_UNIX, SOCK_STREAM, socketpair
from collections.abc import Callable
from typing import Any

import orchestrator
from orchestrator.errors import LaunchError
from orchestrator.linux.fds import Channel
from orchestrator.linux.waiting import ready
from orchestrator.runtime.launch import launch_error

_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from orchestrator.runtime import errand; errand.main(int(sys.argv[3]))"
)
_CHUNK = 1 << 16
_LOOK = 0.1
"""Seconds between two looks at whether it is to be given up."""

Request = dict[str, Any]  # JSON has no narrower type
Output = Callable[[bytes], None]


class _Errand:
    """One process and the socket to it."""

    def __init__(self) -> None:
        ours, theirs = socketpair(AF_UNIX, SOCK_STREAM)
        package = os.path.dirname(os.path.dirname(os.path.abspath(orchestrator.__file__ or "")))
        argv = [sys.executable, "-SI", "-c", _START, package, "pcompose-errand", "3"]
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, null, 1),
                   (os.POSIX_SPAWN_DUP2, theirs.fileno(), 3)]
        try:
            self.pid = os.posix_spawn(argv[0], argv, dict(os.environ), file_actions=actions,
                                      setsid=True)  # fmt: skip
        except OSError as exc:
            ours.close()
            raise LaunchError(f"cannot start a process for the build: {exc.strerror}") from exc
        finally:
            os.close(null)
            theirs.close()
        self.channel = Channel(ours)

    def close(self) -> None:
        self.channel.close()
        os.waitpid(self.pid, 0)


class Pool:
    """Errand processes; a context manager that ends them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Errand] = []

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *exc: object) -> None:
        while self._idle:
            self._idle.pop().close()

    def run(
        self, request: Request, *, subject: str, output: Output, cancel: threading.Event,
        cloned: Callable[[int], None] | None = None,
    ) -> int:
        """The exit code of the container that the `launch` message asks for.  `output` gets what it
        writes to stdout and stderr; `cloned` its pid while it waits for its network, if it does.
        Once `cancel` is set it is killed.  LaunchError where it cannot be started."""
        errand = self._taken()
        run = _Run(errand.channel, output, cancel, cloned)
        try:
            return run.run(request, subject)
        finally:
            if run.is_over:
                self._give_back(errand)
            else:
                errand.close()
                _tidy(request)

    def _taken(self) -> _Errand:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return _Errand()

    def _give_back(self, errand: _Errand) -> None:
        with self._lock:
            self._idle.append(errand)


def _tidy(request: Request) -> None:
    """Remove what a process that has died could not."""
    from orchestrator.runtime import errand

    errand.remove_groups(request["groups"])


class _Run:
    """One container, from the request to its end."""

    def __init__(
        self, channel: Channel, output: Output, cancel: threading.Event,
        cloned: Callable[[int], None] | None,
    ) -> None:
        self._channel, self._output, self._cancel = channel, output, cancel
        self._cloned = cloned
        self._killed = False
        self._end: dict[str, Any] | None = None  # JSON has no narrower type

    @property
    def is_over(self) -> bool:
        """Whether the end was told, so that the process is free again."""
        return self._end is not None

    def run(self, request: Request, subject: str) -> int:
        """Exit code; LaunchError."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._channel.send(request, [null, writing, writing])
        except OSError as exc:
            os.close(reading)
            raise LaunchError(f"cannot start {subject}: {exc.strerror}") from exc
        finally:
            os.close(null)
            os.close(writing)
        try:
            self._serve(reading, subject)
        finally:
            os.close(reading)
        assert self._end is not None
        if self._end["event"] == "failed":
            raise launch_error(self._end, subject=subject)
        return int(self._end["exit_code"])

    def _serve(self, reading: int, subject: str) -> None:
        """Until the container has ended.  Then its pid namespace is gone and nobody writes: what is
        in the pipe is all."""
        os.set_blocking(reading, False)
        sources = [self._channel.fileno(), reading]
        while self._end is None:
            readable, _ = ready(sources, timeout=_LOOK)
            if self._cancel.is_set() and not self._killed:
                self._killed = True
                self._channel.send({"op": "kill"})
            if reading in readable and not self._read(reading):
                sources.remove(reading)
            if self._channel.fileno() in readable:
                self._hear(subject)
        while self._read(reading):
            pass

    def _read(self, reading: int) -> bool:
        try:
            data = os.read(reading, _CHUNK)
        except BlockingIOError:
            return False
        if data:
            self._output(data)
        return bool(data)

    def _hear(self, subject: str) -> None:
        try:
            received = self._channel.pending()
        except EOFError as exc:
            raise LaunchError(f"cannot run {subject}: the process that runs it has died") from exc
        for message, _ in received:
            if message["event"] != "cloned":
                self._end = message
            elif self._cloned is not None:
                self._cloned(int(message["pid"]))
                self._channel.send({"op": "go"})
