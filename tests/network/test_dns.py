"""The resolver through real sockets: inside containers, to upstreams in other namespaces."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import anyio
import pytest

from orchestrator.network import dns, dnspacket
from orchestrator.network.nametable import NameTable
from tests.network import world
from tests.network.namespaces import isolated

pytestmark = pytest.mark.kernel

SERVER = ("127.0.0.11", 53)


class Stack:
    """One network with a resolver for its first container; `ask` is asked from inside."""

    def __init__(self, upstreams: Sequence[str] = ()) -> None:
        self.table = NameTable()
        self.upstreams = upstreams
        self._exits = ExitStack()
        net = world.network("pc-a", 5)
        self.guest, self.sockets = self._exits.enter_context(
            world.container(world.ID, net.link(2))
        )
        self.table.set(world.ID, {"n": (["web"], ["172.20.5.2"])}, name="p-web-1")

    def run(self, client: Callable[[], Any]) -> Any:
        """What `client` returns, run inside the container while its resolver serves."""

        async def main() -> Any:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._serve)
                try:
                    return await anyio.to_thread.run_sync(lambda: self.guest.run(client))
                finally:
                    tasks.cancel_scope.cancel()

        with self._exits:
            return anyio.run(main)

    async def _serve(self) -> None:
        await dns.serve(self.sockets, container=world.ID, table=self.table,
                        upstreams=lambda: self.upstreams)  # fmt: skip


def exchange(data: bytes, *, timeout: float = 8.0) -> bytes:
    """One UDP question to the container's resolver."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout)
        sock.sendto(data, SERVER)
        return sock.recv(65535)


def exchange_tcp(*messages: bytes) -> list[bytes]:
    """Several questions at once over one connection."""
    with socket.create_connection(SERVER, timeout=8.0) as sock:
        sock.sendall(b"".join(struct.pack(">H", len(m)) + m for m in messages))
        return [receive(sock) for _ in messages]


def receive(sock: socket.socket) -> bytes:
    length = int.from_bytes(sock.recv(2, socket.MSG_WAITALL), "big")
    return sock.recv(length, socket.MSG_WAITALL)


def ask(name: str, type_: int = dnspacket.A, *, size: int | None = None) -> tuple[int, list[str]]:
    """(code, addresses or names)."""
    return read(exchange(dnspacket.query(77, name, type_, size=size)))


def read(reply: bytes) -> tuple[int, list[str]]:
    assert reply[:2] == b"\0M"
    shown = []
    for _, type_, data in dnspacket.read_answers(reply):
        is_name = type_ == dnspacket.PTR
        shown.append(dnspacket.read_name(data, 0)[0] if is_name else socket.inet_ntoa(data))
    return dnspacket.parse(reply).code, shown


@isolated
def test_names_of_the_table_are_answered() -> None:
    def client() -> list[Any]:
        return [
            ask("WEB"), ask("web", dnspacket.AAAA), ask("web", 15), ask("web.n"),
            ask("2.5.20.172.in-addr.arpa", dnspacket.PTR), ask("nobody"),
            socket.gethostbyname("localhost"),
        ]  # fmt: skip

    assert Stack().run(client) == [
        (0, ["172.20.5.2"]), (0, []), (0, []), (0, ["172.20.5.2"]), (0, ["p-web-1.n"]), (3, []),
        "127.0.0.1",
    ]  # fmt: skip


@isolated
def test_many_replicas_come_by_tcp_when_they_do_not_fit() -> None:
    stack = Stack()
    for number in range(100):
        stack.table.set(f"c{number}", {"n": (["many"], [f"172.20.5.{number + 3}"])})
    query = dnspacket.query(77, "many", dnspacket.A)

    def client() -> tuple[bytes, list[bytes], tuple[int, list[str]]]:
        return exchange(query), exchange_tcp(query, query), ask("many", size=4096)

    short, (first, second), large = stack.run(client)
    assert dnspacket.parse(short).is_truncated
    expected = sorted(f"172.20.5.{n + 3}" for n in range(100))
    assert sorted(read(first)[1]) == sorted(read(second)[1]) == sorted(large[1]) == expected


@isolated
def test_questions_that_come_together_are_answered_each_by_its_id_and_in_an_order_of_its_own(
) -> None:
    stack = Stack()
    for number in range(4):
        stack.table.set(f"c{number}", {"n": (["four"], [f"172.20.5.{number + 3}"])})
    wanted = {id_: ("web", "four", "WEB", "nobody")[id_ % 4] for id_ in range(64)}

    def client() -> list[bytes]:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.settimeout(8)
            for id_, name in wanted.items():
                sock.sendto(dnspacket.query(id_, name, dnspacket.A), SERVER)
            return [sock.recv(512) for _ in wanted]

    replies = {int.from_bytes(reply[:2], "big"): reply for reply in stack.run(client)}
    names = {id_: dnspacket.parse(reply).name for id_, reply in replies.items()}
    assert names == {id_: name.lower() for id_, name in wanted.items()}
    found = {id_: [data for _, _, data in dnspacket.read_answers(reply)]
             for id_, reply in replies.items()}  # fmt: skip
    assert [len(found[id_]) for id_ in range(4)] == [1, 4, 1, 0]
    orders = {tuple(each) for each in found.values() if len(each) == 4}
    assert len(orders) > 1  # one for all 16 has a chance of 1 in 24 ** 15


