"""The resolver of a container: answers on sockets that are bound inside its network namespace.

Names of the table are answered at once, for everything else an upstream is asked from the host's
namespace.  Knows the table and the upstreams it is given; the packets are `dnspacket`'s affair.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from orchestrator.dataclass import replace
from orchestrator.network import dnspacket, files
from orchestrator.network.dnspacket import MalformedError, Question

if TYPE_CHECKING:
    import anyio

    from orchestrator.network.nametable import NameTable

Missed = Callable[[str], None]
"""Called with a name that nobody knows."""
Upstreams = Callable[[], Sequence[str]]
"""The addresses to ask, best first; called for each query, so that changes are seen."""

_TTL = 10
"""Seconds; short, for replicas come and go."""
_TRIES = 2
_TIMEOUT = 2.5
"""Seconds for one upstream to answer, of the five a client usually waits in all."""
_AT_ONCE = 64
"""Queries under way for one container; more are dropped, and clients ask again."""
_CONNECTIONS = 16
_REMEMBERED = 256
_IDLE = 10.0
_OUT_OF_DESCRIPTORS_PAUSE = 0.1
_PORT = 53
_LARGEST = 65535
_KINDS = {False: dnspacket.A, True: dnspacket.AAAA}
_FAMILIES = {False: socket.AF_INET, True: socket.AF_INET6}


def host_upstreams(path: str = "/etc/resolv.conf") -> list[str]:
    """The nameservers of this machine, as they are now; empty where there are none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return files.nameservers(file.read())
    except OSError:
        return []


async def serve(
    sockets: Sequence[socket.socket], *, container: str, table: NameTable,
    upstreams: Upstreams = host_upstreams, missed: Missed = lambda name: None,
) -> None:  # fmt: skip
    """Answer until cancelled.  `sockets` are non-blocking and bound: UDP, and a TCP listener; the
    caller closes them afterwards.  No upstreams: unknown names do not exist."""
    import anyio

    resolver = _Resolver(container, table, upstreams, missed)
    async with anyio.create_task_group() as tasks:
        for sock in sockets:
            if sock.type == socket.SOCK_DGRAM:
                tasks.start_soon(resolver.serve_udp, sock, tasks, name=f"dns {container[:12]}")
            else:
                tasks.start_soon(resolver.serve_tcp, sock, tasks, name=f"dns-tcp {container[:12]}")


