"""Outbox: `linux.outbox` for a supervisor, with tasks that write on when there is room again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from orchestrator.linux import outbox

if TYPE_CHECKING:
    import _socket
    from collections.abc import Sequence

LIMIT = 4 << 20


class Outbox(outbox.Outbox):
    """Messages to one client or to the keeper."""

    def __init__(self, sock: _socket.socket, *, limit: int = LIMIT) -> None:
        super().__init__(sock, limit=limit)
        self._changed = anyio.Event()

    def send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        super().send(message, fds)
        self._changed.set()

    async def flush(self) -> None:
        """Until everything has been taken, or the client is gone."""
        while not (self.is_empty or self.is_broken):
            await anyio.wait_writable(self._sock)
            self.push()

    async def keep_flushing(self) -> None:
        """Write on when the socket has room again; runs until cancelled or the client is gone."""
        while not self.is_broken:
            self._changed = anyio.Event()
            await self.flush()
            if not self.is_broken:
                await self._changed.wait()

    def close(self) -> None:
        super().close()
        self._changed.set()
