"""What the keeper keeps: containers and executions, from clone to the last byte of output.

Each object owns its descriptors; `keeper` owns the objects and speaks with the supervisor.
Imported by the keeper: no `typing`, no `dataclasses`.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from _socket import AF_UNIX, SOCK_STREAM, socketpair

from orchestrator.linux import cgroupfs, jsontext, procfs, syscalls
from orchestrator.linux.fds import Channel
from orchestrator.runtime import child as child_side
from orchestrator.runtime import groups
from orchestrator.runtime.pump import Log, Pump
from orchestrator.runtime.steps import Child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Message = dict[str, Any]

CAPTURE = 4096
"""Bytes of a probe's output that are kept."""
_DRAIN = 1 << 12
"""Moves; a pipe whose last writer is gone is empty after a few.  Against surprises."""


class Origin:
    """What the keeper changed for itself and every child gets back."""

    __slots__ = ("nofile", "oom_score_adj", "pid_namespace")

    def __init__(
        self, *, nofile: tuple[int, int], oom_score_adj: int | None, pid_namespace: int
    ) -> None:
        self.nofile = nofile
        self.oom_score_adj = oom_score_adj
        self.pid_namespace = pid_namespace
        """A descriptor of the keeper's own, to come back to after an exec's clone."""


class Task:
    """A process on its way from clone to exec and to its end."""

    __slots__ = ("channel", "failure", "is_started", "master", "name", "pid", "pidfd", "start_time")

    def __init__(self, name: str, *, pid: int, pidfd: int, channel: Channel | None) -> None:
        self.name = name
        self.pid = pid
        self.pidfd = pidfd
        self.channel = channel
        """To the child until it has executed its command; None for adopted ones."""
        self.start_time = procfs.start_time(pid) or 0
        self.is_started = channel is None
        self.failure: Message | None = None
        self.master = -1

    def listen(self) -> bool:
        """Take what the child says; True at the end of the stream: exec, or death."""
        assert self.channel is not None
        try:
            for message, fds in self.channel.pending():
                if message.get("terminal") and len(fds) == 1:
                    self.master = fds[0]
                else:
                    self.failure = message
        except EOFError:
            return True
        return False

    def close_channel(self) -> None:
        if self.channel is not None:
            self.channel.close()
            self.channel = None

    def close(self) -> None:
        """Close everything it owns."""
        self.close_channel()
        for fd in (self.pidfd, self.master):
            if fd >= 0:
                os.close(fd)
        self.pidfd = self.master = -1


class Container(Task):
    """A container's first process with its output and its cgroups."""

    __slots__ = ("exit_path", "groups", "oom_file", "pumps", "request", "waits")

    def __init__(
        self, message: Message, *, pid: int, pidfd: int, channel: Channel | None
    ) -> None:
        super().__init__(message["id"], pid=pid, pidfd=pidfd, channel=channel)
        self.exit_path: str = message["exit_path"]
        self.groups: list[str] = message["groups"]
        self.oom_file: str = message["oom_file"]
        self.pumps: list[Pump] = []
        self.request = {name: value for name, value in message.items() if name != "steps"}
        """What it was launched or adopted with."""
        self.waits = bool(message.get("wait"))
        """It has not got its `go` yet."""

    def give_up(self) -> None:
        """Nobody will say `go`.  What the child says of its own failure counts for more, whether it
        was heard before or is yet to be: somebody may give it up for what that failure did."""
        if self.failure is None:
            self.failure = {"step": "abort", "kind": "Abort", "errno": errno.ECANCELED, "path": "",
                            "message": "given up"}

    def end_orphans(self) -> None:
        """What has outlived the first process, where that is not the first of a pid namespace."""
        if not self.request["orphans"]:
            return
        try:
            cgroupfs.kill(self.request["orphans"])
        except OSError:  # the group has gone with the last of them
            pass

    def drain(self) -> None:
        """Move what its processes have left in the pipes; they are all dead."""
        for pump in self.pumps:
            for _ in range(_DRAIN):
                if not pump.move():
                    break

    def was_oom_killed(self) -> bool:
        """Whether the kernel killed one of its processes for want of memory."""
        text = procfs.read_text(self.oom_file) if self.oom_file else None
        for line in (text or "").splitlines():
            if line.startswith("oom_kill "):
                return int(line[9:]) > 0
        return False

    def write_exit(self, code: int | None) -> Message:
        """Write exit.json, whole, and give its content back."""
        content: Message = {
            "pid": self.pid, "start_time": self.start_time, "exit_code": code,
            "oom_killed": self.was_oom_killed(), "time": time.time(),
        }  # fmt: skip
        temporary = f"{self.exit_path}.{os.getpid()}"
        fd = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, jsontext.encode(content).encode())
        finally:
            os.close(fd)
        os.rename(temporary, self.exit_path)
        return content

    def close(self) -> None:
        for pump in self.pumps:
            if pump.fd == self.master:
                self.master = -1
            pump.close()
        self.pumps = []
        super().close()