class _Resolver:
    """What one container's two sockets share."""

    def __init__(
        self, container: str, table: NameTable, upstreams: Upstreams, missed: Missed
    ) -> None:
        self._missed = missed
        self._container = container
        self._table = table
        self._upstreams = upstreams
        self._under_way = 0
        self._connections = 0
        self._parsed: dict[bytes, Question] = {}
        """By the query without its id: clients ask the same again and again."""

    async def serve_udp(self, sock: socket.socket, tasks: anyio.abc.TaskGroup) -> None:
        import anyio

        while True:
            await anyio.wait_readable(sock)
            self._take_waiting(sock, tasks)

    def _take_waiting(self, sock: socket.socket, tasks: anyio.abc.TaskGroup) -> None:
        """Queries that have waited together and ask the same get the same answer: the longer the
        queue of a busy machine, the less each costs."""
        known: dict[bytes, bytes] = {}
        for _ in range(_AT_ONCE):
            try:
                data, client = sock.recvfrom(_LARGEST)
            except BlockingIOError:
                return
            except OSError as exc:
                _raise_if_closed(exc)
                continue
            answer = known.get(data[2:])
            if answer is not None:
                _send(sock, data[:2] + answer, client)
            else:
                self._take(sock, data, client, tasks, known)

    def _take(
        self, sock: socket.socket, data: bytes, client: tuple[str, int],
        tasks: anyio.abc.TaskGroup, known: dict[bytes, bytes],
    ) -> None:  # fmt: skip
        question, reply = self._at_once(data, tcp=False)
        if reply is not None:
            _send(sock, reply, client)
            if dnspacket.answers(reply) < 2:  # else each gets the replicas in an order of its own
                known[data[2:]] = reply[2:]
        elif question is not None and self._under_way < _AT_ONCE:
            self._under_way += 1
            tasks.start_soon(self._forward_udp, sock, question, data, client)

    async def _forward_udp(
        self, sock: socket.socket, question: Question, data: bytes, client: tuple[str, int]
    ) -> None:
        try:
            reply = await self._forward(question, data)
        finally:
            self._under_way -= 1
        if len(reply) > question.size:
            reply = dnspacket.truncated(question)
        _send(sock, reply, client)

    async def _forward(self, question: Question, data: bytes, *, tcp: bool = False) -> bytes:
        reply = await forward(question, data, self._upstreams(), tcp=tcp)
        # Whoever asks for both families misses a name once.
        if question.type == dnspacket.A and dnspacket.parse(reply).code != dnspacket.NOERROR:
            self._missed(question.name)
        return reply

    async def serve_tcp(self, listener: socket.socket, tasks: anyio.abc.TaskGroup) -> None:
        import anyio

        while True:
            await anyio.wait_readable(listener)
            try:
                sock, _ = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                continue
            except OSError as exc:
                _raise_if_closed(exc)
                # No descriptor or no memory: some connection has to end first.
                await anyio.sleep(_OUT_OF_DESCRIPTORS_PAUSE)
                continue
            if self._connections >= _CONNECTIONS:
                sock.close()
                continue
            sock.setblocking(False)
            self._connections += 1
            tasks.start_soon(self._serve_connection, sock)

    async def _serve_connection(self, sock: socket.socket) -> None:
        import anyio

        try:
            with sock:
                while True:
                    with anyio.fail_after(_IDLE):
                        data = await _receive_framed(sock)
                    question, reply = self._at_once(data, tcp=True)
                    if question is not None and reply is None:
                        reply = await self._forward(question, data, tcp=True)
                    if reply is None:
                        return
                    with anyio.fail_after(_IDLE):
                        await _send_framed(sock, reply)
        except (OSError, EOFError):
            return
        finally:
            self._connections -= 1

    def _at_once(self, data: bytes, *, tcp: bool) -> tuple[Question | None, bytes | None]:
        """(question, answer): without an answer the question is for upstream; without both the
        packet is to be ignored."""
        try:
            question = self._parse(data)
        except MalformedError:
            return None, dnspacket.format_error(data)
        if question.is_response:
            return None, None
        if question.opcode != 0:
            reply: bytes | None = dnspacket.failure(question, dnspacket.NOTIMP)
        else:
            reply = self._known(question, limit=None if tcp else question.size)
        if reply is None:
            return replace(question, id=int.from_bytes(data[:2], "big")), None
        return question, data[:2] + reply[2:]

    def _parse(self, data: bytes) -> Question:
        """As `dnspacket.parse`, but for the id, which may be that of an earlier query."""
        question = self._parsed.get(data[2:])
        if question is None:
            if len(self._parsed) >= _REMEMBERED:
                self._parsed.clear()
            question = self._parsed[data[2:]] = dnspacket.parse(data)
        return question

    def _known(self, question: Question, *, limit: int | None) -> bytes | None:
        """The answer to a question about one of ours; None where it is about somebody else."""
        if question.class_ != dnspacket.IN:
            return None
        if question.type == dnspacket.PTR:
            return self._reverse(question)
        found = self._table.lookup(self._container, question.name)
        if not found:
            return None
        # a name that is known without an address of the family asked for: an empty answer
        wanted = [a for a in found if _KINDS[":" in a] == question.type
                  or question.type == dnspacket.ANY]  # fmt: skip
        packed = [socket.inet_pton(_FAMILIES[":" in a], a) for a in wanted]
        return dnspacket.answer(question, addresses=packed, ttl=_TTL, limit=limit)

    def _reverse(self, question: Question) -> bytes | None:
        address = dnspacket.reverse_address(question.name)
        name = address and self._table.reverse(self._container, address)
        if not name:
            return None
        try:
            return dnspacket.answer(question, pointers=[name], ttl=_TTL)
        except MalformedError:
            return None


def _send(sock: socket.socket, data: bytes, client: tuple[str, int]) -> None:
    try:
        sock.sendto(data, client)
    except OSError as exc:
        # A full buffer or a client that is gone: as if the packet were lost on the way.
        _raise_if_closed(exc)


def _raise_if_closed(exc: OSError) -> None:
    if exc.errno in (errno.EBADF, errno.EINVAL, errno.ENOTSOCK):
        raise exc


# Upstream


