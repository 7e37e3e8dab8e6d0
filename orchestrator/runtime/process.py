"""Processes that may outlive us: identified by pid and start time, held by pidfd.

Knows nothing of containers beyond that their first process may be our init.
"""

from __future__ import annotations

import os
import select

from orchestrator.linux import procfs, syscalls


class Process:
    """A process that cannot be mistaken for a later one with the same pid; owns `pidfd`."""

    __slots__ = ("pid", "pidfd", "start_time")

    def __init__(self, *, pid: int, start_time: int, pidfd: int) -> None:
        self.pid = pid
        self.start_time = start_time
        self.pidfd = pidfd
        """Readable (poll(2)) once the process has ended; CLOEXEC."""

    @staticmethod
    def adopt(pid: int, start_time: int) -> Process | None:
        """The process if it is still there and the same one."""
        if pid <= 0:
            return None
        try:
            pidfd = syscalls.pidfd_open(pid)
        except OSError:  # ESRCH; EINVAL for a thread
            return None
        if procfs.start_time(pid) != start_time:
            os.close(pidfd)
            return None
        return Process(pid=pid, start_time=start_time, pidfd=pidfd)

    def is_alive(self) -> bool:
        """False also for a zombie."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return not poll.poll(0)

    def signal(self, number: int) -> bool:
        """Send the signal; False if the process is gone."""
        try:
            syscalls.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            return False
        return True

    def close(self) -> None:
        """Close the pidfd; again is nothing."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


def effective_pid1(pid: int, *, has_init: bool) -> int:
    """The process that has to react to a signal: below our init its first child, else `pid`."""
    children = procfs.children(pid) if has_init else []
    return children[0] if children else pid


TAKES = "takes"
BLOCKS = "blocks"
DROPS = "drops"


def reaction(pid: int, signal: int) -> str:
    """What comes of the signal: the process TAKES it (a handler, or the default action), it is
    dropped without a trace (DROPS), or it waits (BLOCKS): sigwait(2) may fetch it, but if it is
    only blocked for a moment (a shell does so around vfork) it is dropped after that.

    The first process of a pid namespace gets only what it catches, any other what it does not
    ignore (pid_namespaces(7)).  TAKES if the process is gone."""
    fields = _status(pid)
    if not fields:
        return TAKES

    def has(mask: str) -> bool:
        return bool(int(fields[mask], 16) >> (signal - 1) & 1)

    if fields["NSpid"].split()[-1] != "1":
        return DROPS if has("SigIgn") else TAKES
    if has("SigCgt"):
        return TAKES
    return BLOCKS if has("SigBlk") or procfs.is_in_sigwait(pid) else DROPS


def _status(pid: int) -> dict[str, str]:
    text = procfs.read_text(f"/proc/{pid}/status") or ""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in pairs}
