"""The default system call filter of a container: rules as data, assembled to classic BPF.

A call is allowed if it is in `syscall_table`, is not in `_NEVER`, and its capability of `_NEEDS`,
if it has one, is among those of the container.  A refused call gives EPERM; one the table does not
know (newer than this file) gives ENOSYS, so that libraries fall back to an older one.  Knows
nothing of containers; `syscalls.seccomp_filter` loads what is made here.

The program is a binary search over the ranges of numbers with the same answer, 7 comparisons deep;
calls that are allowed without a look at their arguments cost nothing anyway, since the kernel
(5.11) finds out about them when the filter is loaded.
"""

from __future__ import annotations

import errno
import os
import struct

from orchestrator.linux import caps, syscall_table, syscalls

_ALLOW = 0x7FFF_0000
_ERRNO = 0x0005_0000
_KILL_PROCESS = 0x8000_0000
_REFUSE = _ERRNO | errno.EPERM
_UNKNOWN = _ERRNO | errno.ENOSYS

_NEVER = """
    _sysctl add_key afs_syscall create_module epoll_ctl_old epoll_wait_old get_kernel_syms getpmsg
    io_uring_enter io_uring_register io_uring_setup keyctl lsm_set_self_attr nfsservctl putpmsg
    query_module request_key security sysfs tuxcall uselib userfaultfd ustat vserver
"""
"""Not for containers whatever their capabilities: keyrings have no namespace of their own, io_uring
and userfaultfd are what exploits are made of, the others are long gone."""

_NEEDS = {
    "CAP_BPF": "bpf",
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_PERFMON": "perf_event_open",
    "CAP_SYSLOG": "syslog",
    "CAP_SYS_ADMIN": """
        bpf fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr
        move_mount open_tree open_tree_attr perf_event_open pivot_root quotactl quotactl_fd
        setdomainname sethostname setns swapoff swapon syslog umount2 unshare
    """,
    "CAP_SYS_BOOT": "kexec_file_load kexec_load reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module finit_module init_module",
    "CAP_SYS_NICE": """
        get_mempolicy mbind migrate_pages move_pages set_mempolicy set_mempolicy_home_node
    """,
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": """
        kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace
    """,
    "CAP_SYS_RAWIO": "ioperm iopl",
    "CAP_SYS_TIME": "clock_settime settimeofday",
    "CAP_SYS_TTY_CONFIG": "vhangup",
}
"""Any one of the capabilities that list a call is enough for it."""

_NAMESPACES = (
    syscalls.CLONE_NEWCGROUP | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWNET | syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWUTS
)  # fmt: skip
_PERSONALITIES = (0, 0x8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF)
"""PER_LINUX, PER_LINUX32, UNAME26, both, and the question what it is; no READ_IMPLIES_EXEC, no
ADDR_NO_RANDOMIZE."""
_AF_VSOCK = 40
"""Leads out of any network namespace, to the hypervisor."""

_AUDIT_ARCH = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
_X32_BIT = 0x4000_0000

# Classic BPF (linux/bpf_common.h), and the offsets in struct seccomp_data.
_LOAD, _JUMP, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x05, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16

TYPE_CHECKING = False
if TYPE_CHECKING:
    Code = list[tuple[int, int, int, int]]
    """Instructions: operation, jump if true, jump if false, operand."""


def default_program(capabilities: int, *, machine: str = "") -> bytes:
    """The filter for a process with these capabilities (a mask, as `caps.mask_of` makes it), as an
    array of struct sock_filter.  OSError with ENOTSUP for a machine we have no table for.

    A call of another architecture's table (32-bit programs on x86_64) ends the process.
    """
    machine = machine or os.uname().machine
    if machine not in _AUDIT_ARCH:
        raise OSError(errno.ENOTSUP, "no system call table for this machine", machine)
    code: Code = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
                  (_RETURN, 0, 0, _KILL_PROCESS), (_LOAD, 0, 0, _NUMBER)]
    if machine == "x86_64":
        code += [(_AT_LEAST, 0, 1, _X32_BIT), (_RETURN, 0, 0, _UNKNOWN)]
    code += _search(_ranges(answers(capabilities, machine)))
    return struct.pack("=" + "HBBI" * len(code), *(part for each in code for part in each))


def answers(capabilities: int, machine: str) -> dict[int, Code]:
    """What is to be done for each number of the table, as instructions that end in a return."""
    refused = set(_NEVER.split())
    granted: set[str] = set()
    for name, calls in _NEEDS.items():
        allowed = capabilities & caps.mask_of((name,))
        (granted if allowed else refused).update(calls.split())
    refused -= granted - set(_NEVER.split())
    special = _special(all_namespaces=bool(capabilities & caps.mask_of(("CAP_SYS_ADMIN",))))
    found = {}
    for name, number in syscall_table.numbers(machine).items():
        found[number] = special.get(name, _REFUSED if name in refused else _ALLOWED)
    return found


_ALLOWED: Code = [(_RETURN, 0, 0, _ALLOW)]
_REFUSED: Code = [(_RETURN, 0, 0, _REFUSE)]
_NOT_KNOWN: Code = [(_RETURN, 0, 0, _UNKNOWN)]


def _special(*, all_namespaces: bool) -> dict[str, Code]:
    rules: dict[str, Code] = {
        "personality": [
            (_LOAD, 0, 0, _ARGUMENTS),
            *((_EQUAL, len(_PERSONALITIES) - i, 0, value)
              for i, value in enumerate(_PERSONALITIES)),
            *_REFUSED, *_ALLOWED,
        ],
        "socket": [(_LOAD, 0, 0, _ARGUMENTS), (_EQUAL, 0, 1, _AF_VSOCK), *_REFUSED, *_ALLOWED],
    }  # fmt: skip
    if not all_namespaces:
        rules["clone"] = [(_LOAD, 0, 0, _ARGUMENTS), (_ANY_BIT, 0, 1, _NAMESPACES), *_REFUSED,
                          *_ALLOWED]
        # Its flags lie in memory, where no filter can look; libraries then take clone.
        rules["clone3"] = _NOT_KNOWN
    return rules


def _ranges(answer: dict[int, Code]) -> list[tuple[int, Code]]:
    """(first number, what to do) in ascending order; the last one has no end."""
    ranges: list[tuple[int, Code]] = []
    for number in range(max(answer) + 2):
        code = answer.get(number, _NOT_KNOWN)
        if not ranges or ranges[-1][1] != code:
            ranges.append((number, code))
    return ranges


def _search(ranges: list[tuple[int, Code]]) -> Code:
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    left, right = _search(ranges[:middle]), _search(ranges[middle:])
    first = ranges[middle][0]
    if len(left) <= 255:
        return [(_AT_LEAST, len(left), 0, first), *left, *right]
    return [(_AT_LEAST, 0, 1, first), (_JUMP, 0, 0, len(left)), *left, *right]
