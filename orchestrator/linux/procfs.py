"""What /proc says, parsed: processes, signal masks, mounts, sockets.

Reads only.  What vanishes between two reads counts as not there; a file that does not look as
proc(5) says raises ValueError.
"""

from __future__ import annotations

import errno
import os
import sys
from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_VANISHED = (errno.ENOENT, errno.ESRCH)
_LISTEN = 0x0A  # TCP_LISTEN of the kernel's tcp_states.h


class Mount:
    """One line of mountinfo: see proc_pid_mountinfo(5)."""

    __slots__ = ("device", "fstype", "mount_id", "options", "parent_id", "propagation", "root",
                 "source", "super_options", "target")

    def __init__(self, line: str) -> None:
        head, separator, tail = line.partition(" - ")
        fields, rest = head.split(" "), tail.split(" ")
        if not separator or len(fields) < 6 or len(rest) < 3:
            raise ValueError(f"not a line of mountinfo: {line!r}")
        self.mount_id = int(fields[0])
        self.parent_id = int(fields[1])
        self.device = fields[2]
        self.root = _unescape(fields[3])
        self.target = _unescape(fields[4])
        self.options = fields[5].split(",")
        self.propagation = fields[6:]
        """`shared:N`, `master:N`, `propagate_from:N`, `unbindable`; empty: private."""
        self.fstype = rest[0]
        self.source = _unescape(rest[1])
        self.super_options = rest[2].split(",")


def read_text(path: str) -> str | None:
    """The whole file; None if it or its process is not there (any more).  Bytes that are not UTF-8
    become surrogates, as in file names."""
    data = _read(path)
    return None if data is None else os.fsdecode(data)


def is_in_user_namespace() -> bool:
    """Whether our ids are not those of the machine, as in a namespace of an ordinary user."""
    return (read_text("/proc/self/uid_map") or "").split() != ["0", "0", "4294967295"]


def start_time(pid: int) -> int | None:
    """When the process began, in clock ticks since boot (field 22 of stat): with the pid it is the
    process's identity.  None: there is no such process, or only its zombie."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in ("Z", "X") else int(fields[19])


def parent(pid: int) -> int | None:
    """The pid of the parent; None: no such process."""
    fields = _stat(pid)
    return None if fields is None else int(fields[1])


def argument_area() -> tuple[int, int]:
    """Where in our memory the command line begins and ends that others see (fields 48 and 49 of
    stat)."""
    fields = _stat(os.getpid())
    if fields is None:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    return int(fields[45]), int(fields[46])


def owner(pid: int) -> tuple[int, int]:
    """Effective user and group of a process, as we see them; ProcessLookupError."""
    found = dict(
        line.split(":", 1) for line in (read_text(f"/proc/{pid}/status") or "").splitlines()
        if line.startswith(("Uid:", "Gid:"))
    )
    if len(found) != 2:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    return int(found["Uid"].split()[1]), int(found["Gid"].split()[1])


def has_executed(pid: int) -> bool:
    """Whether the process has executed a file since it was forked (the flag PF_FORKNOEXEC of stat
    says not); also of a zombie.  True for a process that is not there."""
    fields = _stat(pid)
    return fields is None or not int(fields[6]) & 0x40


def boot_id() -> str:
    """A UUID that is another one after every boot of the machine."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


_RT_SIGTIMEDWAIT = 128 if os.uname().machine == "x86_64" else 137


def is_in_sigwait(pid: int) -> bool:
    """Whether the process's first thread sleeps in sigwait(2) or a relative of it.  The kernel
    takes the awaited signals out of its mask meanwhile, so `SigBlk` does not tell.  False also if
    there is no such process, or if it may not be looked at (ptrace(2), PTRACE_MODE_ATTACH)."""
    try:
        number, _, _ = (read_text(f"/proc/{pid}/syscall") or "").partition(" ")
    except PermissionError:
        return False
    return number == str(_RT_SIGTIMEDWAIT)


def children(pid: int) -> list[int]:
    """The pids of the processes whose parent is `pid`; empty if there is no such process."""
    if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):  # CONFIG_PROC_CHILDREN=n
        return [each for each in pids() if parent(each) == pid]
    found: list[int] = []
    for thread in _names(f"/proc/{pid}/task"):
        text = read_text(f"/proc/{pid}/task/{thread}/children") or ""
        found += [int(word) for word in text.split()]
    return found


def pids() -> list[int]:
    """All processes this /proc shows."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def command_line(pid: int) -> str:
    """The arguments, joined by spaces; for a kernel thread or a zombie the name in brackets; empty
    if there is no such process."""
    data = _read(f"/proc/{pid}/cmdline")
    if data:
        return os.fsdecode(data.rstrip(b"\0").replace(b"\0", b" "))
    name = read_text(f"/proc/{pid}/comm")
    return f"[{name.strip()}]" if name else ""


def mountinfo(pid: int | str = "self") -> list[Mount]:
    """The mounts of the process's mount namespace that it can see, in the kernel's order."""
    text = read_text(f"/proc/{pid}/mountinfo")
    if text is None:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    return [Mount(line) for line in text.split("\n") if line]


def cgroups(pid: int | str = "self") -> dict[str, str]:
    """The process's group in each hierarchy: controller (or `name=…`) -> path; "" is version 2."""
    text = read_text(f"/proc/{pid}/cgroup")
    if text is None:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    found: dict[str, str] = {}
    for line in text.splitlines():
        _, names, path = line.split(":", 2)
        found.update(dict.fromkeys(names.split(","), path))
    return found


