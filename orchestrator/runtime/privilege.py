"""The steps that take privileges away: ids, capabilities, limits, seccomp, and who the process is.

Order matters and is chosen in `runtime.rootfs`: without no_new_privs the filter can only be loaded
while CAP_SYS_ADMIN is there, so it comes before the capabilities go; the filter therefore has to
allow what follows it.  Imported by the keeper.
"""

from __future__ import annotations

import errno
import os
import resource
import stat

from orchestrator.linux import caps, rlimits, syscalls
from orchestrator.runtime.steps import Child, Step
from orchestrator.runtime.user import identify

_LARGEST_TEXT = 16 << 20
"""/etc/passwd of a hostile image could be endless."""
_MASK = os.makedev(1, 3)
"""The null device lies over what is masked."""


class Hostname(Step):
    """The names of the UTS namespace."""

    __slots__ = ("domainname", "hostname")
    hostname: str
    domainname: str

    def execute(self, child: Child) -> None:
        syscalls.sethostname(self.hostname)
        if self.domainname:
            syscalls.setdomainname(self.domainname)

    def describe(self) -> str:
        return f"hostname {self.hostname}"


class LookUpUser(Step):
    """Find the ids of `user` in the container's own files (after pivot_root), and set HOME."""

    __slots__ = ("group_add", "user")
    user: str
    group_add: list[str]

    def execute(self, child: Child) -> None:
        found = identify(self.user, group_add=self.group_add, passwd=_text("/etc/passwd"),
                         group=_text("/etc/group"))
        child.uid, child.gid, child.groups = found.uid, found.gid, found.groups
        child.environment.setdefault("HOME", found.home)

    def describe(self) -> str:
        return f"user {self.user or 'root'}"


def _text(path: str) -> str:
    """The file's text; empty where it is missing or masked.  O_NONBLOCK: it may be a FIFO without
    writer."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    try:
        status = os.fstat(fd)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == _MASK:
            return ""
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        return os.read(fd, _LARGEST_TEXT).decode("utf-8", "surrogateescape")
    finally:
        os.close(fd)


class Rlimits(Step):
    """Soft and hard limits by name without RLIMIT_; -1 is infinity.  What the keeper raised for
    itself is put back first."""

    __slots__ = ("limits",)
    limits: list[tuple[str, int, int]]

    def execute(self, child: Child) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, child.nofile)
        for name, soft, hard in self.limits:
            try:
                resource.setrlimit(rlimits.NAMES.index(name), (soft, hard))
            except (OSError, ValueError) as exc:
                raise OSError(*_limit_failure(exc), f"{name}={soft}:{hard}") from exc

    def describe(self) -> str:
        return "limits " + " ".join(f"{n}={s}:{h}" for n, s, h in self.limits)


def _limit_failure(exc: OSError | ValueError) -> tuple[int, str]:
    if isinstance(exc, OSError) and exc.errno:
        return exc.errno, exc.strerror or ""
    if "not allowed" in str(exc):  # setrlimit(3) of Python says EPERM in words
        return errno.EPERM, "the hard limit cannot be raised without CAP_SYS_RESOURCE"
    return errno.EINVAL, str(exc)


class OomScore(Step):
    """How readily the kernel kills it when memory runs out; None: as the keeper was started."""

    __slots__ = ("value",)
    value: int | None

    def execute(self, child: Child) -> None:
        value = child.oom_score_adj if self.value is None else self.value
        if value is None:
            return
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"%d" % value)
        finally:
            os.close(fd)

    def describe(self) -> str:
        return f"oom_score_adj {self.value}"


class SecurityLabel(Step):
    """What the command runs as in the eyes of a security module: an AppArmor profile (`apparmor`)
    or an SELinux label (`selinux`), taken at the next exec."""

    __slots__ = ("label", "module")
    module: str
    label: str

    def execute(self, child: Child) -> None:
        is_apparmor = self.module == "apparmor"
        path = "/proc/self/attr/apparmor/exec" if is_apparmor else "/proc/self/attr/exec"
        value = f"exec {self.label}" if is_apparmor else self.label
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        except OSError as exc:
            raise OSError(exc.errno, exc.strerror, self.label) from None
        finally:
            os.close(fd)

    def describe(self) -> str:
        return f"{self.module} {self.label}"


class NoNewPrivileges(Step):
    """execve of a set-user-ID file gives nothing."""

    __slots__ = ()

    def execute(self, child: Child) -> None:
        syscalls.set_no_new_privs()

    def describe(self) -> str:
        return "no_new_privs"


class Seccomp(Step):
    """Load the filter: struct sock_filter[] in hexadecimal."""

    __slots__ = ("program",)
    program: str

    def execute(self, child: Child) -> None:
        syscalls.seccomp_filter(bytes.fromhex(self.program))

    def describe(self) -> str:
        return "seccomp filter"


class BecomeUser(Step):
    """Take the ids that were looked up, and no capability outside `capabilities` (a mask).

    Root keeps the set, and so does what it executes; another user has an empty effective set and
    the set as its bound, as in Docker."""

    __slots__ = ("capabilities",)
    capabilities: int

    def execute(self, child: Child) -> None:
        _, permitted, _ = syscalls.capget()
        kept = self.capabilities & permitted if child.uid == 0 else 0
        caps.become(child.uid, child.gid, child.groups, bounding=self.capabilities,
                    permitted=kept, effective=kept)

    def describe(self) -> str:
        return "user ids and capabilities"
