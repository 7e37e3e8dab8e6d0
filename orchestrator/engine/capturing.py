"""`exec` and `run` for a program: the command's input is given, its output is returned."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from orchestrator.dataclass import dataclass
from orchestrator.engine import executing, interruption, oneoff
from orchestrator.engine.interruption import Interrupted
from orchestrator.errors import DeadlineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.engine.oneoff import RunOptions
    from orchestrator.engine.session import Session
    from orchestrator.engine.workspace import Workspace
    from orchestrator.events import Sink

_CHUNK = 1 << 16
_GRACE = 0.2
"""Seconds that output is waited for after the end of the command: what it left behind in the
background may hold the pipes for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """A command that has ended."""

    exit_code: int
    stdout: bytes
    stderr: bytes


def capture(
    workspace: Workspace, service: str, argv: Sequence[str], *, index: int = 0, user: str = "",
    cwd: str = "", environment: Mapping[str, str] | None = None, privileged: bool = False,
    stdin: bytes = b"", timeout: float | None = None,
) -> Captured:  # fmt: skip
    """Run the command in a running replica to its end.  DeadlineError after `timeout` seconds: it
    has got SIGKILL."""
    def start(streams: Sequence[int]) -> Session:
        return executing.execute(
            workspace, service, argv, index=index, user=user, cwd=cwd,
            environment=environment or {}, tty=False, privileged=privileged, detach=False,
            streams=streams, signals=(),
        )  # fmt: skip

    return _captured(start, stdin, words=" ".join(argv), timeout=timeout)


def capture_run(
    workspace: Workspace, service: str, options: RunOptions, *, stdin: bytes, sink: Sink,
    timeout: float | None = None,
) -> Captured:  # fmt: skip
    """As `capture`, in a new one-off container; `timeout` counts from its start."""
    def start(streams: Sequence[int]) -> Session:
        return oneoff.run(workspace, service, options, streams=streams, sink=sink, signals=())

    words = " ".join(options.command) or service
    return _captured(start, stdin, words=words, timeout=timeout)


def _captured(
    start: Callable[[Sequence[int]], Session], stdin: bytes, *, words: str, timeout: float | None
) -> Captured:
    command = _Command(start, stdin)
    try:
        return command.finish(None if timeout is None else time.monotonic() + timeout)
    except TimeoutError:
        command.kill()
        raise DeadlineError(f"{words!r} has not ended after {timeout:g}s") from None
    except (Interrupted, KeyboardInterrupt):
        command.kill()
        raise
    finally:
        command.close()


class _Command:
    """One command, its two output pipes and what is still to be written to its input."""

    def __init__(self, start: Callable[[Sequence[int]], Session], stdin: bytes) -> None:
        self._stdin = memoryview(stdin)
        theirs, self._input = os.pipe()
        out, their_out = os.pipe()
        err, their_err = os.pipe()
        self._outputs: dict[int, list[bytes]] = {out: [], err: []}
        self._open = {self._input, out, err}
        try:
            self._session = start((theirs, their_out, their_err))
        except BaseException:
            self._close_pipes()
            raise
        finally:
            for fd in (theirs, their_out, their_err):
                os.close(fd)
        os.set_blocking(self._input, False)

    def finish(self, deadline: float | None) -> Captured:
        """Until the exit code is known and nobody can write any more."""
        session = self._session
        while session.exit_code is None or len(self._open - {self._input}) > 0:
            if not self._step(_patience(deadline, is_over=session.exit_code is not None)):
                break
        out, err = (b"".join(parts) for parts in self._outputs.values())
        assert session.exit_code is not None
        return Captured(exit_code=session.exit_code, stdout=out, stderr=err)

    def _step(self, patience: float | None) -> bool:
        """Whether anything happened; TimeoutError where the command was to be done by now."""
        if not self._stdin:
            self._close(self._input)
        reading: list[int | Session] = [fd for fd in self._outputs if fd in self._open]
        if self._session.exit_code is None:
            reading.append(self._session)
        writing = [self._input] if self._input in self._open else []
        readable, writable = interruption.wait(reading, writing, timeout=patience)
        if not readable and not writable:
            if self._session.exit_code is None:
                raise TimeoutError
            return False
        if writable:
            self._write()
        for fd in self._outputs:
            if fd in readable:
                self._read(fd)
        if self._session in readable:
            self._session.step()
        return True

    def _write(self) -> None:
        try:
            self._stdin = self._stdin[os.write(self._input, self._stdin[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it does not read all of it
            self._stdin = self._stdin[:0]

    def _read(self, fd: int) -> None:
        data = os.read(fd, _CHUNK)
        if data:
            self._outputs[fd].append(data)
        else:
            self._close(fd)

    def kill(self) -> None:
        """Its time is over."""
        self._session.signal("SIGKILL")

    def _close(self, fd: int) -> None:
        if fd in self._open:
            self._open.discard(fd)
            os.close(fd)

    def _close_pipes(self) -> None:
        for fd in list(self._open):
            self._close(fd)

    def close(self) -> None:
        self._close_pipes()
        self._session.close()


def _patience(deadline: float | None, *, is_over: bool) -> float | None:
    if deadline is None:
        return _GRACE if is_over else None
    left = max(deadline - time.monotonic(), 0)
    return min(left, _GRACE) if is_over else left
