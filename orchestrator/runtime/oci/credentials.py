"""The steps that make the process what `process` says: scheduling, labels, ids, capabilities.

Each is one thing the kernel is asked; order and values are chosen in `oci.process` and
`oci.creation`.
"""

from __future__ import annotations

import errno
import os
from _socket import SCM_RIGHTS, SOL_SOCKET, socket

from orchestrator.linux import caps, jsontext, keyring, scheduling, syscalls
from orchestrator.runtime.groups import write
from orchestrator.runtime.oci.stages import OciChild
from orchestrator.runtime.privilege import SecurityLabel
from orchestrator.runtime.steps import Child, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TO_LOAD = caps.mask_of(("CAP_SYS_ADMIN", "CAP_SETPCAP"))
"""What loading a filter without no_new_privs, and dropping the rest after it, needs."""


class Scheduler(Step):
    """Keyword arguments of sched_setattr."""

    __slots__ = ("attributes",)
    attributes: dict[str, int]

    def execute(self, child: Child) -> None:
        scheduling.sched_setattr(**self.attributes)

    def describe(self) -> str:
        return "set the scheduling policy"


class IoPriority(Step):
    """The class and level of disk time."""

    __slots__ = ("level", "scheduling_class")
    scheduling_class: int
    level: int

    def execute(self, child: Child) -> None:
        scheduling.ioprio_set(scheduling_class=self.scheduling_class, level=self.level)

    def describe(self) -> str:
        return "set the I/O priority"


class MemoryPolicy(Step):
    """On which nodes memory is taken."""

    __slots__ = ("mode", "nodes")
    mode: int
    nodes: list[int]

    def execute(self, child: Child) -> None:
        scheduling.set_mempolicy(self.mode, set(self.nodes))

    def describe(self) -> str:
        return "set the memory policy"


class Personality(Step):
    """The execution domain."""

    __slots__ = ("domain",)
    domain: int

    def execute(self, child: Child) -> None:
        scheduling.personality(self.domain)

    def describe(self) -> str:
        return "set the personality"


class Affinity(Step):
    """The processors it may run on."""

    __slots__ = ("processors",)
    processors: list[int]

    def execute(self, child: Child) -> None:
        os.sched_setaffinity(0, self.processors)

    def describe(self) -> str:
        return "set the CPU affinity"


class Names(Step):
    """The names of the UTS namespace that are not empty."""

    __slots__ = ("domainname", "hostname")
    hostname: str
    domainname: str

    def execute(self, child: Child) -> None:
        if self.hostname:
            syscalls.sethostname(self.hostname)
        if self.domainname:
            syscalls.setdomainname(self.domainname)

    def describe(self) -> str:
        return f"hostname {self.hostname}"


class Umask(Step):
    """The mask of new files."""

    __slots__ = ("mask",)
    mask: int

    def execute(self, child: Child) -> None:
        os.umask(self.mask)

    def describe(self) -> str:
        return "umask"


class NewKeyring(Step):
    """A session keyring of its own, where the kernel has any."""

    __slots__ = ("name",)
    name: str

    def execute(self, child: Child) -> None:
        keyring.join_session_keyring(self.name)

    def describe(self) -> str:
        return "new session keyring"


class Sysctls(Step):
    """Values of /proc/sys by their paths below it; written through the host's /proc, before
    pivot_root: the kernel asks who writes, and the container's own is read-only by then."""

    __slots__ = ("values",)
    values: dict[str, str]

    def execute(self, child: Child) -> None:
        for path, value in self.values.items():
            write(f"/proc/sys/{path}", value)

    def describe(self) -> str:
        return "write sysctls"


def labels(wanted: dict[str, Any]) -> list[Step]:
    """Labels of `process` where the kernel has what they are for."""
    found: list[Step] = []
    if wanted.get("apparmorProfile") and has_apparmor():
        found.append(SecurityLabel(module="apparmor", label=wanted["apparmorProfile"]))
    if wanted.get("selinuxLabel") and has_selinux():
        found.append(SecurityLabel(module="selinux", label=wanted["selinuxLabel"]))
    return found


