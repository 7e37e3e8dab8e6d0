"""Passing on what comes to published ports: TCP with exact half-close, UDP with associations.

Works on raw non-blocking sockets, so an idle connection costs two sockets and two tasks and no
buffer.  The container sees the address of the bridge as the peer.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import anyio

    from orchestrator.network.ports import Bound

_CHUNK = 1 << 16
_ROUNDS = 16
"""Chunks or packets in a row before other tasks get their turn."""
_CONNECT_TIMEOUT = 10.0
UDP_IDLE = 90.0
"""Seconds without a packet in either direction after which an association ends; as docker has."""
_UDP_LIMIT = 1024
"""Associations per socket; the one idle for longest makes room."""
_OUT_OF_DESCRIPTORS_PAUSE = 0.1
_IP_PKTINFO = 8
_ANCILLARY = 128
_LINGER_NONE = struct.pack("ii", 1, 0)

_Key = tuple[Any, Any]  # addresses of either family, which have no common type


async def serve(bound: Sequence[Bound], *, address: str, udp_idle: float = UDP_IDLE) -> None:
    """Serve the bound sockets until cancelled; the caller closes them afterwards."""
    import anyio

    async with anyio.create_task_group() as tasks:
        for one in bound:
            target = (address, one.target)
            name = f"port {one.published}/{one.protocol}"
            if one.protocol == "tcp":
                tasks.start_soon(_accept, one.socket, target, tasks, name=name)
            else:
                relay = _Relay(one.socket, target, idle=udp_idle)
                tasks.start_soon(relay.run, tasks, name=name)


# TCP


async def _accept(
    listener: socket.socket, target: tuple[str, int], tasks: anyio.abc.TaskGroup
) -> None:
    import anyio

    while True:
        await anyio.wait_readable(listener)
        for _ in range(_ROUNDS):
            try:
                client, _ = listener.accept()
            except BlockingIOError:
                break
            except OSError as exc:
                if exc.errno in (errno.EBADF, errno.EINVAL):
                    raise
                if exc.errno != errno.ECONNABORTED:
                    # No descriptor or no memory: some connection has to end first.
                    await anyio.sleep(_OUT_OF_DESCRIPTORS_PAUSE)
                continue
            client.setblocking(False)
            tasks.start_soon(_connection, client, target)


async def _connection(client: socket.socket, target: tuple[str, int]) -> None:
    """One client; whatever resets one side resets the other, a refusal of the container too."""
    with client:
        try:
            server = await _connect(target)
        except OSError:
            _reset_on_close(client)
            return
        with server:
            if not await _both_ways(client, server):
                _reset_on_close(server)
                _reset_on_close(client)


async def _both_ways(client: socket.socket, server: socket.socket) -> bool:
    """Whether both sides said all they had to say."""
    import anyio

    async with anyio.create_task_group() as tasks:
        _tune(client)
        _tune(server)
        reset = tasks.cancel_scope
        tasks.start_soon(_pump_or_reset, client, server, reset)
        await _pump_or_reset(server, client, reset)
    return not reset.cancel_called


async def _connect(target: tuple[str, int]) -> socket.socket:
    import anyio

    server = socket.socket(_family(target), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        code = server.connect_ex(target)
        if code == errno.EINPROGRESS:
            with anyio.fail_after(_CONNECT_TIMEOUT):
                await anyio.wait_writable(server)
            code = server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, "connect")
    except BaseException:
        server.close()
        raise
    return server


def _family(target: tuple[str, int]) -> int:
    return socket.AF_INET6 if ":" in target[0] else socket.AF_INET


def _tune(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A peer that vanished in silence is found in the end.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def _reset_on_close(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
    except OSError:
        return


async def _pump_or_reset(
    source: socket.socket, target: socket.socket, reset: anyio.CancelScope
) -> None:
    try:
        await _pump(source, target)
    except OSError:
        reset.cancel()


async def _pump(source: socket.socket, target: socket.socket) -> None:
    """Everything from `source` to `target`, then the end of stream."""
    import anyio
    from anyio.lowlevel import checkpoint

    rounds = 0
    while True:
        try:
            data = source.recv(_CHUNK)
        except BlockingIOError:
            await anyio.wait_readable(source)
            continue
        if not data:
            break
        try:
            sent = target.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            await _send_rest(target, memoryview(data)[sent:])
        del data  # not held while waiting for more
        rounds += 1
        if rounds % _ROUNDS == 0:
            await checkpoint()
    target.shutdown(socket.SHUT_WR)


async def _send_rest(target: socket.socket, rest: memoryview) -> None:
    import anyio

    while rest:
        await anyio.wait_writable(target)
        try:
            rest = rest[target.send(rest) :]
        except BlockingIOError:
            continue


# UDP


class _Association:
    """One client on one of our addresses, and the socket that speaks for it to the container."""

    __slots__ = ("client", "last", "local", "scope", "socket")

    def __init__(
        self, client: Any, local: Any, sock: socket.socket, scope: anyio.CancelScope
    ) -> None:
        self.client = client
        self.local = local
        self.socket = sock
        self.scope = scope
        self.last = 0.0


class _Relay:
    """A published UDP port."""

    def __init__(self, sock: socket.socket, target: tuple[str, int], *, idle: float) -> None:
        self._socket = sock
        self._target = target
        self._idle = idle
        self._associations: dict[_Key, _Association] = {}
        """In the order of their last packet from the client."""

    async def run(self, tasks: anyio.abc.TaskGroup) -> None:
        import anyio

        _ask_for_destination(self._socket)
        while True:
            await anyio.wait_readable(self._socket)
            for _ in range(_ROUNDS):
                try:
                    data, ancillary, _, client = self._socket.recvmsg(_CHUNK, _ANCILLARY)
                except BlockingIOError:
                    break
                except OSError as exc:
                    if exc.errno == errno.EBADF:
                        raise
                    continue
                self._inwards(data, client, _destination(ancillary), tasks)

    def _inwards(
        self, data: bytes, client: Any, local: Any, tasks: anyio.abc.TaskGroup
    ) -> None:
        import anyio

        key = (client, None if local is None else local[2])
        association = self._associations.pop(key, None)
        try:
            if association is None:
                association = self._open(client, local, tasks)
            self._associations[key] = association
            association.last = anyio.current_time()
            _send_despite_refusal(association.socket, data)
        except OSError:
            # Unreachable or no descriptors: the packet is lost, as packets may be.
            return

    def _open(self, client: Any, local: Any, tasks: anyio.abc.TaskGroup) -> _Association:
        import anyio

        if len(self._associations) >= _UDP_LIMIT:
            oldest = next(iter(self._associations))
            self._associations.pop(oldest).scope.cancel()
        sock = socket.socket(_family(self._target), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            sock.connect(self._target)
        except OSError:
            sock.close()
            raise
        association = _Association(client, local, sock, anyio.CancelScope())
        tasks.start_soon(self._outwards, association)
        return association

    async def _outwards(self, association: _Association) -> None:
        import anyio

        try:
            with association.socket, association.scope:
                while (left := association.last + self._idle - anyio.current_time()) > 0:
                    with anyio.move_on_after(left):
                        await anyio.wait_readable(association.socket)
                        self._drain(association)
        finally:
            key = (association.client, None if association.local is None else association.local[2])
            if self._associations.get(key) is association:
                del self._associations[key]

    def _drain(self, association: _Association) -> None:
        import anyio

        ancillary = [] if association.local is None else [association.local]
        for _ in range(_ROUNDS):
            try:
                data = association.socket.recv(_CHUNK)
                association.last = anyio.current_time()
                self._socket.sendmsg([data], ancillary, 0, association.client)
            except BlockingIOError:
                return
            except OSError:
                # The container refused a packet before, or the client cannot be reached.
                continue


def _send_despite_refusal(sock: socket.socket, data: bytes) -> None:
    """The refusal of an earlier packet is told instead of sending this one: then send it again."""
    try:
        sock.send(data)
    except ConnectionRefusedError:
        sock.send(data)


def _ask_for_destination(sock: socket.socket) -> None:
    """Each packet tells which of our addresses it came to, so that the answer comes from there."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)


def _destination(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, int, bytes] | None:
    """The control message that makes an answer leave from the address the packet came to."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO) and len(data) >= 12:
            # struct in_pktinfo: ifindex, spec_dst, addr; routed by address, whatever interface.
            return level, kind, struct.pack("=i4s4s", 0, data[4:8], bytes(4))
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return level, kind, data
    return None
