"""What goes through published ports arrives whole, in both directions, and ends as it should."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any, Literal

import anyio
import pytest

from orchestrator.network import proxy
from orchestrator.network.ports import Publisher
from tests.network.namespaces import isolated
from tests.network.test_ports import Port

pytestmark = pytest.mark.kernel

MEGABYTE = os.urandom(1 << 20)


def through(
    client: Callable[[], Any], *, target: int = 80, protocol: Literal["tcp", "udp"] = "tcp",
    host_ip: str = "127.0.0.1", udp_idle: float = 60.0,
) -> Any:  # whatever the client returns
    """What `client` returns, run in a thread while port 8080 leads to port `target`."""
    publisher = Publisher(container="web")
    publisher.bind(Port(target=target, protocol=protocol, host_ip=host_ip))

    async def main() -> Any:
        async def serve() -> None:
            await proxy.serve(publisher.bound, address="127.0.0.1", udp_idle=udp_idle)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            try:
                return await anyio.to_thread.run_sync(client)
            finally:
                tasks.cancel_scope.cancel()

    try:
        return anyio.run(main)
    finally:
        publisher.close()


def dial() -> socket.socket:
    return socket.create_connection(("127.0.0.1", 8080), timeout=10)


def pair(server: socket.socket) -> tuple[socket.socket, socket.socket]:
    """A client through the proxy, and the container's end of it."""
    client = dial()
    inner = server.accept()[0]
    inner.settimeout(10)
    return client, inner


def read_all(sock: socket.socket) -> bytes:
    parts = []
    while part := sock.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


@isolated
def test_a_megabyte_goes_both_ways_at_once() -> None:
    server = socket.create_server(("127.0.0.1", 80))

    def exchange() -> bool:
        client, inner = pair(server)
        writers = [threading.Thread(target=say, args=(end,)) for end in (client, inner)]
        for writer in writers:
            writer.start()
        found = [b"", b""]
        readers = [threading.Thread(target=lambda n=n, e=e: found.__setitem__(n, read_all(e)))
                   for n, e in enumerate((client, inner))]  # fmt: skip
        for thread in readers:
            thread.start()
        for thread in (*writers, *readers):
            thread.join(20)
        return found == [MEGABYTE, MEGABYTE]

    def say(sock: socket.socket) -> None:
        sock.sendall(MEGABYTE)
        sock.shutdown(socket.SHUT_WR)

    assert through(exchange)


@isolated
def test_an_answer_may_follow_the_end_of_the_question() -> None:
    server = socket.create_server(("127.0.0.1", 80))

    def exchange() -> tuple[bytes, bytes]:
        client, inner = pair(server)
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        asked = read_all(inner)
        inner.sendall(MEGABYTE)
        inner.close()
        return asked, read_all(client)

    assert through(exchange) == (b"question", MEGABYTE)


@isolated
def test_a_question_may_go_on_after_the_end_of_the_answer() -> None:
    server = socket.create_server(("127.0.0.1", 80))

    def exchange() -> tuple[bytes, bytes]:
        client, inner = pair(server)
        inner.sendall(b"banner")
        inner.shutdown(socket.SHUT_WR)
        told = read_all(client)
        client.sendall(MEGABYTE)
        client.shutdown(socket.SHUT_WR)
        return told, read_all(inner)

    assert through(exchange) == (b"banner", MEGABYTE)


@isolated
def test_a_slow_reader_slows_the_writer() -> None:
    server = socket.create_server(("127.0.0.1", 80))

    def exchange() -> tuple[bool, bool]:
        client, inner = pair(server)
        client.settimeout(1)
        sent = fill(client)
        client.settimeout(10)
        client.shutdown(socket.SHUT_WR)
        return sent < 64 << 20, len(read_all(inner)) == sent

    assert through(exchange) == (True, True)


def fill(sock: socket.socket) -> int:
    """Bytes sent until no more are taken."""
    sent = 0
    while sent < 64 << 20:
        try:
            sent += sock.send(MEGABYTE)
        except TimeoutError:
            break
    return sent


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@isolated
def test_a_reset_on_one_side_is_a_reset_on_the_other() -> None:
    server = socket.create_server(("127.0.0.1", 80))

    def exchange() -> None:
        for number in range(2):
            near, far = pair(server)[:: 1 if number else -1]
            far.sendall(b"x")
            assert near.recv(1) == b"x"
            reset(near)
            with pytest.raises(ConnectionResetError):
                far.recv(1)

    through(exchange)