def has_selinux() -> bool:
    """Whether the kernel enforces labels."""
    return os.path.isdir("/sys/fs/selinux")


def has_apparmor() -> bool:
    """Whether the kernel has profiles."""
    return os.path.isdir("/sys/kernel/security/apparmor")


class BecomeProcess(Step):
    """Ids and the five capability sets (masks).  With `keep_for_filter` two capabilities stay until
    the filter is loaded, by `LoadFilter`."""

    __slots__ = ("keep_for_filter", "masks")
    masks: dict[str, int]
    keep_for_filter: bool

    def execute(self, child: Child) -> None:
        _, permitted, _ = syscalls.capget()
        keep = _TO_LOAD & permitted if self.keep_for_filter else 0
        inheritable = self.masks["inheritable"] & permitted
        # The kernel takes nothing inheritable that is not in the bounding set any more.
        syscalls.capset(effective=permitted, permitted=permitted, inheritable=inheritable)
        caps.drop_bounding(self.masks["bounding"])
        syscalls.set_keepcaps()
        _set_groups(child.groups)
        os.setresgid(child.gid, child.gid, child.gid)
        os.setresuid(child.uid, child.uid, child.uid)
        syscalls.set_dumpable(0)  # a change of ids has made it what suid_dumpable says
        own = self.masks["permitted"] & permitted
        syscalls.capset(
            effective=self.masks["effective"] & permitted | keep, permitted=own | keep,
            inheritable=inheritable)  # fmt: skip
        _raise_ambient(self.masks["ambient"] & own)

    def describe(self) -> str:
        return "user ids and capabilities"


def _set_groups(groups: list[int]) -> None:
    """Where a user namespace forbids setgroups(2), none to set is no error."""
    try:
        os.setgroups(groups)
    except PermissionError:
        if groups:
            raise


def _raise_ambient(mask: int) -> None:
    syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    for bit in range(mask.bit_length()):
        if mask >> bit & 1:
            syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_RAISE, bit)


class LoadFilter(Step):
    """Load a seccomp filter (struct sock_filter[] in hexadecimal) and then give up what loading it
    took: the last step before exec, so that a filter meets as few of our own calls as can be.

    With `listener` (a connected socket) the descriptor of its notifications goes there, in one
    message with `told`, the container process state as JSON (config-linux.md, seccomp), in which
    only the pid is missing."""

    __slots__ = ("flags", "listener", "masks", "program", "told")
    program: str
    flags: int
    masks: dict[str, int]
    listener: int
    told: str

    def execute(self, child: Child) -> None:
        if self.listener >= 0:  # TSYNC excludes it, and there are no other threads
            flags = (self.flags & ~syscalls.SECCOMP_FILTER_FLAG_TSYNC
                     | syscalls.SECCOMP_FILTER_FLAG_NEW_LISTENER)
        else:  # nobody is waited for
            flags = self.flags & ~syscalls.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
        assert isinstance(child, OciChild)
        told = self._told(child.host_pid)
        sock = socket(fileno=self.listener) if self.listener >= 0 else None
        notifications = syscalls.seccomp_filter(bytes.fromhex(self.program), flags=flags)
        if sock is not None:
            _hand_over(sock, notifications, told)
        _, permitted, inheritable = syscalls.capget()
        syscalls.capset(effective=self.masks["effective"] & permitted,
                        permitted=self.masks["permitted"] & permitted, inheritable=inheritable)

    def _told(self, pid: int) -> bytes:
        told = jsontext.decode(self.told)
        assert isinstance(told, dict)
        told["pid"] = told["state"]["pid"] = pid
        return jsontext.encode(told).encode()

    def describe(self) -> str:
        return "load the seccomp filter"


def _hand_over(sock: socket, notifications: int, told: bytes) -> None:
    packed = notifications.to_bytes(4, "little")
    if sock.sendmsg([told], [(SOL_SOCKET, SCM_RIGHTS, packed)]) != len(told):
        raise OSError(errno.EMSGSIZE, "the seccomp agent took only part of the state")
