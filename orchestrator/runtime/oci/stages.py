"""The steps in which the first process talks: with `create` while it is made, with `start` after.

Between the two it waits on a listening socket in the state directory.  It is not dumpable and holds
nothing of the host but descriptors that exec closes.
"""

from __future__ import annotations

import errno
import os
import resource
from _socket import socket

from orchestrator.linux import syscalls, tty
from orchestrator.linux.fds import Channel
from orchestrator.runtime import command
from orchestrator.runtime.oci import hooks as hook_runner
from orchestrator.runtime.oci.faults import OciError
from orchestrator.runtime.oci.namespaces import become_root
from orchestrator.runtime.steps import Child, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class OciChild(Child):
    """What an OCI container's first process knows besides."""

    __slots__ = ("command", "host_pid")

    def __init__(self, channel: Channel, *, keep: list[int]) -> None:
        super().__init__(channel, oom_score_adj=None,
                         nofile=resource.getrlimit(resource.RLIMIT_NOFILE))
        self.given = keep
        self.command = ""
        self.host_pid = 0
        """Its pid as the runtime sees it, once that has told."""


class Ask(Step):
    """Say that we have come to `point` and wait until `create` has done its part there."""

    __slots__ = ("point",)
    point: str

    def execute(self, child: Child) -> None:
        child.channel.send({"at": self.point})
        answer = child.channel.receive()
        if answer is None:
            raise OSError(errno.ECANCELED, "the runtime is gone")
        assert isinstance(child, OciChild)
        child.host_pid = answer[0].get("pid", child.host_pid)

    def describe(self) -> str:
        return f"wait for {self.point}"


class BecomeRoot(Step):
    """User 0 of the new user namespace, once the ids are mapped."""

    __slots__ = ()

    def execute(self, child: Child) -> None:
        become_root()
        syscalls.set_dumpable(0)

    def describe(self) -> str:
        return "become root of the user namespace"


class Hide(Step):
    """Not dumpable: no process of the container sees our descriptors or our executable."""

    __slots__ = ()

    def execute(self, child: Child) -> None:
        syscalls.set_dumpable(0)

    def describe(self) -> str:
        return "hide from the container"


class RunHooks(Step):
    """Hooks that run in the container's namespaces: createContainer before pivot_root,
    startContainer after it; the latter through our init binary, see `Become`."""

    __slots__ = ("hooks", "kind", "state")
    hooks: list[dict[str, Any]]
    kind: str
    state: dict[str, Any]

    def execute(self, child: Child) -> None:
        def through_init(path: str, argv: list[str], environment: dict[str, str]) -> None:
            execute_through_init(child.init_fd, os.dup(2), path, argv, environment)

        execute = through_init if self.kind == "startContainer" else os.execve
        assert isinstance(child, OciChild)
        state = {**self.state, "pid": child.host_pid}
        hook_runner.run_all(self.hooks, state, kind=self.kind, execute=execute)

    def describe(self) -> str:
        return f"{self.kind} hooks"


class Console(Step):
    """A pty of the container's own devpts: its master goes to `create`, the slave is all three
    streams and the controlling terminal, and with `bind` /dev/console.  `size`: rows, columns."""

    __slots__ = ("bind", "size")
    size: list[int]
    bind: bool

    def execute(self, child: Child) -> None:
        master, slave = tty.open_pty("/dev/pts/ptmx")
        if self.size:
            tty.set_window_size(master, rows=self.size[0], columns=self.size[1])
        child.channel.send({"at": "console"}, [master])
        if self.bind:
            self._bind(tty.pty_number(master))
        os.close(master)
        os.fchown(slave, child.uid, -1)
        tty.make_controlling(slave)
        for number in range(3):
            os.dup2(slave, number, inheritable=True)
        os.close(slave)

    def _bind(self, number: int) -> None:
        flags = os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY
        os.close(os.open("/dev/console", flags | os.O_NONBLOCK, 0o600))
        syscalls.mount(f"/dev/pts/{number}", "/dev/console", "", syscalls.MS_BIND)

    def describe(self) -> str:
        return "open a terminal"


class CheckCommand(Step):
    """See before `create` ends whether the command is there, in the PATH of the container."""

    __slots__ = ("name", "path")
    name: str
    path: str

    def execute(self, child: Child) -> None:
        assert isinstance(child, OciChild)
        child.command = command.find_executable(self.name, self.path)

    def describe(self) -> str:
        return f"exec {self.name}"


class Ready(Step):
    """Tell `create` that all is set up, and hear that it has written so; from then on its end does
    not matter."""

    __slots__ = ()

    def execute(self, child: Child) -> None:
        syscalls.set_parent_death_signal(0)
        child.channel.send({"at": "ready"})
        if child.channel.receive() is None:
            raise OSError(errno.ECANCELED, "the runtime is gone")
        child.channel.close()

    def describe(self) -> str:
        return "tell that all is ready"


class Detach(Step):
    """From here on the end of the runtime is not ours."""

    __slots__ = ()

    def execute(self, child: Child) -> None:
        syscalls.set_parent_death_signal(0)

    def describe(self) -> str:
        return "detach"


class WaitForStart(Step):
    """Until `start` connects; it hears over the same connection what fails from here on."""

    __slots__ = ("listener",)
    listener: int

    def execute(self, child: Child) -> None:
        listener = socket(fileno=self.listener)
        while True:
            fd, _ = listener._accept()  # type: ignore[attr-defined]  # as socket.accept does
            channel = Channel(socket(fileno=fd))
            message = _hear(channel)
            if message is not None and message.get("op") == "start":
                child.channel = channel
                listener.close()
                return
            channel.close()

    def describe(self) -> str:
        return "wait for start"


def _hear(channel: Channel) -> dict[str, Any] | None:
    try:
        received = channel.receive()
    except (OSError, ValueError):
        return None
    return None if received is None else received[0]


class NoProcess(Step):
    """A container without `process` can be created, but not started."""

    __slots__ = ()

    def execute(self, child: Child) -> None:
        raise OciError("the config has no process to start")

    def describe(self) -> str:
        return "start"


class Become(Step):
    """Execute the command: by way of our init binary on a read-only mount, so that whatever in the
    container leads to /proc/self/exe (an interpreter line, a loader) finds that and not Python
    (CVE-2019-5736).  `keep` descriptors beyond stderr stay open."""

    __slots__ = ("argv", "environment", "keep")
    argv: list[str]
    environment: dict[str, str]
    keep: int

    def execute(self, child: Child) -> None:
        assert isinstance(child, OciChild)
        environment = {**child.environment, **self.environment}
        syscalls.close_range(3 + self.keep, 0xFFFF_FFFF, cloexec=True)
        fd = child.channel.fileno()
        execute_through_init(child.init_fd, fd, child.command, self.argv, environment)

    def describe(self) -> str:
        return f"exec {self.argv[0]}"


def execute_through_init(
    init_fd: int, report_fd: int, path: str, argv: list[str], environment: dict[str, str]
) -> None:
    """execve(2) by way of runtime/init, which writes to `report_fd` if the kernel refuses."""
    os.set_inheritable(report_fd, True)
    os.execve(init_fd, ["pcompose-init", "-x", str(report_fd), path, *argv], environment)
