"""Published ports: who gets them, and what is said of those who hold them."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import anyio
import pytest

from orchestrator.errors import NetworkError, PortInUseError
from orchestrator.network.ports import Publisher
from tests.network.namespaces import isolated

pytestmark = pytest.mark.kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    target: int = 80
    protocol: Literal["tcp", "udp"] = "tcp"
    host_ip: str = "127.0.0.1"
    first: int = 8080
    last: int = 8080
    or_another: bool = False
    origin: str = "compose.yaml:7"


def publisher() -> Publisher:
    return Publisher(container="p-web-1")


@isolated
def test_a_port_is_bound_and_listens() -> None:
    mine = publisher()
    (bound,) = mine.bind(Port())
    assert bound.to_json() == {
        "host_ip": "127.0.0.1", "published": 8080, "target": 80, "protocol": "tcp",
    }  # fmt: skip
    socket.create_connection(("127.0.0.1", 8080), timeout=5).close()
    mine.close()
    mine.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 8080), timeout=5)


@isolated
def test_no_address_means_every_address_of_both_families() -> None:
    mine = publisher()
    assert [b.host_ip for b in mine.bind(Port(host_ip=""))] == ["0.0.0.0", "::"]
    both = mine.bind(Port(host_ip="", first=0, last=0, protocol="udp"))
    assert len({b.published for b in both}) == 1
    assert both[0].published > 0
    assert len(mine.sockets) == 4


@isolated
def test_without_ipv6_the_other_family_is_enough() -> None:
    Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
    assert [b.host_ip for b in publisher().bind(Port(host_ip="")) if b.host_ip != "::"] == [
        "0.0.0.0"
    ]


@isolated
def test_a_taken_port_names_the_process_and_the_line() -> None:
    holder = socket.create_server(("127.0.0.1", 8080))
    with pytest.raises(PortInUseError) as caught:
        publisher().bind(Port(host_ip="0.0.0.0"))
    what, _, why = str(caught.value).partition(": ")
    assert what == "cannot publish 0.0.0.0:8080/tcp for p-web-1"
    assert why.startswith(f"the port is held by pid {os.getpid()} ({sys.orig_argv[0]}")
    assert why.endswith(") (compose.yaml:7)")
    assert caught.value.hint == "end that process, or publish another port"
    holder.close()


@isolated
def test_a_port_taken_in_one_family_is_bound_in_neither() -> None:
    holder = socket.create_server(("::", 8080), family=socket.AF_INET6)
    mine = publisher()
    with pytest.raises(PortInUseError, match=rf"0\.0\.0\.0:8080/tcp .* by pid {os.getpid()}"):
        mine.bind(Port(host_ip=""))
    assert mine.bound == []
    holder.close()
    assert len(mine.bind(Port(host_ip=""))) == 2


@isolated
def test_a_taken_udp_port_is_found_too() -> None:
    holder = socket.socket(type=socket.SOCK_DGRAM)
    holder.bind(("0.0.0.0", 8080))
    with pytest.raises(PortInUseError, match=rf"8080/udp .* by pid {os.getpid()}"):
        publisher().bind(Port(protocol="udp"))
    holder.close()


@isolated
def test_the_first_free_port_of_a_range_is_taken() -> None:
    mine, other = publisher(), publisher()
    wish = Port(first=8000, last=8002)
    assert [mine.bind(wish)[0].published for _ in range(2)] == [8000, 8001]
    other.bind(wish)
    with pytest.raises(PortInUseError, match="8000-8002/tcp for p-web-1: every port"):
        other.bind(wish)


@isolated
def test_an_address_that_is_not_ours_is_said_to_be_so() -> None:
    with pytest.raises(NetworkError, match=r"this machine has no address 192\.0\.2\.77"):
        publisher().bind(Port(host_ip="192.0.2.77"))


@isolated
def test_sockets_are_taken_back_after_a_restart() -> None:
    before, after = publisher(), publisher()
    bound = before.bind(Port()) + before.bind(Port(protocol="udp", target=53, first=0, last=0))
    stranger = socket.create_server(("127.0.0.1", 0))
    copies = [sock.dup() for sock in before.sockets]
    before.close()
    after.adopt([stranger, *reversed(copies)], [b.to_json() for b in bound])
    assert [b.to_json() for b in after.bound] == [b.to_json() for b in reversed(bound)]
    assert stranger.fileno() == -1
    assert not any(sock.getblocking() for sock in after.sockets)
    with pytest.raises(PortInUseError):
        before.bind(Port())


@isolated
def test_a_closed_port_is_free_at_once_and_its_waiter_disturbs_nobody() -> None:
    anyio.run(close_and_wait_again)


async def close_and_wait_again() -> None:
    mine = publisher()
    mine.bind(Port())
    ended: list[type[BaseException]] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve, mine, ended)
        await anyio.wait_all_tasks_blocked()
        for _ in range(3):
            mine.close()
            again = publisher().bind(Port())[0].socket
            socket.create_connection(("127.0.0.1", 8080)).close()
            with anyio.fail_after(5):
                await anyio.wait_readable(again)
            again.close()
    assert ended == [anyio.ClosedResourceError]


async def serve(mine: Publisher, ended: list[type[BaseException]]) -> None:
    try:
        await mine.serve("127.0.0.1")
    except ExceptionGroup as group:
        ended += [type(exc) for exc in group.exceptions]


@isolated
def test_a_taken_port_may_give_way_to_another() -> None:
    with socket.create_server(("127.0.0.1", 8080)):
        publisher = Publisher(container="web")
        port = Port(target=80, host_ip="127.0.0.1", first=8080, last=8080, or_another=True)
        [bound] = publisher.bind(port)
        assert bound.published not in (0, 8080)
        publisher.close()
