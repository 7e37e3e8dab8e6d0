"""The default system call filter of a container, as data.

Equal in effect to the common default profile (Docker's and Podman's): what that allows is allowed
and what it refuses is refused, written the other way round.  A call is allowed if it is in
`syscall_table`, is not in `_NEVER`, and its capability of `_NEEDS`, if it has one, is among those
of the container.  A refused call gives EPERM.
"""

from __future__ import annotations

from orchestrator.linux import caps, seccomp, syscall_table, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_NEVER = """
    _sysctl add_key afs_syscall create_module get_kernel_syms getpmsg io_uring_enter
    io_uring_register io_uring_setup kexec_file_load kexec_load keyctl lsm_set_self_attr
    migrate_pages move_pages nfsservctl putpmsg query_module request_key security swapoff swapon
    sysfs tuxcall uselib userfaultfd ustat vserver
    bdflush break ftime gtty idle lock mpx nice oldfstat oldlstat oldolduname oldstat olduname prof
    profil sgetmask ssetmask stty ulimit vm86 vm86old
"""
"""Not for containers whatever their capabilities: keyrings have no namespace of their own, io_uring
and userfaultfd are what exploits are made of, the others are long gone (the last lines: calls of
32-bit programs that no library of this century makes)."""

_NEEDS = {
    "CAP_BPF": "bpf",
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_PERFMON": "perf_event_open",
    "CAP_SYSLOG": "syslog",
    "CAP_SYS_ADMIN": """
        bpf fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr
        move_mount open_tree open_tree_attr perf_event_open pivot_root quotactl quotactl_fd
        setdomainname sethostname setns syslog umount umount2 unshare
    """,
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module finit_module init_module",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise",
    "CAP_SYS_RAWIO": "ioperm iopl",
    "CAP_SYS_TIME": "clock_settime clock_settime64 settimeofday stime",
    "CAP_SYS_TTY_CONFIG": "vhangup",
}
"""Any one of the capabilities that list a call is enough for it.  ptrace and process_vm_* need none
since Linux 4.8, where a traced process cannot slip past the filter any more."""

_NAMESPACES = (
    syscalls.CLONE_NEWCGROUP | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWNET | syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWUTS
)  # fmt: skip
_PERSONALITIES = (0, 0x8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF)
"""PER_LINUX, PER_LINUX32, UNAME26, both, and the question what it is; no READ_IMPLIES_EXEC, no
ADDR_NO_RANDOMIZE."""
_AF_VSOCK = 40
"""Leads out of any network namespace, to the hypervisor."""
_INT = 0xFFFF_FFFF
"""What the kernel looks at of an argument that is an int."""


def default_filter(capabilities: int, *, machine: str = "") -> seccomp.Filter:
    """The filter for a process with these capabilities (a mask, as `caps.mask_of` makes it).
    OSError with ENOTSUP for a machine we have no table for."""
    architectures = seccomp.own_architectures(machine)
    known = {name for one in architectures for name in syscall_table.numbers(one)}
    has_admin = bool(capabilities & caps.mask_of(("CAP_SYS_ADMIN",)))
    special = {"socket", "personality", *(() if has_admin else ("clone", "clone3"))}
    allowed = sorted(known - _refused(capabilities) - special)
    rules: list[seccomp.Rule] = [
        (allowed, seccomp.ALLOW, ()),
        (("socket",), seccomp.ALLOW, ((0, "masked_ne", _INT, _AF_VSOCK),)),
        *((("personality",), seccomp.ALLOW, ((0, "masked_eq", _INT, value),))
          for value in _PERSONALITIES),
    ]
    if not has_admin:
        rules += [
            (("clone",), seccomp.ALLOW, ((0, "masked_eq", _NAMESPACES, 0),)),
            # Its flags lie in memory, where no filter can look; libraries then take clone.
            (("clone3",), seccomp.UNKNOWN, ()),
        ]
    return seccomp.Filter(default=seccomp.REFUSE, rules=rules, architectures=architectures)


def _refused(capabilities: int) -> set[str]:
    refused, granted = _words(_NEVER), set[str]()
    for name, calls in _NEEDS.items():
        allowed = capabilities & caps.mask_of((name,))
        (granted if allowed else refused).update(calls.split())
    return refused - (granted - _words(_NEVER))


def _words(text: str) -> set[str]:
    return set(text.split())


def default_program(capabilities: int, *, machine: str = "") -> bytes:
    """`default_filter`, assembled."""
    return seccomp.program(default_filter(capabilities, machine=machine))


def ruled() -> Iterable[str]:
    """Every call that is not simply allowed."""
    return sorted(_words(_NEVER).union(*map(_words, _NEEDS.values())))
