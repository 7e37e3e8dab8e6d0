"""Where the init binary for this machine lies; its source is runtime/init/init.c."""

from __future__ import annotations

import errno
import os


def path() -> str:
    """The static executable for this machine; OSError with ENOTSUP if there is none."""
    machine = os.uname().machine
    found = os.path.join(os.path.dirname(os.path.abspath(__file__)), "init", f"init.{machine}")
    if not os.path.exists(found):
        raise OSError(errno.ENOTSUP, "no init binary for this machine", machine)
    return found
