"""The system calls Python's `os` does not have: one thin function per call, named as in the manual.

Knows numbers, structs and flags of the kernel; knows nothing of containers, and decides nothing.
`str` and `int` in, `OSError(errno, text, path)` out.  The prototypes are set once at import, so
everything here also works in a child after a raw `clone` and after `pivot_root`.  The library is
loaded as `PyDLL`: the GIL stays held across `clone`, so the child owns it from the first moment.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from ctypes import POINTER, byref, c_char_p, c_int, c_long, c_size_t, c_uint, c_ulong, c_void_p
from ctypes import c_uint32 as u32
from ctypes import c_uint64 as u64

AT_EMPTY_PATH = 0x1000
AT_FDCWD = -100
AT_NO_AUTOMOUNT = 0x800
AT_RECURSIVE = 0x8000
AT_SYMLINK_NOFOLLOW = 0x100

CLONE_CLEAR_SIGHAND = 0x1_0000_0000
CLONE_INTO_CGROUP = 0x2_0000_0000
CLONE_NEWCGROUP = 0x0200_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWNET = 0x4000_0000
CLONE_FS = 0x0000_0200
CLONE_NEWNS = 0x0002_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWTIME = 0x80
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_PARENT = 0x8000
CLONE_PIDFD = 0x1000

CLOSE_RANGE_CLOEXEC = 4

FSCONFIG_CMD_CREATE = 6
FSCONFIG_CMD_RECONFIGURE = 7
FSCONFIG_SET_STRING = 1
FSMOUNT_CLOEXEC = 1
FSOPEN_CLOEXEC = 1

MNT_DETACH = 2
MNT_EXPIRE = 4
MNT_FORCE = 1
UMOUNT_NOFOLLOW = 8

MOUNT_ATTR_IDMAP = 0x0010_0000
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NOSYMFOLLOW = 0x0020_0000
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR__ATIME = 0x70

MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_EMPTY_PATH = 0x40

MS_BIND = 4096
MS_DIRSYNC = 128
MS_I_VERSION = 1 << 23
MS_LAZYTIME = 1 << 25
MS_MANDLOCK = 64
MS_MOVE = 8192
MS_NOATIME = 1024
MS_NODEV = 4
MS_NODIRATIME = 2048
MS_NOEXEC = 8
MS_NOSUID = 2
MS_NOSYMFOLLOW = 256
MS_PRIVATE = 1 << 18
MS_RDONLY = 1
MS_REC = 16384
MS_RELATIME = 1 << 21
MS_REMOUNT = 32
MS_SHARED = 1 << 20
MS_SILENT = 1 << 15
MS_SLAVE = 1 << 19
MS_STRICTATIME = 1 << 24
MS_SYNCHRONOUS = 16
MS_UNBINDABLE = 1 << 17

OPEN_TREE_CLOEXEC = os.O_CLOEXEC
OPEN_TREE_CLONE = 1

PIDFD_GET_INFO = 0xC040FF0B
PIDFD_INFO_EXIT = 8

PR_CAPBSET_DROP = 24
PR_CAPBSET_READ = 23
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
PR_CAP_AMBIENT_IS_SET = 1
PR_CAP_AMBIENT_RAISE = 2
PR_GET_NO_NEW_PRIVS = 39
PR_SET_CHILD_SUBREAPER = 36
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_SET_NO_NEW_PRIVS = 38
PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28

RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_NO_XDEV = 0x01

SECCOMP_FILTER_FLAG_LOG = 2
SECCOMP_FILTER_FLAG_NEW_LISTENER = 8
SECCOMP_FILTER_FLAG_SPEC_ALLOW = 4
SECCOMP_FILTER_FLAG_TSYNC = 1
SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 32
SECCOMP_SET_MODE_FILTER = 1

SIGCHLD = 17

_LINUX_CAPABILITY_VERSION_3 = 0x20080522

# Calls before 2018 have a number per architecture; the later ones (424 and up) one for all.
_NUMBERS = {
    "x86_64": {"capget": 125, "capset": 126, "clone": 56, "pivot_root": 155, "seccomp": 317,
               "bpf": 321},
    "aarch64": {"capget": 90, "capset": 91, "clone": 220, "pivot_root": 41, "seccomp": 277,
                "bpf": 280},
}
_MACHINE = os.uname().machine
_NUMBER = _NUMBERS.get(_MACHINE, {})

_NR_PIDFD_SEND_SIGNAL = 424
_NR_OPEN_TREE = 428
_NR_MOVE_MOUNT = 429
_NR_FSOPEN = 430
_NR_FSCONFIG = 431
_NR_FSMOUNT = 432
_NR_PIDFD_OPEN = 434
_NR_CLONE3 = 435
_NR_CLOSE_RANGE = 436
_NR_OPENAT2 = 437
_NR_MOUNT_SETATTR = 442


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", u32), ("pid", c_int))


class _CapData(ctypes.Structure):
    _fields_ = (("effective", u32), ("permitted", u32), ("inheritable", u32))


class _CloneArgs(ctypes.Structure):
    _fields_ = (
        ("flags", u64), ("pidfd", u64), ("child_tid", u64), ("parent_tid", u64),
        ("exit_signal", u64), ("stack", u64), ("stack_size", u64), ("tls", u64),
        ("set_tid", u64), ("set_tid_size", u64), ("cgroup", u64),
    )


class _MountAttr(ctypes.Structure):
    _fields_ = (("attr_set", u64), ("attr_clr", u64), ("propagation", u64), ("userns_fd", u64))


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", u64), ("mode", u64), ("resolve", u64))


class _SockFprog(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", c_char_p))


_libc = ctypes.PyDLL(None, use_errno=True)

_mount = _libc.mount
_mount.argtypes = (c_char_p, c_char_p, c_char_p, c_ulong, c_char_p)
_umount2 = _libc.umount2
_umount2.argtypes = (c_char_p, c_int)
_unshare = _libc.unshare
_unshare.argtypes = (c_int,)
_setns = _libc.setns
_setns.argtypes = (c_int, c_int)
_syncfs = _libc.syncfs
_syncfs.argtypes = (c_int,)
_prctl = _libc.prctl
_prctl.argtypes = (c_int, c_ulong, c_ulong, c_ulong, c_ulong)
_prctl_text = _libc["prctl"]
_prctl_text.argtypes = (c_int, c_char_p, c_ulong, c_ulong, c_ulong)
_setdomainname = _libc.setdomainname
_setdomainname.argtypes = (c_char_p, c_size_t)
_sethostname = _libc.sethostname
_sethostname.argtypes = (c_char_p, c_size_t)


def _prototype(*argtypes: type) -> ctypes._NamedFuncPointer:
    # Subscription makes a new function object each time, so every call has its own prototype.
    function = _libc["syscall"]
    function.restype = c_long
    function.argtypes = (c_long, *argtypes)
    return function


_pivot_root = _prototype(c_char_p, c_char_p)
_capability_call = _prototype(POINTER(_CapHeader), POINTER(_CapData))
_clone2 = _prototype(c_ulong, c_void_p, POINTER(c_int), c_void_p, c_void_p)
_clone3 = _prototype(POINTER(_CloneArgs), c_size_t)
_close_range = _prototype(c_uint, c_uint, c_uint)
_pidfd_open = _prototype(c_int, c_uint)
_pidfd_send_signal = _prototype(c_int, c_int, c_void_p, c_uint)
_open_tree = _prototype(c_int, c_char_p, c_uint)
_move_mount = _prototype(c_int, c_char_p, c_int, c_char_p, c_uint)
_mount_setattr = _prototype(c_int, c_char_p, c_uint, POINTER(_MountAttr), c_size_t)
_openat2 = _prototype(c_int, c_char_p, POINTER(_OpenHow), c_size_t)
_fsopen = _prototype(c_char_p, c_uint)
_fsconfig = _prototype(c_int, c_uint, c_char_p, c_char_p, c_int)
_fsmount = _prototype(c_int, c_uint, c_uint)
_seccomp = _prototype(c_uint, c_uint, POINTER(_SockFprog))
_bpf = _prototype(c_int, c_char_p, c_uint)


def _failure(path: str = "") -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), path or None)


def _text(value: str) -> bytes:
    data = os.fsencode(value)
    if b"\0" in data:
        raise OSError(errno.EINVAL, "embedded null byte", value)
    return data


def _check(result: int, path: str = "") -> int:
    if result < 0:
        raise _failure(path)
    return result


# Mounts


def mount(source: str, target: str, fstype: str, flags: int, data: str = "") -> None:
    """mount(2).  `data` is limited by the kernel to a page."""
    text = _text(data) if data else None
    _check(_mount(_text(source), _text(target), _text(fstype), flags, text), target)


def umount2(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_umount2(_text(target), flags), target)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2); `pivot_root(".", ".")` and then `umount2(".", MNT_DETACH)` needs no directory
    for the old root."""
    _check(_pivot_root(_NUMBER.get("pivot_root", -1), _text(new_root), _text(put_old)), new_root)