def filesystems() -> list[str]:
    """The file systems the kernel can mount at this moment (modules may add more)."""
    return [line.split("\t")[1] for line in (read_text("/proc/filesystems") or "").splitlines()]


def port_holder(protocol: str, address: str, port: int) -> tuple[int, str] | None:
    """Who in our network namespace keeps `address:port` from being bound: (pid, command line), or
    (0, "") if it is held but its process cannot be seen; None if nobody does.  `protocol` is `tcp`
    (listeners count) or `udp`."""
    inodes = [inode for held, inode in _sockets(protocol, port) if _collide(held, address)]
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for pid in pids():
        if _holds(pid, wanted):
            return pid, command_line(pid)
    return 0, ""


def _read(path: str) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno in _VANISHED:
            return None
        raise
    try:
        return _read_all(fd)
    except ProcessLookupError:
        return None
    finally:
        os.close(fd)


def _read_all(fd: int) -> bytes:
    parts = []
    while part := os.read(fd, 1 << 16):
        parts.append(part)
    return b"".join(parts)


class Usage:
    """What a process has used: fields of proc_pid_stat(5)."""

    __slots__ = ("parent", "start_time", "terminal", "threads", "ticks")

    def __init__(self, fields: list[str]) -> None:
        self.parent = int(fields[1])
        self.terminal = int(fields[4])
        """The device number of its controlling terminal; 0: none."""
        self.ticks = int(fields[11]) + int(fields[12])
        """Processor time, user and system, in clock ticks."""
        self.threads = int(fields[17])
        self.start_time = int(fields[19])
        """Clock ticks after boot."""


def usage(pid: int) -> Usage | None:
    """None if it is not there (any more)."""
    fields = _stat(pid)
    return Usage(fields) if fields is not None and len(fields) > 20 else None


def _stat(pid: int) -> list[str] | None:
    """The fields of stat from the third (state) on; the second may hold blanks and parentheses."""
    text = read_text(f"/proc/{pid}/stat")
    return None if text is None else text[text.rindex(")") + 2:].split(" ")


def _unescape(text: str) -> str:
    """Blank, tab, newline and backslash stand as three octal digits in mountinfo."""
    first, *others = text.split("\\")
    return first + "".join(chr(int(part[:3], 8)) + part[3:] for part in others)


def _sockets(protocol: str, port: int) -> Iterator[tuple[str, int]]:
    """(address, inode) of the sockets bound to the port; `::` also stands for all of IPv4."""
    for family, name in ((AF_INET, protocol), (AF_INET6, f"{protocol}6")):
        for line in (read_text(f"/proc/self/net/{name}") or "").splitlines()[1:]:
            fields = line.split()
            address, _, number = fields[1].partition(":")
            if int(number, 16) == port and (protocol != "tcp" or int(fields[3], 16) == _LISTEN):
                yield _address(family, address), int(fields[9])


def _address(family: int, digits: str) -> str:
    """The kernel prints the address as 32-bit words in the machine's byte order."""
    raw = bytes.fromhex(digits)
    words = [raw[i:i + 4] for i in range(0, len(raw), 4)]
    if sys.byteorder == "little":
        words = [word[::-1] for word in words]
    return inet_ntop(family, b"".join(words))


def _collide(held: str, wanted: str) -> bool:
    held, wanted = _plain(held), _plain(wanted)
    if "::" in (held, wanted):
        return True  # unless IPV6_V6ONLY is set, which /proc does not say
    if (":" in held) != (":" in wanted):
        return False
    return held == wanted or "0.0.0.0" in (held, wanted)


def _plain(address: str) -> str:
    """One spelling per address, and IPv4 for `::ffff:1.2.3.4`."""
    if ":" not in address:
        return address
    raw = inet_pton(AF_INET6, address)
    if raw[:12] == b"\0" * 10 + b"\xff\xff":
        return inet_ntop(AF_INET, raw[12:])
    return inet_ntop(AF_INET6, raw)


def _holds(pid: int, wanted: set[str]) -> bool:
    directory = f"/proc/{pid}/fd"
    return any(_link(f"{directory}/{name}") in wanted for name in _names(directory))


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:  # gone, or of another user
        return []


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def packets_sent(interfaces: set[str]) -> int:
    """Packets that this machine has sent through the interfaces of our network namespace; not by
    sysfs, which shows the namespace of whoever mounted it.  proc(5), net/dev."""
    if not interfaces:
        return 0
    total = 0
    with open("/proc/self/net/dev", encoding="ascii") as file:
        for line in file:
            name, _, numbers = line.partition(":")
            if name.strip() in interfaces:
                total += int(numbers.split()[9])
    return total
