"""Waiting for a process in the foreground: its end, its terminal, and our signals on to it."""

from __future__ import annotations

import _signal as signals  # type: ignore[import-not-found]  # `signal` costs an import of `enum`
import os
import select

from orchestrator.linux import syscalls
from orchestrator.runtime.oci.consoles import Relay

_WINDOW = signals.SIGWINCH
_FORWARDED = (signals.SIGHUP, signals.SIGINT, signals.SIGQUIT, signals.SIGTERM, signals.SIGUSR1,
              signals.SIGUSR2, signals.SIGCONT, _WINDOW)


class Signals:
    """The signals that came since we began to collect them, on a descriptor to wait for."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._old: list[tuple[int, object]] = []

    def __enter__(self) -> Signals:
        signals.set_wakeup_fd(self._writing)
        for number in _FORWARDED:
            self._old.append((number, signals.signal(number, lambda *_: None)))
        return self

    def __exit__(self, *exc: object) -> None:
        signals.set_wakeup_fd(-1)
        for number, action in self._old:
            signals.signal(number, signals.SIG_DFL if action is None else action)
        os.close(self._reading)
        os.close(self._writing)

    def fileno(self) -> int:
        return self._reading

    def take(self) -> list[int]:
        try:
            return list(os.read(self._reading, 256))
        except BlockingIOError:
            return []


def wait(pid: int, master: int, collected: Signals) -> int:
    """The exit code of our child `pid`, 128+N for signal N; `master` is its terminal's or -1."""
    pidfd = syscalls.pidfd_open(pid)
    try:
        if master < 0:
            _loop(pidfd, None, collected)
        else:
            with Relay(master) as relay:
                _loop(pidfd, relay, collected)
    finally:
        os.close(pidfd)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _loop(pidfd: int, relay: Relay | None, collected: Signals) -> None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(collected.fileno(), select.POLLIN)
    if relay is not None:
        poll.register(relay.fileno(), select.POLLIN)
        poll.register(0, select.POLLIN)
    while True:
        ready = dict(poll.poll())
        if collected.fileno() in ready:
            for number in collected.take():
                _forward(number, pidfd, relay)
        if relay is not None:
            if relay.fileno() in ready and not relay.take():
                poll.unregister(relay.fileno())
            if 0 in ready and not relay.give():
                poll.unregister(0)
        if pidfd in ready:
            return


def _forward(number: int, pidfd: int, relay: Relay | None) -> None:
    if number == _WINDOW and relay is not None:
        relay.resize()
        return
    try:
        syscalls.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        pass