@isolated
def test_what_is_no_query_is_answered_or_ignored_and_serving_goes_on() -> None:
    def client() -> list[Any]:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            for junk in (b"", b"junk", dnspacket.query(5, "web", 1)[:-1], b"\0" * 500,
                         b"\0\1\x80\0" + bytes(20), b"\0\2\x10\0\0\1" + bytes(11)):  # fmt: skip
                sock.sendto(junk, SERVER)
            replies = [sock.recv(512) for _ in range(3)]
        with socket.create_connection(SERVER, timeout=5) as tcp:
            tcp.sendall(b"\0\x02ab")
            closed = tcp.recv(10)
        return [[reply[3] & 15 for reply in replies], closed, ask("web")]

    assert Stack().run(client) == [[1, 1, 4], b"", (0, ["172.20.5.2"])]


# Upstreams: little servers in this namespace, on loopback addresses of their own


@contextmanager
def upstream(
    address: str, answer: Callable[[bytes], Sequence[bytes]], *, tcp: bool = False
) -> Iterator[None]:
    """A process that answers each question with the packets `answer` makes of it."""
    sock = socket.socket(type=socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
    sock.bind((address, 53))
    if tcp:
        sock.listen()
    pid = os.fork()
    if pid == 0:
        while True:
            if tcp:
                _answer_tcp(sock, answer)
            else:
                _answer_udp(sock, answer)
    sock.close()
    try:
        yield
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def _answer_udp(sock: socket.socket, answer: Callable[[bytes], Sequence[bytes]]) -> None:
    data, client = sock.recvfrom(4096)
    for reply in answer(data):
        sock.sendto(reply, client)


def _answer_tcp(sock: socket.socket, answer: Callable[[bytes], Sequence[bytes]]) -> None:
    with sock.accept()[0] as connection:
        for reply in answer(receive(connection)):
            connection.sendall(struct.pack(">H", len(reply)) + reply)


def known(data: bytes, *addresses: str) -> bytes:
    packed = [socket.inet_aton(address) for address in addresses]
    return dnspacket.answer(dnspacket.parse(data), addresses=packed)


def refusing(data: bytes) -> list[bytes]:
    return [dnspacket.failure(dnspacket.parse(data), 5)]


def good(data: bytes) -> list[bytes]:
    return [known(data, "198.51.100.7")]


@isolated
def test_other_names_are_asked_for_upstream() -> None:
    with upstream("127.0.0.2", good), upstream("127.0.0.2", good, tcp=True):
        def client() -> list[Any]:
            query = dnspacket.query(77, "example.test", dnspacket.A)
            return [ask("example.test"), read(exchange_tcp(query)[0])]

        assert Stack(["127.0.0.2"]).run(client) == [(0, ["198.51.100.7"])] * 2


@isolated
def test_upstreams_are_asked_in_order_until_one_answers() -> None:
    with upstream("127.0.0.2", refusing), upstream("127.0.0.3", lambda _: []):
        silent_first = Stack(["127.0.0.4", "127.0.0.3", "127.0.0.2", "127.0.0.5"])
        with upstream("127.0.0.5", good):
            assert silent_first.run(lambda: ask("example.test")) == (0, ["198.51.100.7"])


@isolated
def test_nobody_answering_is_a_server_failure() -> None:
    assert Stack(["127.0.0.4"]).run(lambda: ask("example.test")) == (2, [])


@isolated
def test_the_refusal_of_all_is_passed_on() -> None:
    with upstream("127.0.0.2", refusing):
        assert Stack(["127.0.0.2"]).run(lambda: ask("example.test")) == (5, [])


@isolated
def test_a_truncated_answer_is_fetched_by_tcp() -> None:
    def cut(data: bytes) -> list[bytes]:
        return [dnspacket.truncated(dnspacket.parse(data))]

    with upstream("127.0.0.2", cut), upstream("127.0.0.2", good, tcp=True):
        assert Stack(["127.0.0.2"]).run(lambda: ask("example.test")) == (0, ["198.51.100.7"])


@isolated
def test_a_forged_answer_is_not_believed() -> None:
    def forged(data: bytes) -> list[bytes]:
        other = dnspacket.query(0, "evil.test", dnspacket.A)
        bad = known(data, "203.0.113.6")
        return [
            dnspacket.with_id(bad, int.from_bytes(data[:2], "big") ^ 1),
            dnspacket.with_id(known(other, "203.0.113.6"), int.from_bytes(data[:2], "big")),
            data, b"", bad[:11], known(data, "198.51.100.7"),
        ]  # fmt: skip

    with upstream("127.0.0.2", forged):
        assert Stack(["127.0.0.2"]).run(lambda: ask("example.test")) == (0, ["198.51.100.7"])


@isolated
def test_the_id_upstream_is_not_the_clients() -> None:
    def echo_id(data: bytes) -> list[bytes]:
        return [known(data, socket.inet_ntoa(b"\1\1" + data[:2]))]

    with upstream("127.0.0.2", echo_id):
        def client() -> set[str]:
            return {ask("example.test")[1][0] for _ in range(20)}

        assert len(Stack(["127.0.0.2"]).run(client)) >= 15


@isolated
def test_edns_passes_upstream_and_back() -> None:
    def large(data: bytes) -> list[bytes]:
        assert dnspacket.parse(data).size == 4096
        return [known(data, *[f"10.0.0.{n}" for n in range(100)])]

    with upstream("127.0.0.2", large):
        code, found = Stack(["127.0.0.2"]).run(lambda: ask("example.test", size=4096))
    assert (code, len(found)) == (0, 100)


def test_the_machines_nameservers_are_read_anew(tmp_path: Any) -> None:
    path = tmp_path / "resolv.conf"
    assert dns.host_upstreams(str(path)) == []
    path.write_text("nameserver 192.0.2.53\n")
    assert dns.host_upstreams(str(path)) == ["192.0.2.53"]