@isolated
def test_a_container_that_refuses_resets_the_client() -> None:
    def exchange() -> None:
        with pytest.raises(ConnectionResetError):
            dial().recv(1)

    through(exchange)


@isolated
def test_nothing_is_left_open_after_many_connections() -> None:
    server = socket.create_server(("127.0.0.1", 80), backlog=64)

    def exchange() -> bool:
        before = len(os.listdir("/proc/self/fd"))
        ends = [pair(server) for _ in range(50)]
        assert len(os.listdir("/proc/self/fd")) >= before + 200
        for client, inner in ends:
            client.close()
            assert inner.recv(1) == b""
            inner.close()
        last, inner = pair(server)
        inner.sendall(b"x")
        last.recv(1)
        last.close()
        inner.close()
        return eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)

    assert through(exchange)


def eventually(check: Callable[[], bool]) -> bool:
    done = threading.Event()
    for _ in range(100):
        if check():
            return True
        done.wait(0.05)
    return False


# UDP


def udp(address: str, port: int = 0, *, family: int = socket.AF_INET) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind((address, port))
    sock.settimeout(5)
    return sock


@isolated
def test_udp_clients_each_get_their_own_answers() -> None:
    server = udp("127.0.0.1", 53)

    def exchange() -> list[bytes]:
        clients = [udp("127.0.0.1") for _ in range(3)]
        for number, client in enumerate(clients):
            client.sendto(b"%d" % number, ("127.0.0.1", 8080))
        for _ in clients:
            data, peer = server.recvfrom(100)
            server.sendto(data * 2, peer)
        return [client.recv(100) for client in clients]

    assert through(exchange, target=53, protocol="udp") == [b"00", b"11", b"22"]


@isolated
def test_a_udp_answer_comes_from_the_address_that_was_asked() -> None:
    server = udp("127.0.0.1", 53)

    def exchange() -> list[Any]:
        found = []
        for address in ("127.0.0.1", "127.0.0.99"):
            client = udp("127.0.0.1")
            client.connect((address, 8080))
            client.send(b"x" * 60000)
            data, peer = server.recvfrom(65535)
            server.sendto(data, peer)
            found.append(len(client.recv(65535)))
        return found

    assert through(exchange, target=53, protocol="udp", host_ip="0.0.0.0") == [60000, 60000]


@isolated
def test_udp_over_ipv6_reaches_the_container() -> None:
    server = udp("127.0.0.1", 53)

    def exchange() -> bytes:
        client = udp("::1", family=socket.AF_INET6)
        client.sendto(b"six", ("::1", 8080))
        data, peer = server.recvfrom(100)
        server.sendto(data, peer)
        return client.recv(100)

    assert through(exchange, target=53, protocol="udp", host_ip="::") == b"six"


@isolated
def test_an_idle_association_ends_and_a_new_one_begins() -> None:
    server = udp("127.0.0.1", 53)

    def exchange() -> bool:
        before = len(os.listdir("/proc/self/fd"))
        client = udp("127.0.0.1")
        client.sendto(b"a", ("127.0.0.1", 8080))
        _, first = server.recvfrom(100)
        assert eventually(lambda: len(os.listdir("/proc/self/fd")) == before + 1)
        client.sendto(b"b", ("127.0.0.1", 8080))
        data, second = server.recvfrom(100)
        server.sendto(b"c", second)
        return (data, client.recv(100)) == (b"b", b"c") and first[0] == second[0]

    assert through(exchange, target=53, protocol="udp", udp_idle=0.1)


@isolated
def test_a_udp_port_nobody_listens_on_yet_works_once_somebody_does() -> None:
    def exchange() -> bytes:
        client = udp("127.0.0.1")
        for _ in range(3):
            client.sendto(b"lost", ("127.0.0.1", 8080))
        server = udp("127.0.0.1", 53)
        client.sendto(b"found", ("127.0.0.1", 8080))
        while (data := server.recv(100)) == b"lost":
            continue
        return data

    assert through(exchange, target=53, protocol="udp") == b"found"