def open_tree(dir_fd: int, path: str, flags: int) -> int:
    """open_tree(2): a descriptor of the mount, with OPEN_TREE_CLONE of a detached copy of it
    (Linux 5.2).  Always CLOEXEC."""
    flags |= OPEN_TREE_CLOEXEC
    return int(_check(_open_tree(_NR_OPEN_TREE, dir_fd, _text(path), flags), path))


def move_mount(from_fd: int, from_path: str, to_fd: int, to_path: str, flags: int) -> None:
    """move_mount(2) (Linux 5.2)."""
    source, target = _text(from_path), _text(to_path)
    _check(_move_mount(_NR_MOVE_MOUNT, from_fd, source, to_fd, target, flags), to_path)


def mount_setattr(
    dir_fd: int, path: str, flags: int, *, attr_set: int = 0, attr_clr: int = 0,
    propagation: int = 0, userns_fd: int = 0,
) -> None:
    """mount_setattr(2): MOUNT_ATTR_* bits and one of MS_PRIVATE, MS_SLAVE, MS_SHARED,
    MS_UNBINDABLE; AT_RECURSIVE for the whole tree (Linux 5.12).  `userns_fd` is the user namespace
    that MOUNT_ATTR_IDMAP takes the mapping of."""
    how = _MountAttr(attr_set, attr_clr, propagation, userns_fd)
    size = ctypes.sizeof(how)
    _check(_mount_setattr(_NR_MOUNT_SETATTR, dir_fd, _text(path), flags, byref(how), size), path)


