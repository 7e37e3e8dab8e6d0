"""Pseudo terminals: open one, raw mode, window size, controlling terminal.

Knows the ioctls of tty_ioctl(4) and nothing of who talks over the terminal.
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Attributes = list[Any]  # as termios.tcgetattr gives them: numbers and a list of bytes

_TIOCGPTPEER = 0x5441
_TIOCGPTN = 0x80045430
_TIOCSPTLCK = 0x40045431
_NOCTTY = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC


def open_pty(ptmx_path: str = "/dev/ptmx") -> tuple[int, int]:
    """A new terminal as (master, slave), both CLOEXEC; nobody's controlling terminal yet.

    `ptmx_path` is the ptmx of the devpts instance that is to hold it, so for a container the one
    in its own /dev/pts.  The slave comes by TIOCGPTPEER (Linux 4.13), not by name, so it is the
    right one whatever is mounted where.
    """
    master = os.open(ptmx_path, _NOCTTY)
    try:
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
        return master, fcntl.ioctl(master, _TIOCGPTPEER, _NOCTTY)
    except BaseException:
        os.close(master)
        raise


def pty_number(master: int) -> int:
    """N of the slave's name /dev/pts/N."""
    number: int = struct.unpack("i", fcntl.ioctl(master, _TIOCGPTN, b"\0" * 4))[0]
    return number


def make_controlling(fd: int) -> None:
    """Make the terminal the controlling one of our session (TIOCSCTTY); we must be its leader
    (setsid) and have none yet."""
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)


def is_terminal(fd: int) -> bool:
    """False also for a closed descriptor."""
    return os.isatty(fd)


def window_size(fd: int) -> tuple[int, int]:
    """(rows, columns); (0, 0) is a terminal nobody has told its size."""
    rows, columns, _, _ = struct.unpack("4H", fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))
    return rows, columns


def set_window_size(fd: int, *, rows: int, columns: int) -> None:
    """Set the size; the foreground processes get SIGWINCH if it is another one.  More than 65535
    counts as 65535."""
    size = struct.pack("4H", *(max(0, min(value, 0xFFFF)) for value in (rows, columns)), 0, 0)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, size)


def enter_raw_mode(fd: int) -> Attributes:
    """Every byte passes at once and unchanged, as cfmakeraw(3) has it; gives back what
    `restore_mode` needs."""
    saved = termios.tcgetattr(fd)
    raw = termios.tcgetattr(fd)
    raw[0] &= ~(termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR
                | termios.IGNCR | termios.ICRNL | termios.IXON)
    raw[1] &= ~termios.OPOST
    raw[2] = raw[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    raw[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    raw[6][termios.VMIN], raw[6][termios.VTIME] = 1, 0
    termios.tcsetattr(fd, termios.TCSADRAIN, raw)
    return saved


def restore_mode(fd: int, saved: Attributes) -> None:
    """Undo `enter_raw_mode`, after what was written has gone out."""
    termios.tcsetattr(fd, termios.TCSADRAIN, saved)
