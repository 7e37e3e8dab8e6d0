"""How the first process comes to be: cloned into its new namespaces, by way of a stage where others
are to be joined.

A stage is a process in between: it enters the namespaces to join, writes the offsets of a new time
namespace, and clones the first process with CLONE_PARENT, so that it becomes a child of the runtime
and, when that is gone, of whoever called it (conmon, containerd-shim).
"""

from __future__ import annotations

import errno
import os
import select
from _socket import AF_UNIX, SOCK_STREAM, socketpair

from orchestrator.linux import syscalls
from orchestrator.linux.fds import Channel
from orchestrator.runtime import child as child_side
from orchestrator.runtime.groups import write
from orchestrator.runtime.oci.faults import OciError, words_of
from orchestrator.runtime.oci.namespaces import FLAGS, Namespaces, become_root, join_all, map_ids
from orchestrator.runtime.oci.stages import OciChild

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.runtime.steps import Step


class Born:
    """A process that executes steps, and the channel to it; owns both descriptors."""

    __slots__ = ("channel", "is_mapped", "pid", "pidfd")

    def __init__(self, pid: int, pidfd: int, channel: Channel, *, is_mapped: bool) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.channel = channel
        self.is_mapped = is_mapped
        """Its user namespace has its maps already."""

    def kill(self) -> None:
        """End it and fetch it."""
        try:
            syscalls.pidfd_send_signal(self.pidfd, 9)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass

    def close(self) -> None:
        self.channel.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


def spawn(
    steps: Sequence[Step], namespaces: Namespaces, *, keep: list[int], group_fd: int | None,
) -> Born:
    """The first process, on its way through `steps`; `keep` are the descriptors it needs.
    `group_fd`: the version 2 group it is born in, where no stage is needed."""
    ours, theirs = socketpair(AF_UNIX, SOCK_STREAM)
    channel, far = Channel(ours), Channel(theirs)
    try:
        if namespaces.needs_stage:
            return _spawn_by_stage(steps, namespaces, channel, far, keep)
        pid, pidfd = syscalls.clone_with_pidfd(namespaces.clone_flags(), cgroup_fd=group_fd)
        if pid == 0:
            _become_child(steps, far, keep)
        return Born(pid, pidfd, channel, is_mapped=False)
    except BaseException:
        channel.close()
        raise
    finally:
        far.close()


def _become_child(steps: Sequence[Step], channel: Channel, keep: list[int]) -> None:
    try:
        child_side.run(OciChild(channel, keep=keep), steps)
    finally:
        os._exit(1)


def _spawn_by_stage(
    steps: Sequence[Step], namespaces: Namespaces, channel: Channel, far: Channel,
    keep: list[int],
) -> Born:
    """The stage talks over a channel of its own: the first process may be quicker to speak than it
    is to tell its pid."""
    ours, theirs = (Channel(each) for each in socketpair(AF_UNIX, SOCK_STREAM))
    stage, stage_fd = syscalls.clone_with_pidfd()
    if stage == 0:
        try:
            _stage(steps, namespaces, theirs, far, keep)
        finally:
            os._exit(1)
    theirs.close()
    try:
        while True:
            received = ours.receive()
            if received is None:
                raise OciError("the first process died before it was born")
            message, fds = received
            if "errno" in message:
                raise OciError(f"cannot {message['step']}: {message['message']}")
            if message["at"] == "map":
                map_ids(stage, namespaces)
                ours.send({"op": "go"})
            else:
                (pidfd,) = fds
                return Born(message["pid"], pidfd, channel, is_mapped="user" in namespaces.new)
    finally:
        ours.close()
        syscalls.pidfd_send_signal(stage_fd, 9)
        os.waitpid(stage, 0)
        os.close(stage_fd)


def _stage(
    steps: Sequence[Step], namespaces: Namespaces, talk: Channel, channel: Channel,
    keep: list[int],
) -> None:
    """Never returns: in the stage it ends, in the first process it executes the steps."""
    doing = "join the namespaces"
    try:
        syscalls.set_parent_death_signal(9)
        syscalls.set_dumpable(0)
        join_all(namespaces.joined)
        flags = namespaces.clone_flags()
        if "user" in namespaces.new:
            doing = "make the user namespace"
            _enter_user_namespace(talk)
            flags &= ~syscalls.CLONE_NEWUSER
        if "time" in namespaces.new:
            doing = "make the time namespace"
            syscalls.unshare(FLAGS["time"])
            if namespaces.offsets:
                syscalls.set_dumpable(1)  # else the file is not ours in a user namespace
                write("/proc/self/timens_offsets", namespaces.offsets)
                syscalls.set_dumpable(0)
        doing = "make the namespaces"
        pid, pidfd = syscalls.clone_with_pidfd(flags | syscalls.CLONE_PARENT)
        if pid == 0:
            _become_child(steps, channel, keep)
        talk.send({"at": "born", "pid": pid}, [pidfd])
        select.poll().poll()  # until we are ended
    except OSError as exc:
        talk.send({"step": doing, "errno": exc.errno or errno.EIO, "message": words_of(exc)})
    finally:
        os._exit(1)


def _enter_user_namespace(talk: Channel) -> None:
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    syscalls.set_dumpable(1)  # else its maps belong to root of the host alone
    talk.send({"at": "map"})
    if talk.receive() is None:
        raise OSError(errno.ECANCELED, "the runtime is gone")
    become_root()
    syscalls.set_dumpable(0)
