"""The control server over a real socket, with methods that only answer."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio import to_thread
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import InternalError, PcomposeError, SupervisorError
from orchestrator.events import StateChanged, Warned
from orchestrator.linux.fds import Channel
from orchestrator.supervisor import protocol
from orchestrator.supervisor.client import ControlClient
from orchestrator.supervisor.control import Request, Server
from orchestrator.supervisor.hub import Hub
from orchestrator.supervisor.outbox import Outbox

Method = Callable[[Request], Awaitable[dict[str, Any]]]


async def echo(request: Request) -> dict[str, Any]:
    """Its parameters, an event and the descriptors it got."""
    request.emit(Warned(message="careful"))
    return {"params": request.params, "fds": len(request.fds)}


async def broken(request: Request) -> dict[str, Any]:
    raise ZeroDivisionError("oh")


async def forever(request: Request) -> dict[str, Any]:
    gone = anyio.Event()
    request.when_gone(gone.set)
    await gone.wait()
    return {}


@asynccontextmanager
async def serving(**methods: Method) -> AsyncIterator[tuple[Server, str]]:
    """A server at a path of the abstract name space; ended afterwards."""
    all_left = anyio.Event()

    def done() -> bool:
        if not server.clients:
            all_left.set()
        return False

    listener = socket.socket(socket.AF_UNIX)
    listener.bind("")
    listener.listen()
    server = Server(listener, methods={"echo": echo, "broken": broken, "forever": forever,
                                       **methods}, done=done)  # fmt: skip
    async with anyio.create_task_group() as group:
        group.start_soon(server.serve, group)
        yield server, listener.getsockname()
        server.close()
        with anyio.fail_after(5):
            await all_left.wait()  # each ends when it reads the end of its connection
        group.cancel_scope.cancel()


def connect(address: str) -> ControlClient:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(address)
    channel = Channel(sock)
    assert channel.receive() == ({"hello": protocol.VERSION}, [])
    return ControlClient(channel)


def ask(address: str, message: dict[str, Any], *, fds: list[int] | None = None) -> Any:
    """The result of one request, with its events."""
    client = connect(address)
    events: list[Any] = []
    try:
        client.send(message, fds=fds or [])
        return client.result(events.append), events
    except PcomposeError as exc:  # a value: it leaves task groups as it is
        return exc, events
    finally:
        client.close()


def run(message: dict[str, Any], *, fds: list[int] | None = None) -> Any:
    async def main() -> Any:
        async with serving() as (_, address):
            return await to_thread.run_sync(lambda: ask(address, message, fds=fds))

    return anyio.run(main)


def test_a_request_gets_events_and_a_result() -> None:
    result, events = run({"v": 1, "method": "echo", "x": 1}, fds=[0])
    assert result == {"params": {"x": 1}, "fds": 1}
    assert events == [Warned(message="careful")]


def test_descriptors_of_a_request_are_closed_at_its_end() -> None:
    read_end, write_end = os.pipe()

    async def main() -> None:
        async with serving() as (server, address):
            message = {"v": 1, "method": "echo"}
            await to_thread.run_sync(lambda: ask(address, message, fds=[write_end]))
            os.close(write_end)
            with anyio.fail_after(5):
                await anyio.wait_readable(read_end)  # the end: nobody has the other end open
            assert server.clients == 0

    anyio.run(main)
    assert os.read(read_end, 1) == b""
    os.close(read_end)


@pytest.mark.parametrize(
    "message",
    [{}, {"method": "echo"}, {"v": 2, "method": "echo"}, {"v": 1}, {"v": 1, "method": "no"},
     {"v": 1, "method": ["echo"]}, {"v": "1", "method": "echo"}],
)  # fmt: skip
def test_a_request_of_another_kind_is_refused(message: dict[str, Any]) -> None:
    error, _ = run(message)
    assert isinstance(error, SupervisorError)
    assert re.search("bad request|protocol", error.message)


def test_a_fault_of_a_method_is_answered_and_the_server_goes_on() -> None:
    async def main() -> None:
        async with serving() as (_, address):
            for _ in range(2):
                error, _ = await to_thread.run_sync(ask, address, {"v": 1, "method": "broken"})
                assert isinstance(error, InternalError)
                assert "ZeroDivisionError: oh" in error.message

    anyio.run(main)


def test_clients_are_served_beside_each_other() -> None:
    async def main() -> None:
        async with serving() as (server, address):
            waiting = await to_thread.run_sync(lambda: connect(address))
            waiting.request("forever")
            await to_thread.run_sync(lambda: ask(address, {"v": 1, "method": "echo"}))
            assert server.clients >= 1
            waiting.close()

    anyio.run(main)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(junk=st.one_of(
    st.binary(min_size=1, max_size=200),
    st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5)).map(
        lambda data: json.dumps(data).encode() + b"\n"),
    st.integers(1, 300).map(lambda depth: b"[" * depth + b"\n"),
))  # fmt: skip
def test_junk_never_harms_the_next_client(junk: bytes) -> None:
    def hostile(address: str) -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(address)
            sock.sendall(junk)

    async def main() -> None:
        async with serving() as (_, address):
            await to_thread.run_sync(hostile, address)
            result, _ = await to_thread.run_sync(
                lambda: ask(address, {"v": 1, "method": "echo"}))
            assert result["params"] == {}

    anyio.run(main)


def test_a_watcher_that_does_not_read_is_dropped_and_nobody_waits_for_it() -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        outbox = Outbox(ours, limit=100_000)
        hub = Hub("/nowhere/events.jsonl")
        hub.add(outbox)
        event = StateChanged(action="start", container="c" * 64, name="n", service="s", index=1)
        for _ in range(10_000):
            hub.publish(event)
        assert outbox.is_broken
        ours.close()
        theirs.close()

    anyio.run(main)


def test_what_the_socket_does_not_take_at_once_arrives_later_with_its_descriptors() -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        outbox, channel = Outbox(ours), Channel(theirs)
        sent = [{"n": n, "text": "x" * 5000} for n in range(200)]
        for message in sent:
            outbox.send(message, [0])
        received: list[Any] = []

        def read() -> None:
            while len(received) < len(sent):
                found = channel.receive()
                assert found is not None
                message, fds = found
                assert len(fds) == 1
                os.close(fds[0])
                received.append(message)

        async with anyio.create_task_group() as group:
            group.start_soon(outbox.keep_flushing)
            await to_thread.run_sync(read)
            group.cancel_scope.cancel()
        assert received == sent
        outbox.close()
        ours.close()
        channel.close()

    anyio.run(main)



@given(number=st.integers(), after=st.lists(st.integers(), max_size=3).map(tuple),
       timeout=st.none() | st.floats(0, 100))  # fmt: skip
def test_a_job_survives_its_way_through_json(
    number: int, after: tuple[int, ...], timeout: float | None
) -> None:
    job = protocol.WaitFor(number=number, after=after, containers=("a", "b"), condition="ready",
                           service="s", dependent="", timeout=timeout)  # fmt: skip
    data = json.loads(json.dumps(protocol.job_to_json(job)))
    assert protocol.job_from_json(data) == job
