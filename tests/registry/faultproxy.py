"""A proxy between us and a real registry that cuts, spoils, holds up and refuses."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Literal, Self

KINDS = ("cut", "reset", "break", "flip", "refuse", "slow", "stall")
_PIECE = 4096


@dataclass(frozen=True)
class Fault:
    """What happens to one connection, after so many bytes: its answer ends (`cut`), or ends with a
    reset; its request ends (`break`); a bit of the answer's body is another (`flip`); nothing more
    comes (`stall`), or slowly; or it is answered by 429 or 503 (`refuse`)."""

    kind: Literal["cut", "reset", "break", "flip", "refuse", "slow", "stall"]
    at: int


def planned(chance: random.Random, *, most: int) -> list[Fault]:
    """Some faults, in the order of the connections that they meet; a stall takes long, so there is
    one at most."""
    kinds = [chance.choice(KINDS[:-1]) for _ in range(chance.randint(1, most))]
    if chance.random() < 0.3:
        kinds[chance.randrange(len(kinds))] = "stall"
    return [Fault(kind, int(10 ** chance.uniform(1, 5.5))) for kind in kinds]  # type: ignore[arg-type]


class FaultProxy:
    """Listens on a loopback port for a server on a unix socket; a context manager.  Connections
    beyond the faults that were planned are left alone."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.faults: list[Fault] = []
        self._over = threading.Event()
        self._open: set[socket.socket] = set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.heal()

    def heal(self) -> None:
        """No more faults, and connections that suffer from one are over."""
        self.faults.clear()
        self._over.set()
        for sock in list(self._open):
            _close(sock)
        self._over = threading.Event()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            fault = self.faults.pop(0) if self.faults else None
            threading.Thread(target=self._connection, args=(client, fault), daemon=True).start()

    def _connection(self, client: socket.socket, fault: Fault | None) -> None:
        if fault is not None and fault.kind == "refuse":
            _refuse(client, fault)
            return
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._upstream)
        self._open |= {client, server}
        over = self._over
        is_of_request = fault is not None and fault.kind == "break"
        there = threading.Thread(target=_pump, daemon=True, args=(
            client, server, fault if is_of_request else None, over))
        there.start()
        _pump(server, client, None if is_of_request else fault, over)
        there.join()
        self._open -= {client, server}


def _refuse(client: socket.socket, fault: Fault) -> None:
    head = b""
    with contextlib.suppress(OSError), client:
        while b"\r\n\r\n" not in head and (data := client.recv(_PIECE)):
            head += data
        status = b"429 Too Many Requests" if fault.at % 2 else b"503 Service Unavailable"
        client.sendall(b"HTTP/1.1 %s\r\nRetry-After: 0\r\nContent-Length: 0\r\n"
                       b"Connection: close\r\n\r\n" % status)  # fmt: skip


def _pump(
    source: socket.socket, target: socket.socket, fault: Fault | None, over: threading.Event
) -> None:
    """Move bytes until one of the two has enough of it, or the fault ends it."""
    passed, head = 0, b""
    try:
        while data := source.recv(_PIECE):
            if fault is not None:
                head = (head + data)[:_PIECE]
                data = _suffered(data, passed, fault, body=head.find(b"\r\n\r\n") + 4, over=over)
            passed += len(data)
            target.sendall(data)
            if fault is not None and fault.kind in ("cut", "reset", "break") and passed >= fault.at:
                break
    except OSError:
        pass
    if fault is not None and fault.kind == "reset":
        with contextlib.suppress(OSError):
            target.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    _close(source)
    _close(target)


def _suffered(
    data: bytes, passed: int, fault: Fault, *, body: int, over: threading.Event
) -> bytes:
    """What goes on of some bytes, before which `passed` went."""
    at = fault.at - passed
    if fault.kind in ("cut", "reset", "break"):
        return data[:max(at, 0)]
    if fault.kind == "flip" and 0 <= (spot := at + body) < len(data):
        return data[:spot] + bytes([data[spot] ^ 1]) + data[spot + 1:]
    if fault.kind == "stall" and at < len(data):
        over.wait()
    if fault.kind == "slow" and at > 0:
        over.wait(0.002)
    return data


def _close(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        sock.close()
