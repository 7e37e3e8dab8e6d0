"""A Stack to await: the same methods, each in a thread, on asyncio and trio alike."""

from __future__ import annotations

from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from orchestrator.testing.faults import Faults
from orchestrator.testing.stack import Stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

P = ParamSpec("P")
R = TypeVar("R")


async def in_thread(function: Callable[[], R], *, abandon: bool) -> R:
    """Run it beside the event loop; with `abandon` a cancelled caller does not wait for it."""
    from anyio import to_thread

    return await to_thread.run_sync(function, abandon_on_cancel=abandon)


def _awaited(
    method: Callable[Concatenate[Stack, P], R], *, abandon: bool = False
) -> Callable[Concatenate[AsyncStack, P], Awaitable[R]]:
    async def call(self: AsyncStack, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await in_thread(partial(method, self.stack, *args, **kwargs), abandon=abandon)

    update_wrapper(call, method)
    return call


def _mended(
    fault: Callable[Concatenate[Faults, P], AbstractContextManager[None]],
) -> Callable[Concatenate[AsyncFaults, P], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def around(
        self: AsyncFaults, /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncIterator[None]:
        from anyio import CancelScope

        inner = fault(self.faults, *args, **kwargs)
        await in_thread(inner.__enter__, abandon=False)
        try:
            yield
        finally:
            with CancelScope(shield=True):  # mended whatever happens
                await in_thread(partial(inner.__exit__, None, None, None), abandon=False)

    update_wrapper(around, fault)
    return around


class AsyncStack:
    """The stack, to await."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.name = stack.name
        self.fault = AsyncFaults(stack.fault)

    address = _awaited(Stack.address)
    host_port = _awaited(Stack.host_port)
    url = _awaited(Stack.url)
    exec = _awaited(Stack.exec, abandon=True)
    logs = _awaited(Stack.logs, abandon=True)
    wait_for = _awaited(Stack.wait_for, abandon=True)
    states = _awaited(Stack.states)
    up = _awaited(Stack.up)
    restart = _awaited(Stack.restart)
    stop = _awaited(Stack.stop)
    start = _awaited(Stack.start)
    kill = _awaited(Stack.kill)
    pause = _awaited(Stack.pause)
    unpause = _awaited(Stack.unpause)
    snapshot = _awaited(Stack.snapshot)
    restore = _awaited(Stack.restore)
    reset = _awaited(Stack.reset)


class AsyncFaults:
    """The faults, as async context managers."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults

    partition = _mended(Faults.partition)
    loss = _mended(Faults.loss)
    rate = _mended(Faults.rate)
    latency = _mended(Faults.latency)
    pause = _mended(Faults.pause)
    kill = _mended(Faults.kill)
    stop = _mended(Faults.stop)