def fsopen(fstype: str) -> int:
    """fsopen(2): a descriptor on which a file system is configured (Linux 5.2).  CLOEXEC."""
    return int(_check(_fsopen(_NR_FSOPEN, _text(fstype), FSOPEN_CLOEXEC), fstype))


def fsconfig(fd: int, command: int, key: str | None = None, value: str | None = None) -> None:
    """fsconfig(2); a string value is limited by the kernel to 255 bytes."""
    name = None if key is None else _text(key)
    text = None if value is None else _text(value)
    _check(_fsconfig(_NR_FSCONFIG, fd, command, name, text, 0), value or key or "")


def fsmount(fd: int, *, attributes: int = 0) -> int:
    """fsmount(2): the configured file system as a detached mount.  CLOEXEC."""
    return int(_check(_fsmount(_NR_FSMOUNT, fd, FSMOUNT_CLOEXEC, attributes)))


def openat2(dir_fd: int, path: str, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2) (Linux 5.6).  Always CLOEXEC."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    size = ctypes.sizeof(how)
    return int(_check(_openat2(_NR_OPENAT2, dir_fd, _text(path), byref(how), size), path))


def syncfs(fd: int) -> None:
    """syncfs(2): all that was written to the file system of `fd` is on the disk."""
    _check(_syncfs(fd))


# Namespaces and processes


