"""Session keyrings (keyctl(2)): a container does not share that of whoever made it."""

from __future__ import annotations

import ctypes
import errno
import os

_libc = ctypes.PyDLL(None, use_errno=True)
_call = _libc["syscall"]
_call.restype = ctypes.c_long
_call.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_char_p)
_KEYCTL = {"x86_64": 250, "aarch64": 219}.get(os.uname().machine, -1)
_JOIN_SESSION_KEYRING = 1


def join_session_keyring(name: str) -> bool:
    """A session keyring of that name for the calling process; False where the kernel has none, or
    our quota or a filter forbids it."""
    if _call(_KEYCTL, _JOIN_SESSION_KEYRING, os.fsencode(name)) >= 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EPERM, errno.EDQUOT, errno.EACCES):
        return False
    raise OSError(number, os.strerror(number), name)
