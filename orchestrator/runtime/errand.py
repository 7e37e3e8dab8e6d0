"""A small process that runs containers for somebody who waits for their end: the steps of builds.

One at a time, asked over the socket it is started with; when that ends, so does the container.  It
exists because clone(2) is safe and cheap only in a process with one thread and little memory, which
whoever builds has not.  Run as `python -SI`, as the keeper is; see `runtime.errand_client`.
"""

from __future__ import annotations

import _signal as signals  # type: ignore[import-not-found]  # `signal` costs an import of `enum`
import os
import resource
import select
import time
from _socket import socket

from orchestrator.linux import syscalls
from orchestrator.linux.fds import Channel
from orchestrator.runtime import kept
from orchestrator.runtime.child import IGNORED_BY_KEEPER
from orchestrator.runtime.kept import Origin, Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.runtime.kept import Message

_PATIENCE = 2.0
"""Seconds the kernel gets to let go of a cgroup."""
_BAD = (OSError, KeyError, TypeError, ValueError)


class Errands:
    """Serves one client until it is gone."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        nofile = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._origin = Origin(nofile=nofile, oom_score_adj=None, pid_namespace=-1)

    def serve(self) -> None:
        """Until the client has closed its end."""
        while (received := self._channel.receive()) is not None:
            message, fds = received
            try:
                self._run(message, fds)
            except _BAD as exc:
                self._failed(exc)
            finally:
                for fd in fds:
                    os.close(fd)

    def _failed(self, exc: BaseException) -> None:
        number = exc.errno if isinstance(exc, OSError) and exc.errno else 0
        text = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        path = exc.filename if isinstance(exc, OSError) else ""
        self._channel.send({"event": "failed", "step": "prepare", "kind": "Prepare",
                            "errno": number, "message": text,
                            "path": path if isinstance(path, str) else ""})

    def _run(self, message: Message, fds: list[int]) -> None:
        pid, pidfd, channel = kept.spawn(
            message["steps"], self._origin, flags=message["namespaces"],
            group=message["birth_group"], given=fds)
        task = Task(message["id"], pid=pid, pidfd=pidfd, channel=channel)
        while fds:  # else nobody would see the end of the output
            os.close(fds.pop())
        try:
            self._channel.send({"event": "cloned", "pid": pid})
            code = self._await(task)
        except BaseException:  # nobody is left who waits for it
            _end(task)
            raise
        finally:
            task.close()
            remove_groups(message["groups"])
        if task.failure is not None:
            self._channel.send({"event": "failed", **task.failure})
        else:
            self._channel.send({"event": "exited", "exit_code": code})

    def _await(self, task: Task) -> int:
        """Until the container's first process is reaped."""
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        poll.register(task.pidfd, select.POLLIN)
        assert task.channel is not None
        child = task.channel.fileno()
        poll.register(child, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == task.pidfd:
                    if task.channel is not None:
                        task.listen()
                    _, code = kept.reap(task.pid, task.pidfd)
                    return 1 if code is None else code
                if fd == child:
                    if task.listen():
                        poll.unregister(child)
                        task.close_channel()
                elif not self._hear(task):
                    poll.unregister(fd)

    def _hear(self, task: Task) -> bool:
        """What the client says meanwhile; False at its end, which is the container's too."""
        try:
            for message, _ in self._channel.pending():
                if message.get("op") == "go" and task.channel is not None:
                    task.channel.send({"op": "go"})
                elif message.get("op") == "kill":
                    syscalls.pidfd_send_signal(task.pidfd, signals.SIGKILL)
        except EOFError:
            syscalls.pidfd_send_signal(task.pidfd, signals.SIGKILL)
            return False
        return True


def _end(task: Task) -> None:
    """Kill the container, whose processes end with its first one."""
    syscalls.pidfd_send_signal(task.pidfd, signals.SIGKILL)
    os.waitpid(task.pid, 0)


def remove_groups(paths: Sequence[str]) -> None:
    """The last members may still be dying."""
    end = time.monotonic() + _PATIENCE
    while (busy := kept.remove_groups(paths)) and time.monotonic() < end:
        paths = busy
        time.sleep(0.005)


def main(descriptor: int) -> None:
    """Serve the socket until its other end is closed."""
    for number in IGNORED_BY_KEEPER:
        signals.signal(number, signals.SIG_IGN)
    syscalls.set_name("pcompose-errand")
    try:
        Errands(Channel(socket(fileno=descriptor))).serve()
    except OSError:
        return  # the client is gone in the middle of an answer
    finally:
        os._exit(0)