class Execution(Task):
    """A command in a running container; `pipe` brings its output where it is captured."""

    __slots__ = ("output", "pipe")

    def __init__(self, name: str, *, pid: int, pidfd: int, channel: Channel, pipe: int) -> None:
        super().__init__(name, pid=pid, pidfd=pidfd, channel=channel)
        self.pipe = pipe
        self.output = b""

    def read(self) -> bool:
        """Read once, keep the first bytes; False when nothing is there (any more)."""
        try:
            data = os.read(self.pipe, 1 << 16)
        except BlockingIOError:
            return False
        self.output += data[: CAPTURE - len(self.output)]
        return bool(data)

    def close(self) -> None:
        if self.pipe >= 0:
            os.close(self.pipe)
            self.pipe = -1
        super().close()


def open_identical(pid: int, started: int) -> int:
    """A pidfd of the process if it is still the same one, else -1."""
    try:
        pidfd = syscalls.pidfd_open(pid)
    except OSError:
        return -1
    if procfs.start_time(pid) == started:
        return pidfd
    os.close(pidfd)
    return -1


def launch(message: Message, origin: Origin, given: Sequence[int]) -> tuple[int, int, Channel]:
    """A container's first process, in the pid namespace of another where it shares one."""
    owner = -1
    if message["pid_namespace"]:
        owner = open_identical(*message["pid_namespace"])
        if owner < 0:
            raise ProcessLookupError(
                errno.ESRCH, "the container whose pid namespace it shares has ended")
    try:
        return spawn(message["steps"], origin, flags=message["namespaces"],
                     group=message["birth_group"], given=given, container=owner)
    finally:
        if owner >= 0:
            os.close(owner)


def spawn(
    steps: Sequence[Message], origin: Origin, *, flags: int, group: str, given: Sequence[int],
    container: int = -1,
) -> tuple[int, int, Channel]:
    """clone(2) a child that executes the steps: (pid, pidfd, channel to it).

    `group` is the cgroup v2 directory it is born in, or empty; with `container` (a pidfd) it is
    born in that container's pid namespace.
    """
    ours, theirs = socketpair(AF_UNIX, SOCK_STREAM)
    channel = Channel(theirs)
    group_fd = -1
    try:
        group_fd = _open_group(group) if group else -1
        pid, pidfd = _clone(flags, group_fd, origin, container)
        if pid == 0:
            _become_child(steps, channel, origin, given, container)
    except BaseException:
        ours.close()
        raise
    finally:
        channel.close()
        if group_fd >= 0:
            os.close(group_fd)
    return pid, pidfd, Channel(ours)


def _become_child(
    steps: Sequence[Message], channel: Channel, origin: Origin, given: Sequence[int],
    container: int,
) -> None:
    """Never returns, whatever happens: there must be no second keeper."""
    try:
        child = Child(channel, oom_score_adj=origin.oom_score_adj, nofile=origin.nofile)
        child.given, child.container = list(given), container
        child_side.run(child, steps)
    finally:
        os._exit(1)


def _clone(flags: int, group_fd: int, origin: Origin, container: int) -> tuple[int, int]:
    group = group_fd if group_fd >= 0 else None
    if container < 0:
        return syscalls.clone_with_pidfd(flags, cgroup_fd=group)
    if not _may_come_back(origin):
        return _clone_through_helper(flags, group, container)
    syscalls.setns(container, syscalls.CLONE_NEWPID)
    try:
        pid, pidfd = syscalls.clone_with_pidfd(flags, cgroup_fd=group)
    except BaseException:
        syscalls.setns(origin.pid_namespace, syscalls.CLONE_NEWPID)
        raise
    if pid:
        syscalls.setns(origin.pid_namespace, syscalls.CLONE_NEWPID)
    return pid, pidfd


