"""Messages with descriptors over unix sockets, and locks on files.

A message is one JSON object on one line; descriptors travel with its bytes (SCM_RIGHTS) and are
announced in it under the key `fds`, which the receiver never sees.  The peer may be hostile: what
it sends wrongly becomes ValueError, and descriptors nobody asked for are closed.  Knows nothing of
what the messages mean.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import sys
from _socket import (
    AF_UNIX,
    CMSG_SPACE,
    MSG_CMSG_CLOEXEC,
    MSG_CTRUNC,
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    SCM_RIGHTS,
    SOCK_STREAM,
    SOL_SOCKET,
    socket,
)

from orchestrator.linux import jsontext

TYPE_CHECKING = False  # as in typing, which is not imported at run time
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Message = dict[str, Any]  # JSON has no narrower type

MAX_MESSAGE = 16 << 20
MAX_FDS = 253  # the kernel's SCM_MAX_FD

_CHUNK = 1 << 16
_BURST = 256  # so often we read before we give out what there is
SPACE = CMSG_SPACE(MAX_FDS * 4)
_GONE = (errno.ECONNRESET, errno.EPIPE)


class Channel:
    """Messages in both directions over a connected unix stream socket, which it owns.

    Two peers that only send wait for each other for ever once both buffers (about 200 KiB) are
    full: whoever sends much must read in between.  Received descriptors are CLOEXEC and belong to
    the caller.  After ValueError the stream cannot be trusted: close it.
    """

    __slots__ = ("_buffer", "_ended", "_fds", "_scanned", "_socket")

    def __init__(self, sock: socket) -> None:
        self._socket = sock
        self._buffer = bytearray()
        self._scanned = 0  # so many bytes of the buffer are known to hold no newline
        self._fds: list[int] = []  # received, not yet claimed by a message
        self._ended = False

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def socket(self) -> socket:
        """For who sends in another way: nothing may be sent on it while `send` is under way."""
        return self._socket

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send the whole message and wait for room where there is none; the descriptors stay the
        caller's.  OSError if the peer is gone; ValueError if it is too big or has a key `fds`."""
        if "fds" in message or len(fds) > MAX_FDS:
            raise ValueError("the key 'fds' is taken" if "fds" in message else "too many fds")
        data = jsontext.encode({**message, "fds": len(fds)} if fds else message).encode() + b"\n"
        if len(data) > MAX_MESSAGE:
            raise ValueError(f"a message of {len(data)} bytes is too big")
        ancillary = [(SOL_SOCKET, SCM_RIGHTS, pack(fds))] if fds else []
        rest = memoryview(data)
        while rest:
            try:
                sent = self._socket.sendmsg([rest], ancillary, MSG_NOSIGNAL)
            except BlockingIOError:  # the socket was made non-blocking by its owner
                _wait(self._socket, select.POLLOUT)
            else:
                rest, ancillary = rest[sent:], []

    def receive(self) -> tuple[Message, list[int]] | None:
        """Wait for the next message and the descriptors that came with it; None at the end of the
        stream, also where it ends in the middle of a message."""
        while True:
            message = self._next()
            if message is not None:
                return message
            if self._ended:
                return None
            if not self._fill():
                _wait(self._socket, select.POLLIN)

    def pending(self) -> list[tuple[Message, list[int]]]:
        """All that has arrived, without waiting; EOFError at the end of the stream, when all before
        it has been given out."""
        found: list[tuple[Message, list[int]]] = []
        try:
            self._take_all(found)  # `receive` may have left some
            for _ in range(_BURST):
                if self._ended or not self._fill():
                    break
                self._take_all(found)
        except BaseException:
            for _, fds in found:
                _close_all(fds)
            raise
        if self._ended and not found:
            raise EOFError
        return found

    def close(self) -> None:
        """Close the socket and the descriptors no message has claimed."""
        self._close_fds()
        self._socket.close()

    def _take_all(self, found: list[tuple[Message, list[int]]]) -> None:
        message = self._next()
        while message is not None:
            found.append(message)
            message = self._next()

    def _fill(self) -> bool:
        """Read what is there, once; False if there is nothing yet."""
        try:
            data, ancillary, flags, _ = self._socket.recvmsg(
                _CHUNK, SPACE, MSG_DONTWAIT | MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return False
        except OSError as exc:
            if exc.errno not in _GONE:
                raise
            data, ancillary, flags = b"", [], 0
        for level, kind, packed in ancillary:
            if level == SOL_SOCKET and kind == SCM_RIGHTS:
                self._fds += unpack(packed)
        if flags & MSG_CTRUNC:  # we have no room for more descriptors, some are lost
            self._close_fds()
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        self._buffer += data
        self._ended = not data
        if self._ended:
            self._close_fds()
        return True

    def _next(self) -> tuple[Message, list[int]] | None:
        end = self._buffer.find(b"\n", self._scanned)
        if end < 0:
            self._scanned = len(self._buffer)
            self._check_rest()
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._scanned = 0
        try:
            return self._open(line)
        except ValueError:
            self._close_fds()
            raise

    def _open(self, line: bytes) -> tuple[Message, list[int]]:
        message = jsontext.decode(line)
        if not isinstance(message, dict):
            raise ValueError("a message must be a JSON object")
        count = message.pop("fds", 0)
        # Descriptors arrive with the first byte of their message: none can still be on the way.
        if type(count) is not int or not 0 <= count <= len(self._fds):
            raise ValueError(f"{count!r} descriptors announced, {len(self._fds)} came")
        fds, self._fds = self._fds[:count], self._fds[count:]
        return message, fds

    def _check_rest(self) -> None:
        """What remains is the beginning of one message, so it has the bounds of one."""
        if not self._buffer:
            self._close_fds()  # nobody has announced them, and nobody can any more
        if len(self._buffer) >= MAX_MESSAGE or len(self._fds) > MAX_FDS:
            self._close_fds()
            raise ValueError("a message is too big")

    def _close_fds(self) -> None:
        fds, self._fds = self._fds, []
        _close_all(fds)


def open_listener(path: str) -> socket:
    """A listening unix stream socket of mode 0600 at `path`, which may be longer than the 107 bytes
    an address holds.

    A file at `path` is replaced in one step, and whoever sees the new one can connect: the caller
    holds a lock that says nobody else serves there.
    """
    directory, name = os.path.split(path)
    sock = socket(AF_UNIX, SOCK_STREAM)
    try:
        os.fchmod(sock.fileno(), 0o600)  # bind(2) gives the file the mode of the socket
        temporary = os.path.join(directory, f".{os.getpid()}.{name}"[:80])
        _unlink(temporary)
        _with_address(temporary, sock.bind)
        sock.listen(128)
        os.rename(temporary, path)
    except BaseException:
        sock.close()
        raise
    return sock


def connect(path: str) -> socket:
    """A unix stream socket connected to `path`; FileNotFoundError or ConnectionRefusedError when
    nobody answers."""
    sock = socket(AF_UNIX, SOCK_STREAM)
    try:
        _with_address(path, sock.connect)
    except BaseException:
        sock.close()
        raise
    return sock


def lock(path: str, *, wait: bool) -> int | None:
    """The exclusive flock(2) of `path` as an open descriptor that holds it until it and all its
    copies are closed; None if somebody else holds it and we do not wait.  Makes the file and its
    directory; writes "pid command" into it for `lock_holder`.  CLOEXEC."""
    while True:
        fd = _open_lock(path)
        try:
            if not _flock(fd, wait=wait):
                os.close(fd)
                return None
            if _is_at(fd, path):  # else it was deleted while we waited
                _sign(fd)
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _open_lock(path: str) -> int:
    """Others may make its directory and remove it, between one call and the next."""
    for tries_left in reversed(range(100)):
        try:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except (FileExistsError, FileNotFoundError):
            if not tries_left:
                raise
    raise AssertionError("the last try returns or raises")


def lock_holder(path: str) -> str:
    """What the last one who got the lock wrote: "pid command"; empty if there is no such file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return ""
    try:
        return os.read(fd, 4096).decode(errors="replace").strip()
    finally:
        os.close(fd)


def _flock(fd: int, *, wait: bool) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _sign(fd: int) -> None:
    with open("/proc/self/cmdline", "rb") as file:
        command = file.read(4000).replace(b"\0", b" ").strip()
    text = b"%d %s\n" % (os.getpid(), command)
    os.pwrite(fd, text, 0)
    os.ftruncate(fd, len(text))


def _with_address(path: str, use: Callable[[str], None]) -> None:
    if len(os.fsencode(path)) <= 107:
        use(path)
        return
    directory, name = os.path.split(path)
    fd = os.open(directory or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        use(f"/proc/self/fd/{fd}/{name}")
    finally:
        os.close(fd)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _wait(sock: socket, events: int) -> None:
    poll = select.poll()
    poll.register(sock.fileno(), events)
    poll.poll()


def pack(fds: Sequence[int]) -> bytes:
    """As an SCM_RIGHTS message has them (unix(7))."""
    return b"".join(fd.to_bytes(4, sys.byteorder, signed=True) for fd in fds)


def unpack(data: bytes) -> list[int]:
    """The other way round."""
    # A cut message may end in the middle of a number; the kernel has not made that descriptor.
    whole = len(data) - len(data) % 4
    return [int.from_bytes(data[i:i + 4], sys.byteorder) for i in range(0, whole, 4)]


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
