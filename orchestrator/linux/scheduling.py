"""How the kernel schedules the calling thread: processor time, disk time, memory nodes, execution
domain.

Loaded only where somebody asks for it.  `int` in, OSError out; words of config files are not known
here.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

_libc = ctypes.PyDLL(None, use_errno=True)
_call = _libc["syscall"]
_call.restype = ctypes.c_long
_NUMBERS = {
    "x86_64": {"sched_setattr": 314, "ioprio_set": 251, "set_mempolicy": 238, "personality": 135},
    "aarch64": {"sched_setattr": 274, "ioprio_set": 30, "set_mempolicy": 237, "personality": 92},
}.get(os.uname().machine, {})

SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_ISO, SCHED_IDLE, SCHED_DEADLINE = range(7)
IOPRIO_CLASS_RT, IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE = 1, 2, 3
PER_LINUX, PER_LINUX32 = 0, 8
_IOPRIO_WHO_PROCESS = 1


def sched_setattr(
    *, policy: int, flags: int = 0, nice: int = 0, priority: int = 0, runtime: int = 0,
    deadline: int = 0, period: int = 0,
) -> None:
    """sched_setattr(2) for the calling thread; nanoseconds."""
    attributes = struct.pack("=IIQiIQQQ", 48, policy, flags, nice, priority, runtime, deadline,
                             period)
    _check("sched_setattr", 0, attributes, 0)


def ioprio_set(*, scheduling_class: int, level: int) -> None:
    """ioprio_set(2) for the calling process."""
    _check("ioprio_set", _IOPRIO_WHO_PROCESS, 0, scheduling_class << 13 | level)


def set_mempolicy(mode: int, nodes: set[int]) -> None:
    """set_mempolicy(2): mode with its flags, and memory nodes."""
    mask = sum(1 << node for node in nodes)
    size = (max(nodes, default=0) // 64 + 1) * 8
    if nodes:
        _check("set_mempolicy", mode, mask.to_bytes(size, "little"), size * 8 + 1)
    else:
        _check("set_mempolicy", mode, None, 0)


def personality(domain: int) -> None:
    """personality(2)."""
    _check("personality", domain)


def _check(name: str, *arguments: int | bytes | None) -> None:
    if name not in _NUMBERS:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), name)
    words = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    if _call(ctypes.c_long(_NUMBERS[name]), *words) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