def _may_come_back(origin: Origin) -> bool:
    """Whether our children may be born in our own pid namespace again after another one: not in a
    user namespace whose pid namespace is the host's."""
    try:
        syscalls.setns(origin.pid_namespace, syscalls.CLONE_NEWPID)
    except PermissionError:
        return False
    return True


def _clone_through_helper(flags: int, group: int | None, container: int) -> tuple[int, int]:
    """A process of a moment enters the pid namespace in our stead; its child is ours
    (CLONE_PARENT), so the pid stays valid until we have waited for it."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        helper = syscalls.clone()
        if helper == 0:
            _help(flags, group, container, writer)
            return 0, -1
        os.waitpid(helper, 0)
        answer = int(os.read(reader, 32) or -errno.ESRCH)
    finally:
        os.close(reader)
        os.close(writer)
    if answer < 0:
        raise OSError(-answer, os.strerror(-answer))
    return answer, syscalls.pidfd_open(answer)


def _help(flags: int, group: int | None, container: int, writer: int) -> None:
    """Comes back in the child alone; its maker writes the pid, or -errno, and ends."""
    answer = -errno.EIO
    try:
        syscalls.setns(container, syscalls.CLONE_NEWPID)
        answer = syscalls.clone(flags | syscalls.CLONE_PARENT, cgroup_fd=group)
    except OSError as exc:
        answer = -(exc.errno or errno.EIO)
    finally:
        if answer:
            os.write(writer, str(answer).encode())
            os._exit(0)


def _open_group(path: str) -> int:
    groups.make(path)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def make_fifos(directory: str, *, stdin: bool) -> None:
    """Fresh FIFOs: those of the last run may belong to another user."""
    os.makedirs(directory, exist_ok=True)
    for name in ("stdin", "stdout", "stderr"):
        path = f"{directory}/{name}"
        if not stdin and name == "stdin":
            continue
        try:
            os.mkfifo(path, 0o600)
        except FileExistsError:
            os.unlink(path)
            os.mkfifo(path, 0o600)


def open_pumps(message: Message, *, fresh: bool, complain: Callable[[str], None]) -> list[Pump]:
    """The pumps of a container's FIFOs; `fresh` is a start, not an adoption."""
    pumps: list[Pump] = []
    try:
        for stream in ("stdout", "stderr"):
            fd = _open_fifo(f"{message['run_dir']}/{stream}")
            pumps.append(Pump(fd, open_log(message, stream, fresh=fresh, complain=complain),
                              is_terminal=False))
    except BaseException:
        for pump in pumps:
            pump.close()
        raise
    return pumps


def _open_fifo(path: str) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a FIFO", path)
    return fd


def open_log(
    message: Message, stream: str, *, fresh: bool, complain: Callable[[str], None]
) -> Log:
    """The log of one stream of a container."""
    return Log(message["log_dir"], stream, max_size=message["log_max_size"],
               max_files=message["log_max_files"], fresh=fresh, complain=complain)


def reap(pid: int, pidfd: int) -> tuple[bool, int | None]:
    """(whether it is over, its exit code as a shell says it): the code is None where nobody can
    know it.  Not over also means that its own parent has yet to fetch the zombie."""
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
        return found == pid, _shell_code(status)
    except ChildProcessError:
        pass
    known = syscalls.pidfd_exit_info(pidfd)
    if known is not None:
        return True, _shell_code(known)
    fields = (procfs.read_text(f"/proc/{pid}/stat") or "").rpartition(")")[2].split()
    if len(fields) >= 50 and fields[0] == "Z":
        return True, _shell_code(int(fields[49]))
    return False, None


def _shell_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def remove_groups(paths: Sequence[str]) -> list[str]:
    """Remove the cgroups; those that still have (dying) members are given back."""
    busy = []
    for path in paths:
        try:
            os.rmdir(path)
        except FileNotFoundError:
            pass
        except OSError as exc:
            if exc.errno != errno.EBUSY:
                raise
            busy.append(path)
            continue
        groups.remove_above(path)
    return busy