async def forward(
    question: Question, data: bytes, upstreams: Sequence[str], *, tcp: bool = False
) -> bytes:
    """The answer of the first upstream that has one, asked in order, under the client's id; over
    TCP where the client came by TCP or the answer was cut.  SERVFAIL when none answers; an answer
    of SERVFAIL or REFUSED lets the next one be asked.  NXDOMAIN when there are no upstreams."""
    if not upstreams:
        return dnspacket.failure(question, dnspacket.NXDOMAIN)
    refused: bytes | None = None
    for _ in range(_TRIES):
        for upstream in upstreams:
            reply = await _ask(upstream, question, data, tcp=tcp)
            if reply is None:
                continue
            if dnspacket.parse(reply).code in (dnspacket.NOERROR, dnspacket.NXDOMAIN):
                return dnspacket.with_id(reply, question.id)
            refused = refused or dnspacket.with_id(reply, question.id)
        if refused is not None:
            return refused
    return dnspacket.failure(question, dnspacket.SERVFAIL)


async def _ask(upstream: str, question: Question, data: bytes, *, tcp: bool) -> bytes | None:
    """One upstream, one try; None where it does not answer in time."""
    import anyio

    data = dnspacket.with_id(data, int.from_bytes(os.urandom(2), "big"))
    try:
        with anyio.fail_after(_TIMEOUT / _TRIES if not tcp else _TIMEOUT):
            if tcp:
                return await _ask_tcp(upstream, question, data)
            reply = await _ask_udp(upstream, question, data)
            if not dnspacket.parse(reply).is_truncated:
                return reply
    except (OSError, EOFError):
        return None
    return await _ask(upstream, question, data, tcp=True) or reply


def _address(upstream: str, kind: int) -> tuple[socket.socket, tuple[str | int, ...]]:
    """A non-blocking socket and the address to connect it to; no name is looked up."""
    if ":" not in upstream:
        return socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK), (upstream, _PORT)
    host, _, scope = upstream.partition("%")
    index = int(scope) if scope.isdigit() else socket.if_nametoindex(scope) if scope else 0
    sock = socket.socket(socket.AF_INET6, kind | socket.SOCK_NONBLOCK)
    return sock, (host, _PORT, 0, index)


async def _ask_udp(upstream: str, question: Question, data: bytes) -> bytes:
    """A socket of its own for each query: its random port, the random id and the question must
    all be met by an answer, and a connected socket hears nobody but the upstream."""
    import anyio

    sock, address = _address(upstream, socket.SOCK_DGRAM)
    with sock:
        sock.connect(address)
        sock.send(data)
        while True:
            await anyio.wait_readable(sock)
            try:
                reply = sock.recv(_LARGEST)
            except BlockingIOError:
                continue
            if _belongs(reply, data[:2], question):
                return reply


async def _ask_tcp(upstream: str, question: Question, data: bytes) -> bytes:
    import anyio

    sock, address = _address(upstream, socket.SOCK_STREAM)
    with sock:
        code = sock.connect_ex(address)
        if code == errno.EINPROGRESS:
            await anyio.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, "connect")
        await _send_framed(sock, data)
        while True:
            reply = await _receive_framed(sock)
            if _belongs(reply, data[:2], question):
                return reply


def _belongs(reply: bytes, id_: bytes, question: Question) -> bool:
    if reply[:2] != id_:
        return False
    try:
        said = dnspacket.parse(reply)
    except MalformedError:
        return False
    asked = (question.name, question.type, question.class_)
    return said.is_response and (said.name, said.type, said.class_) == asked


# DNS over TCP: two bytes of length before each message


async def _receive_framed(sock: socket.socket) -> bytes:
    length = int.from_bytes(await _receive_exactly(sock, 2), "big")
    return await _receive_exactly(sock, length)


async def _receive_exactly(sock: socket.socket, count: int) -> bytes:
    import anyio

    data = b""
    while len(data) < count:
        try:
            part = sock.recv(count - len(data))
        except BlockingIOError:
            await anyio.wait_readable(sock)
            continue
        if not part:
            raise EOFError("connection closed")
        data += part
    return data


async def _send_framed(sock: socket.socket, message: bytes) -> None:
    import anyio

    data = len(message).to_bytes(2, "big") + message
    while data:
        try:
            data = data[sock.send(data) :]
        except BlockingIOError:
            await anyio.wait_writable(sock)
