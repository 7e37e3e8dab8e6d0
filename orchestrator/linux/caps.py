"""Capabilities: names and bits, the default set, and putting a set into force.

Names are those of capabilities(7), `CAP_CHOWN`.  Which of them a container gets is decided
elsewhere.
"""

from __future__ import annotations

import errno
import os

from orchestrator.linux import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

NAMES = (  # the position is the bit
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
    "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
    "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip
DEFAULT = (  # what an unprivileged container has in the world of Docker
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SYS_CHROOT",
    "CAP_MKNOD", "CAP_AUDIT_WRITE", "CAP_SETFCAP",
)  # fmt: skip

_BITS = {name: bit for bit, name in enumerate(NAMES)}


def parse_name(word: str) -> str:
    """`net_admin`, `NET_ADMIN` or `CAP_NET_ADMIN` as `CAP_NET_ADMIN`, `all` as `ALL`; ValueError
    for a word that is none."""
    name = word.upper()
    if name == "ALL":
        return name
    if not name.startswith("CAP_"):
        name = f"CAP_{name}"
    if name not in _BITS:
        raise ValueError(f"no such capability: {word}")
    return name


def mask_of(names: Iterable[str]) -> int:
    """The names as bits; KeyError for a name that is none."""
    mask = 0
    for name in names:
        mask |= 1 << _BITS[name]
    return mask


def names_of(mask: int) -> tuple[str, ...]:
    """The bits as names; a bit of a later kernel is `CAP_N`."""
    return tuple(
        NAMES[bit] if bit < len(NAMES) else f"CAP_{bit}"
        for bit in range(mask.bit_length()) if mask >> bit & 1
    )


def last() -> int:
    """The highest capability this kernel knows."""
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
        return int(file.read())


def bounding() -> int:
    """The bounding set of the calling thread, as bits."""
    mask = 0
    for bit in range(64):
        try:
            mask |= syscalls.prctl(syscalls.PR_CAPBSET_READ, bit) << bit
        except OSError as exc:
            if exc.errno != errno.EINVAL:
                raise
            break  # beyond the kernel's last one
    return mask


def drop_bounding(keep: int) -> None:
    """Take everything but `keep` out of the bounding set; needs CAP_SETPCAP if there is anything to
    take."""
    for bit in range(64):
        if keep >> bit & 1:
            continue
        try:
            if syscalls.prctl(syscalls.PR_CAPBSET_READ, bit):
                syscalls.prctl(syscalls.PR_CAPBSET_DROP, bit)
        except OSError as exc:
            if exc.errno != errno.EINVAL:
                raise
            return


def apply(
    *, bounding: int, permitted: int, effective: int, inheritable: int = 0, ambient: int = 0
) -> None:
    """Put the sets into force for the calling thread; `become` does it around a change of user.

    The order is that of need: the bounding set while CAP_SETPCAP is there, ambient after what it
    must be part of.  PermissionError if `permitted` has what we have not.
    """
    drop_bounding(bounding)
    _apply_sets(permitted, effective, inheritable, ambient)


def become(
    uid: int, gid: int, groups: list[int], *, bounding: int, permitted: int, effective: int,
    inheritable: int = 0, ambient: int = 0,
) -> None:
    """Change user and groups, and put the sets into force; the capabilities are kept across the
    change of uid (PR_SET_KEEPCAPS), and execve decides as capabilities(7) says: a user other than
    root keeps only the ambient ones."""
    drop_bounding(bounding)
    syscalls.set_keepcaps()
    try:
        os.setgroups(groups)
    except PermissionError:  # a user namespace with one id forbids it (user_namespaces(7))
        if set(groups) - {gid}:
            raise
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _apply_sets(permitted, effective, inheritable, ambient)


def _apply_sets(permitted: int, effective: int, inheritable: int, ambient: int) -> None:
    syscalls.capset(effective=effective, permitted=permitted, inheritable=inheritable)
    try:
        syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    except OSError as exc:
        if exc.errno != errno.EINVAL or ambient:  # before Linux 4.3 there is no ambient set
            raise
    for bit in range(ambient.bit_length()):
        if ambient >> bit & 1:
            syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_RAISE, bit)
