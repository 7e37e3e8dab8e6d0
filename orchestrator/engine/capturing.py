"""`exec` for a program: its input is given, its output is returned.

Unlike `session.interact` this takes no signals, so it works in any thread.
"""

from __future__ import annotations

import os
import select
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from orchestrator.engine.lookup import running_replica
from orchestrator.errors import DeadlineError, SupervisorError, from_json
from orchestrator.supervisor import client
from orchestrator.supervisor.protocol import ExecRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.engine.workspace import Workspace

_CHUNK = 1 << 16


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
    container = running_replica(workspace, service, index=index)
    request = ExecRequest(
        container=container.record.id, argv=tuple(argv), user=user, cwd=cwd,
        environment=dict(environment or {}), privileged=privileged,
    )  # fmt: skip
    command = _Command(workspace, request, stdin)
    try:
        return command.finish(None if timeout is None else time.monotonic() + timeout)
    except TimeoutError:
        words = " ".join(request.argv)
        raise DeadlineError(f"{words!r} has not ended after {timeout:g}s") from None
    finally:
        command.close()


class _Command:
    """One command, its two output pipes and what is still to be written to its input."""

    def __init__(self, workspace: Workspace, request: ExecRequest, stdin: bytes) -> None:
        self._stdin = memoryview(stdin)
        self._exit_code: int | None = None
        self._client = client.open_client(workspace.layout, workspace.name)
        theirs, self._input = os.pipe()
        out, their_out = os.pipe()
        err, their_err = os.pipe()
        self._outputs: dict[int, list[bytes]] = {out: [], err: []}
        self._open = {self._input, out, err}
        try:
            self._client.request("exec", fds=[theirs, their_out, their_err], **asdict(request))
        except BaseException:
            self.close()
            raise
        finally:
            for fd in (theirs, their_out, their_err):
                os.close(fd)
        os.set_blocking(self._input, False)

    def finish(self, deadline: float | None) -> Captured:
        """Until the exit code is known and nobody can write any more; a process left behind in
        the background may hold the pipes, and is not waited for."""
        while self._exit_code is None or len(self._open - {self._input}) > 0:
            grace = 0.2 if self._exit_code is not None else None
            if not self._step(grace if deadline is None else _left(deadline, grace)):
                break
        out, err = (b"".join(parts) for parts in self._outputs.values())
        assert self._exit_code is not None
        return Captured(exit_code=self._exit_code, stdout=out, stderr=err)

    def _step(self, patience: float | None) -> bool:
        """Whether anything happened; TimeoutError where the command was to be done by now."""
        if not self._stdin:
            self._close(self._input)
        reading: list[int | client.ControlClient] = [
            fd for fd in self._outputs if fd in self._open
        ]
        if self._exit_code is None:
            reading.append(self._client)
        writing = [self._input] if self._input in self._open else []
        readable, writable, _ = select.select(reading, writing, [], patience)
        if not readable and not writable:
            if self._exit_code is None:
                self._client.send({"signal": "SIGKILL"})
                raise TimeoutError
            return False
        if writable:
            self._write()
        for fd in self._outputs:
            if fd in readable:
                self._read(fd)
        if self._client in readable:
            self._hear()
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

    def _hear(self) -> None:
        for message, fds in self._client.pending():
            for fd in fds:
                os.close(fd)
            if "error" in message:
                raise from_json(message["error"])
            if "result" in message:
                code = message["result"].get("exit_code")
                if code is None:
                    raise SupervisorError("the process ended without an exit code")
                self._exit_code = int(code)

    def _close(self, fd: int) -> None:
        if fd in self._open:
            self._open.discard(fd)
            os.close(fd)

    def close(self) -> None:
        for fd in list(self._open):
            self._close(fd)
        self._client.close()


def _left(deadline: float, grace: float | None) -> float:
    left = max(deadline - time.monotonic(), 0)
    return left if grace is None else min(left, grace)
