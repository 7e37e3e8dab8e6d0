"""Link: the supervisor's end of the keeper's socket.

Sends requests, hands each answer to the conversation it belongs to, and when the keeper is gone
breaks all conversations off (KeeperLost) and connects to the next one.  Decides nothing about
containers: exits and new keepers are reported to functions given from outside.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Any

import anyio

from orchestrator.supervisor import faults
from orchestrator.supervisor.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from anyio.abc import TaskGroup

    from orchestrator.linux.fds import Channel

    Answer = tuple[dict[str, Any], list[int]]

_LIST = "list"
MOST = 256 << 20
"""Bytes that may wait for a keeper to take them: thousands of launches."""


class KeeperLost(Exception):
    """The keeper ended before it had answered; containers live on, the request may be lost."""


class Conversation:
    """The answers to one request, in order."""

    def __init__(self) -> None:
        self._answers: deque[Answer] = deque()
        self._arrived = anyio.Event()
        self._is_lost = False

    def put(self, message: dict[str, Any], descriptors: list[int]) -> None:
        self._answers.append((message, descriptors))
        self._arrived.set()

    def lose(self) -> None:
        self._is_lost = True
        self._arrived.set()

    async def next(self) -> Answer:
        """The next answer; its descriptors are the caller's.  KeeperLost."""
        while not self._answers:
            if self._is_lost:
                raise KeeperLost
            self._arrived = anyio.Event()
            await self._arrived.wait()
        return self._answers.popleft()

    def close(self) -> None:
        """Close descriptors nobody took."""
        for _, descriptors in self._answers:
            for fd in descriptors:
                os.close(fd)
        self._answers.clear()


class Link:
    """One keeper after the other."""

    def __init__(
        self, *, connect: Callable[[], Channel], exited: Callable[[dict[str, Any]], None],
        connected: Callable[[], Awaitable[None]],
    ) -> None:
        self._connect = connect
        self._exited = exited
        self._connected = connected
        self._channel: Channel | None = None
        self._outbox: Outbox | None = None
        """Sending never blocks: the keeper may wait for us to read what it sends meanwhile."""
        self._conversations: dict[str, Conversation] = {}
        self._ready = anyio.Event()
        self._ended = anyio.Event()
        self._adopted = anyio.Event()
        self._is_ending = False
        self._count = 0

    def connect(self) -> None:
        """Connect to the keeper, starting one if none answers.  Blocks for its start."""
        self._channel = self._connect()
        self._outbox = Outbox(self._channel.socket, limit=MOST)
        self._ready.set()

    async def wait_connected(self) -> None:
        """Until there is a keeper to talk to."""
        await self._ready.wait()

    async def wait_adopted(self) -> None:
        """Until the keeper has told what it keeps, `connected` has heard it, and the keeper knows
        the containers it did not start: before that it executes nothing in them."""
        await self._adopted.wait()

    def send(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send without an answer; KeeperLost."""
        if self._channel is None or self._outbox is None:
            raise KeeperLost
        self._outbox.send(message, descriptors)
        if self._outbox.is_broken:
            self._unready()  # its end is about to be read
            raise KeeperLost

    def tell(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send what a new keeper will be told anyway: its loss is no error."""
        try:
            self.send(message, descriptors)
        except KeeperLost:
            return

    def open(self, key: str) -> Conversation:
        """The conversation under the id or exec id `key`; end it with `close`."""
        conversation = Conversation()
        self._conversations[key] = conversation
        return conversation

    def close(self, key: str) -> None:
        conversation = self._conversations.pop(key, None)
        if conversation is not None:
            conversation.close()

    async def inventory(self) -> Answer:
        """What the keeper keeps: {"containers", "stored"} and the stored descriptors."""
        conversation = self.open(_LIST)
        try:
            self.send({"op": "list"})
            message, descriptors = await conversation.next()
            more = message
            while more.get("more"):  # descriptors that did not fit into one message
                more, others = await conversation.next()
                descriptors += others
            return message, descriptors
        finally:
            self.close(_LIST)

    def new_key(self, word: str) -> str:
        """A key for a conversation that no supervisor of this keeper has used."""
        self._count += 1
        return f"{word}-{os.getpid()}-{self._count}"

    async def run(self, group: TaskGroup) -> None:
        """Read until cancelled, or until the keeper has ended after `end`."""
        while True:
            group.start_soon(self._adopt)
            await self._serve()
            self._lose()
            if self._is_ending:
                self._ended.set()
                return
            faults.note("the keeper is gone")
            _reap()
            await self._reconnect()

    async def end(self) -> None:
        """Tell the keeper to end and wait until it has."""
        self._is_ending = True
        self.tell({"op": "exit"})
        await self._ended.wait()

    async def _serve(self) -> None:
        """Read and write until the keeper is gone."""
        assert self._outbox is not None
        async with anyio.create_task_group() as group:
            group.start_soon(self._outbox.keep_flushing)
            await self._read()
            group.cancel_scope.cancel()

    async def _read(self) -> None:
        assert self._channel is not None
        while True:
            await anyio.wait_readable(self._channel)
            try:
                found = self._channel.pending()
            except (EOFError, OSError, ValueError):
                return
            for message, descriptors in found:
                self._dispatch(message, descriptors)

    def _dispatch(self, message: dict[str, Any], descriptors: list[int]) -> None:
        event = message.get("event")
        is_list = event in ("list", "list_more")
        key = _LIST if is_list else message.get("exec_id") or message.get("id")
        conversation = self._conversations.get(str(key))
        if event == "exited" or (event == "failed" and conversation is None):
            self._exited(message)  # failed: a start nobody waits for any more was given up
        if conversation is not None:
            conversation.put(message, descriptors)
            return
        for fd in descriptors:
            os.close(fd)

    def _lose(self) -> None:
        assert self._channel is not None
        assert self._outbox is not None
        self._outbox.close()
        self._channel.close()
        self._channel = self._outbox = None
        self._adopted = anyio.Event()  # the next one keeps nothing until it has been told
        self._unready()
        for conversation in self._conversations.values():
            conversation.lose()

    def _unready(self) -> None:
        if self._ready.is_set():
            self._ready = anyio.Event()
        if self._adopted.is_set():
            self._adopted = anyio.Event()

    async def _reconnect(self) -> None:
        delay = 0.05
        while True:
            try:
                self.connect()
                break
            except Exception as exc:
                faults.report(exc, doing="connecting to the keeper")
                await anyio.sleep(delay)
                delay = min(delay * 2, 5.0)

    async def _adopt(self) -> None:
        """Beside reading, because it needs answers."""
        try:
            await self._connected()
        except KeeperLost:
            return  # the next keeper will be told
        except Exception as exc:
            faults.report(exc, doing="adopting the containers")
        self._adopted.set()


def _reap() -> None:
    """A keeper we have started is our child."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return
