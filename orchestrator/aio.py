"""The facade to await, on asyncio and trio alike.

    from orchestrator import AsyncProject, Project

    stack = AsyncProject(Project(files="compose.yaml"))
    await stack.up(wait=True)
    async with aclosing(stack.events()) as events:
        async for event in events:
            print(event.name, event.action)

Each call works in a thread of its own.  A cancelled call is ended there too, and waited for: `up`
lets what has begun be finished and begins nothing more, `exec` kills its command.
"""

from __future__ import annotations

from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from orchestrator.live import LiveProject

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

    from anyio import CapacityLimiter

    from orchestrator.spec import model

P = ParamSpec("P")
R = TypeVar("R")


async def call(function: Callable[[], R], *, limiter: CapacityLimiter | None = None) -> R:
    """`function` in a thread, ended when we are cancelled."""
    from anyio import CancelScope, CapacityLimiter, create_task_group, sleep_forever, to_thread
    from anyio.lowlevel import checkpoint

    from orchestrator.engine.interruption import Interrupt, Interrupted, ended_by

    interrupt = Interrupt()
    results: list[R] = []
    failures: list[Exception] = []

    def work() -> None:
        with ended_by(interrupt):
            try:
                results.append(function())
            except Interrupted:
                pass
            except Exception as error:  # goes on below: a task group would wrap it
                failures.append(error)

    async def end_it_when_cancelled() -> None:
        try:
            await sleep_forever()
        finally:
            interrupt.set()

    try:
        async with create_task_group() as group:
            group.start_soon(end_it_when_cancelled)
            with CancelScope(shield=True):
                # of its own: one that follows logs must not take a place from another call
                await to_thread.run_sync(work, limiter=limiter or CapacityLimiter(1))
            group.cancel_scope.cancel()
    finally:
        interrupt.close()
    if not results and not failures:
        await checkpoint()  # we are cancelled
    if failures:
        raise failures[0]
    return results[0]


def _awaited(
    method: Callable[Concatenate[LiveProject, P], R],
) -> Callable[Concatenate[AsyncProject, P], Awaitable[R]]:
    async def awaited(self: AsyncProject, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await call(partial(method, self.project, *args, **kwargs))

    update_wrapper(awaited, method)
    return awaited


def _streamed(
    method: Callable[Concatenate[LiveProject, P], Iterator[R]],
) -> Callable[Concatenate[AsyncProject, P], AsyncGenerator[R, None]]:
    async def streamed(
        self: AsyncProject, /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncGenerator[R, None]:
        iterator = await call(partial(method, self.project, *args, **kwargs))
        try:
            while True:
                found = await call(partial(_next, iterator))
                if not found:
                    return
                yield found[0]
        finally:
            close = getattr(iterator, "close", None)  # of a generator: its descriptors
            if close is not None:
                close()

    update_wrapper(streamed, method)
    return streamed


def _next(iterator: Iterator[R]) -> list[R]:
    """The next one; empty at the end, which no future may raise."""
    for item in iterator:
        return [item]
    return []


class AsyncProject:
    """A project whose methods are those of `Project`, awaited; streams are `async for`."""

    def __init__(self, project: LiveProject) -> None:
        self.project = project
        """The same to call."""

    @property
    def name(self) -> str:
        """As `Project.name`."""
        return self.project.name

    async def load(self) -> model.Project:
        """Read and check the files; SpecError with file:line:col."""
        return await call(lambda: self.project.model)

    observe = _awaited(LiveProject.observe)
    plan = _awaited(LiveProject.plan)
    build = _awaited(LiveProject.build)
    up = _awaited(LiveProject.up)
    down = _awaited(LiveProject.down)
    start = _awaited(LiveProject.start)
    stop = _awaited(LiveProject.stop)
    restart = _awaited(LiveProject.restart)
    kill = _awaited(LiveProject.kill)
    pause = _awaited(LiveProject.pause)
    unpause = _awaited(LiveProject.unpause)
    rm = _awaited(LiveProject.rm)
    ps = _awaited(LiveProject.ps)
    images = _awaited(LiveProject.images)
    volumes = _awaited(LiveProject.volumes)
    processes = _awaited(LiveProject.processes)
    exec = _awaited(LiveProject.capture)
    run = _awaited(LiveProject.capture_run)
    address = _awaited(LiveProject.address)
    host_port = _awaited(LiveProject.host_port)
    wait_for = _awaited(LiveProject.wait_for)
    logs = _streamed(LiveProject.logs)
    follow = _streamed(LiveProject.follow)
    events = _streamed(LiveProject.events)
    wait = _streamed(LiveProject.wait)