def unshare(flags: int) -> None:
    """unshare(2)."""
    _check(_unshare(flags))


def setns(fd: int, flags: int = 0) -> None:
    """setns(2): a namespace file, or a pidfd with the namespaces to enter as CLONE_NEW* flags
    (Linux 5.8)."""
    _check(_setns(fd, flags))


def clone(flags: int = 0, *, cgroup_fd: int | None = None) -> int:
    """fork(2) with flags: 0 in the child, the pid in the parent.

    The child is a copy on its own stack, as after fork; it must end by exec or `os._exit`, and
    Python's own fork hooks have not run.  `cgroup_fd` is an open cgroup v2 directory the child is
    born in (Linux 5.7).  Where clone3(2) is not there, clone(2) does the same, but with `cgroup_fd`
    or flags beyond 32 bits ENOSYS is raised.
    """
    return _clone(flags, cgroup_fd, None)


def clone_with_pidfd(flags: int = 0, *, cgroup_fd: int | None = None) -> tuple[int, int]:
    """`clone` that gives (pid, pidfd) in the parent and (0, -1) in the child.  CLOEXEC."""
    pidfd = c_int(-1)
    pid = _clone(flags | CLONE_PIDFD, cgroup_fd, pidfd)
    return pid, pidfd.value if pid else -1


def _clone(flags: int, cgroup_fd: int | None, pidfd: c_int | None) -> int:
    if cgroup_fd is not None:
        flags |= CLONE_INTO_CGROUP
    # With CLONE_PARENT the signal is that of the caller's own end, and clone3 wants none.
    exit_signal = 0 if flags & CLONE_PARENT else SIGCHLD
    args = _CloneArgs(flags=flags, exit_signal=exit_signal, cgroup=cgroup_fd or 0)
    args.pidfd = 0 if pidfd is None else ctypes.addressof(pidfd)
    pid = _clone3(_NR_CLONE3, byref(args), ctypes.sizeof(args))
    if pid < 0 and ctypes.get_errno() == errno.ENOSYS and flags >> 32 == 0:
        where = None if pidfd is None else byref(pidfd)
        pid = _clone2(_NUMBER.get("clone", -1), flags | SIGCHLD, None, where, None, None)
    return int(_check(pid))


def pidfd_open(pid: int) -> int:
    """pidfd_open(2) (Linux 5.3).  CLOEXEC."""
    return int(_check(_pidfd_open(_NR_PIDFD_OPEN, pid, 0)))


def pidfd_send_signal(pidfd: int, number: int) -> None:
    """pidfd_send_signal(2); ProcessLookupError when the process is gone."""
    _check(_pidfd_send_signal(_NR_PIDFD_SEND_SIGNAL, pidfd, number, None, 0))


def pidfd_exit_info(pidfd: int) -> int | None:
    """How the process ended, in the form wait(2) gives; None while that cannot be known.

    It can be known (Linux 6.15, PIDFD_INFO_EXIT) once the process was reaped: that is when poll(2)
    on the pidfd gives POLLHUP besides POLLIN.  The pidfd must have been opened before.
    """
    # struct pidfd_info, first version: u64 mask, cgroupid; u32 pid, tgid, ppid, 8 ids; s32 exit.
    data = bytearray(64)
    data[0] = PIDFD_INFO_EXIT
    try:
        fcntl.ioctl(pidfd, PIDFD_GET_INFO, data)
    except OSError as exc:
        if exc.errno in (errno.ENOTTY, errno.EINVAL, errno.ESRCH, errno.ENODATA):
            return None
        raise
    if not data[0] & PIDFD_INFO_EXIT:
        return None
    return int.from_bytes(data[60:64], "little", signed=True)


