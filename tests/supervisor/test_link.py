"""The link to a keeper that talks a lot, and to one that does not listen yet."""

from __future__ import annotations

import socket
from threading import Thread
from typing import Any

import anyio

from orchestrator.linux.fds import Channel
from orchestrator.supervisor.link import Link

MESSAGES = 400
BULK = "x" * 20_000


def keeper(theirs: socket.socket, heard: list[dict[str, Any]]) -> None:
    """Writes everything before it reads anything, as one does that is busy starting."""
    channel = Channel(theirs)
    for number in range(MESSAGES):
        channel.send({"event": "cloned", "id": str(number), "bulk": BULK})
    for _ in range(MESSAGES):
        received = channel.receive()
        assert received is not None
        heard.append(received[0])
    channel.send({"event": "done", "id": "done"})


async def talk(ours: socket.socket) -> None:
    async def connected() -> None:
        return None

    link = Link(connect=lambda: Channel(ours), exited=lambda message: None, connected=connected)
    link.connect()
    async with anyio.create_task_group() as group:
        group.start_soon(link.run, group)
        done = link.open("done")
        last = link.open(str(MESSAGES - 1))
        for number in range(MESSAGES):
            link.send({"op": "launch", "id": str(number), "bulk": BULK})
        with anyio.fail_after(60):
            await last.next()
            await done.next()
        group.cancel_scope.cancel()


def test_both_ends_may_send_more_than_the_socket_takes_at_once() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    heard: list[dict[str, Any]] = []
    thread = Thread(target=keeper, args=(theirs, heard), daemon=True)
    thread.start()
    with ours, theirs:
        anyio.run(talk, ours)
        thread.join(60)
    assert [message["id"] for message in heard] == [str(n) for n in range(MESSAGES)]
