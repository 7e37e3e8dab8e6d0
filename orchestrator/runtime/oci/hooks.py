"""Hooks: programs of the config's author, run at fixed points with the container's state on stdin.

POSIX-platform hooks of config.md: absolute path, `args` as argv, `env` as the whole environment,
`timeout` in seconds.  A hook need not read its stdin.
"""

from __future__ import annotations

import errno
import os
import select
import time

from orchestrator.linux import jsontext, syscalls
from orchestrator.runtime.oci.faults import OciError, words_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Execute = Callable[[str, list[str], dict[str, str]], None]

_KEPT = 4096
"""Bytes of what a hook says on stderr that go into the error."""


def run_all(
    hooks: list[dict[str, Any]], state: dict[str, Any], *, kind: str, execute: Execute = os.execve,
) -> None:
    """One after the other; OciError for the first that fails, and the rest does not run."""
    for hook in hooks:
        run(hook, state, kind=kind, execute=execute)


def run_each(
    hooks: list[dict[str, Any]], state: dict[str, Any], *, kind: str, warn: Callable[[str], None],
) -> None:
    """One after the other, whatever happens; a failure is a warning."""
    for hook in hooks:
        try:
            run(hook, state, kind=kind)
        except OciError as exc:
            warn(str(exc))


def run(
    hook: dict[str, Any], state: dict[str, Any], *, kind: str, execute: Execute = os.execve,
) -> None:
    """Run it to its end; OciError where it cannot be run, fails or takes longer than it may."""
    given, giving = os.pipe2(os.O_CLOEXEC)
    reading, said = os.pipe2(os.O_CLOEXEC)
    pid, pidfd = syscalls.clone_with_pidfd()
    if pid == 0:
        _become(hook, given, said, execute)
    os.close(given)
    os.close(said)
    timeout = hook.get("timeout")
    deadline = None if timeout is None else time.monotonic() + timeout
    output = _Output(reading)
    over = _talk(giving, output, pidfd, jsontext.encode(state).encode(), deadline)
    if not over:
        syscalls.pidfd_send_signal(pidfd, 9)
    _, status = os.waitpid(pid, 0)
    os.close(pidfd)
    os.close(reading)
    what = f"{kind} hook {hook['path']}"
    if not over:
        raise OciError(f"{what} did not end within {timeout} s")
    if status:
        code = os.waitstatus_to_exitcode(status)
        how = f"was ended by signal {-code}" if code < 0 else f"failed with code {code}"
        text = " ".join(output.text.decode(errors="replace").split())
        raise OciError(f"{what} {how}" + (f": {text}" if text else ""))


class _Output:
    """The first bytes of stderr; the rest is read and dropped."""

    __slots__ = ("fd", "text")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.text = b""

    def read(self) -> bool:
        data = os.read(self.fd, 1 << 16)
        self.text += data[: _KEPT - len(self.text)]
        return bool(data)


def _talk(
    giving: int, output: _Output, pidfd: int, state: bytes, deadline: float | None
) -> bool:
    """Write the state, read stderr, wait for the end; False: it is too late."""
    os.set_blocking(giving, False)
    poll = select.poll()
    poll.register(giving, select.POLLOUT)
    poll.register(output.fd, select.POLLIN)
    poll.register(pidfd, select.POLLIN)
    rest = memoryview(state)
    try:
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            ready = dict(poll.poll(None if left is None else left * 1000))
            if giving in ready:
                rest = _write(giving, rest)
                if not rest:
                    poll.unregister(giving)
                    os.close(giving)
                    giving = -1
            if output.fd in ready and not output.read():
                poll.unregister(output.fd)
            if pidfd in ready:
                return True
    finally:
        if giving >= 0:
            os.close(giving)


def _write(fd: int, rest: memoryview) -> memoryview:
    """What is still to be written; nothing if the hook has closed its stdin (Python ignores
    SIGPIPE)."""
    try:
        return rest[os.write(fd, rest):]
    except OSError as exc:
        if exc.errno == errno.EAGAIN:
            return rest
        if exc.errno == errno.EPIPE:
            return rest[:0]
        raise


def _become(hook: dict[str, Any], given: int, said: int, execute: Execute) -> None:
    """The child: never returns."""
    try:
        import _signal as signals  # type: ignore[import-not-found]  # as in runtime.child

        for number in (signals.SIGPIPE, signals.SIGXFSZ):
            signals.signal(number, signals.SIG_DFL)
        os.dup2(given, 0)
        os.dup2(said, 2)
        os.dup2(2, 1)  # our stdout is the container's
        syscalls.close_range(3, 0xFFFF_FFFF, cloexec=True)
        pairs = (entry.partition("=") for entry in hook.get("env", ()))
        environment = {name: value for name, equals, value in pairs if equals and name}
        execute(hook["path"], hook.get("args") or [hook["path"]], environment)
    except OSError as exc:
        os.write(2, words_of(exc).encode())
    finally:
        os._exit(126)