def close_range(first: int, last: int, *, cloexec: bool = False) -> None:
    """close_range(2): close the descriptors `first` to `last` inclusive, or only mark them CLOEXEC
    (Linux 5.11); before Linux 5.9 the descriptors in /proc/self/fd one by one."""
    flags = CLOSE_RANGE_CLOEXEC if cloexec else 0
    if _close_range(_NR_CLOSE_RANGE, first, min(last, 0xFFFF_FFFF), flags) == 0:
        return
    if ctypes.get_errno() not in (errno.ENOSYS, errno.EINVAL):
        raise _failure()
    for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
        if first <= fd <= last:
            _close_or_mark(fd, cloexec=cloexec)


def _close_or_mark(fd: int, *, cloexec: bool) -> None:
    try:
        if cloexec:
            os.set_inheritable(fd, False)
        else:
            os.close(fd)
    except OSError as exc:
        if exc.errno != errno.EBADF:  # the descriptor of the listing itself is closed already
            raise


def sethostname(name: str) -> None:
    """sethostname(2): of the UTS namespace."""
    data = _text(name)
    _check(_sethostname(data, len(data)), name)


def setdomainname(name: str) -> None:
    """setdomainname(2): the NIS domain of the UTS namespace."""
    data = _text(name)
    _check(_setdomainname(data, len(data)), name)


# Privileges


def prctl(option: int, a: int = 0, b: int = 0, c: int = 0, d: int = 0) -> int:
    """prctl(2)."""
    return int(_check(_prctl(option, a, b, c, d)))


def set_child_subreaper() -> None:
    """Become the parent of orphaned descendants."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def set_dumpable(value: int) -> None:
    """0: other processes of the same user may neither trace us nor open our /proc files."""
    prctl(PR_SET_DUMPABLE, value)


def set_keepcaps() -> None:
    """Keep the permitted set over the next change of uid from 0 to another."""
    prctl(PR_SET_KEEPCAPS, 1)


def set_name(name: str) -> None:
    """The name of the thread as `ps` and /proc/PID/comm show it; cut to 15 bytes."""
    _check(_prctl_text(PR_SET_NAME, _text(name)[:15], 0, 0, 0))


def set_no_new_privs() -> None:
    """execve gives no more privileges from here on; cannot be undone."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def set_parent_death_signal(number: int) -> None:
    """The signal we get when the thread that made us ends; check `getppid` after it."""
    prctl(PR_SET_PDEATHSIG, number)


def capget(pid: int = 0) -> tuple[int, int, int]:
    """(effective, permitted, inheritable) as 64-bit masks; `pid` 0 is the calling thread."""
    data = (_CapData * 2)()
    header = _CapHeader(_LINUX_CAPABILITY_VERSION_3, pid)
    _check(_capability_call(_NUMBER.get("capget", -1), byref(header), data))
    low, high = data
    return (low.effective | high.effective << 32, low.permitted | high.permitted << 32,
            low.inheritable | high.inheritable << 32)


def capset(*, effective: int, permitted: int, inheritable: int) -> None:
    """Set the capabilities of the calling thread; 64-bit masks."""
    low = 0xFFFF_FFFF
    data = (_CapData * 2)(
        _CapData(effective & low, permitted & low, inheritable & low),
        _CapData(effective >> 32, permitted >> 32, inheritable >> 32),
    )
    header = _CapHeader(_LINUX_CAPABILITY_VERSION_3, 0)
    _check(_capability_call(_NUMBER.get("capset", -1), byref(header), data))


def seccomp_filter(program: bytes, *, flags: int = 0) -> int:
    """seccomp(2), SECCOMP_SET_MODE_FILTER: `program` is an array of 8-byte struct sock_filter.
    With SECCOMP_FILTER_FLAG_NEW_LISTENER the descriptor of its notifications (CLOEXEC)."""
    code = _SockFprog(len(program) // 8, program)
    number = _NUMBER.get("seccomp", -1)
    return int(_check(_seccomp(number, SECCOMP_SET_MODE_FILTER, flags, byref(code))))


def bpf(command: int, attributes: bytes) -> int:
    """bpf(2): `attributes` is a union bpf_attr; a descriptor it gives is CLOEXEC."""
    return int(_check(_bpf(_NUMBER.get("bpf", -1), command, attributes, len(attributes))))
