"""Fork servers: processes that have imported what takes long to import, and become it on request.

A fork takes a millisecond or two where a start of the interpreter with its imports takes a tenth of
a second.  A request is one packet with the command line that the new process shows, its environment
and its descriptors from 0 on.  A server ends with its holder, or when that lets go of it.  What the
new process does is given as a function; nothing is known of it here.
"""

from __future__ import annotations

import _signal as signals  # type: ignore[import-not-found]  # `signal` costs an import of `enum`
import ctypes
import fcntl
import gc
import os
import select
from _socket import (
    AF_UNIX,
    MSG_CMSG_CLOEXEC,
    MSG_NOSIGNAL,
    SCM_RIGHTS,
    SOCK_CLOEXEC,
    SOCK_SEQPACKET,
    SOL_SOCKET,
    socket,
)
from _socket import socketpair as _socketpair

from orchestrator.linux import fds as descriptors
from orchestrator.linux import jsontext, procfs, syscalls

TYPE_CHECKING = False  # as in typing, which is not imported at run time
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

PADDING = " " * 4096
"""The last argument of a fork server: room for the command lines of those that it becomes."""
_MOST = 1 << 20
ABOVE_STREAMS = 10
"""The lowest descriptor that a new process's own do not replace."""
_USUAL = (signals.SIGHUP, signals.SIGINT, signals.SIGQUIT, signals.SIGPIPE, signals.SIGTERM)


class ForkServer:
    """The holder's end of one; any thread may use it."""

    def __init__(self, sock: socket) -> None:
        self._socket = sock

    def ask(
        self, argv: Sequence[str], environment: Mapping[str, str], fds: Sequence[int]
    ) -> None:
        """Have a process begin, in a session of its own, with `fds` as its descriptors 0, 1, …
        OSError where the server is gone or the request is too big; a fork that fails shows in
        nothing but the end of what it would have had."""
        text = jsontext.encode({"argv": list(argv), "environment": dict(environment)})
        self._socket.sendmsg([text.encode()], [(SOL_SOCKET, SCM_RIGHTS, descriptors.pack(fds))],
                             MSG_NOSIGNAL)  # fmt: skip

    def close(self, *, wait: bool = False) -> None:
        """Let go of it; with `wait` it has ended when this returns."""
        if wait:
            try:
                self._socket.shutdown(1)
                self._socket.recv(1)
            except OSError:
                pass  # it is gone: that is what was waited for
        self._socket.close()


def spawn(
    argv: Sequence[str], environment: Mapping[str, str], fds: Sequence[int], *, path: str = ""
) -> int:
    """The slow way to the same: a process in a session of its own with these as its descriptors 0,
    1, …, and no signal blocked or ignored.  Its pid; it is our child.  OSError."""
    above = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, ABOVE_STREAMS) for fd in fds]
    try:
        return os.posix_spawn(
            path or argv[0], list(argv), environment, setsid=True, setsigmask=[], setsigdef=_USUAL,
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(above)],
        )  # fmt: skip
    finally:
        for fd in above:
            os.close(fd)


def pair() -> tuple[ForkServer, socket]:
    """The holder's end and the server's, which is for its start only."""
    ours, theirs = _socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    return ForkServer(_moved(ours.detach())), theirs


def _moved(fd: int) -> socket:
    """Out of the way of what a fork gets."""
    try:
        return socket(fileno=fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, ABOVE_STREAMS))
    finally:
        os.close(fd)


def close_others(first: int) -> None:
    """Close what a new process has from this number on: whoever has started it may have been given
    descriptors that are to end with it, such as a shell's lock."""
    syscalls.close_range(first, 0xFFFF_FFFF)


def serve(fd: int, become: Callable[[list[str]], object], *, holder: int) -> None:
    """Fork for each request that comes by the socket `fd`, until the process `holder` has ended or
    let go; who waits for us sees the end of that socket with our own.  `become` gets the command
    line, in the new process, and never returns."""
    sock = socket(fileno=fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, ABOVE_STREAMS))
    try:
        pidfd = syscalls.pidfd_open(holder)
    except ProcessLookupError:
        return
    signals.signal(signals.SIGCHLD, signals.SIG_IGN)  # nobody asks how they ended
    gc.collect()
    gc.freeze()  # their memory stays shared
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    poll.register(pidfd, select.POLLIN)
    while pidfd not in (ready for ready, _ in poll.poll()):
        data, ancillary, _, _ = sock.recvmsg(_MOST, descriptors.SPACE, MSG_CMSG_CLOEXEC)
        if not data:
            return
        given = [fd for _, _, packed in ancillary for fd in descriptors.unpack(packed)]
        if _fork() == 0:
            for own in (fd, sock.detach(), pidfd):
                os.close(own)
            _begin(data, given, become)
        for one in given:
            os.close(one)


def _fork() -> int:
    try:
        return os.fork()
    except OSError:  # no more processes: who asked sees its descriptors closed
        return -1


def _begin(data: bytes, given: list[int], become: Callable[[list[str]], object]) -> None:
    try:
        message: Any = jsontext.decode(data)
        os.setsid()
        signals.signal(signals.SIGCHLD, signals.SIG_DFL)
        # The streams first: what comes after may have to complain.
        for number, fd in enumerate(given):
            os.dup2(fd, number, inheritable=number < 3)
        for fd in given:
            if fd >= len(given):
                os.close(fd)
        show_command_line(message["argv"])
        os.environ.clear()
        os.environ.update(message["environment"])
        become(message["argv"])
    finally:
        os._exit(70)


def show_command_line(argv: Sequence[str]) -> None:
    """Let /proc/PID/cmdline show it, as far as the memory of the real one has room: others tell
    by it what a process is."""
    begin, end = procfs.argument_area()
    text = b"".join(os.fsencode(word) + b"\0" for word in argv)[: end - begin - 1]
    ctypes.memset(begin, 0, end - begin)
    ctypes.memmove(begin, text, len(text))
