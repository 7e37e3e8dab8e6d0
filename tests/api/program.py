"""Programs as a user writes them, each run in a sandbox of its own beside a compose.yaml."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

import anyio
import pytest

import orchestrator
from orchestrator import AsyncProject, DownPolicy, PcomposeError, Project, UpPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.events import Event


def a_life() -> None:
    told: list[Event] = []
    project = Project(files="compose.yaml").load()
    assert list(project.model.services) == ["db", "web"]
    wanted = UpPolicy(services=("web",))
    assert "CreateContainer" in str(project.plan(wanted))
    project.up(wanted, wait=True, sink=told.append)
    assert told
    assert not project.plan(wanted)
    assert [c.record.service for c in project.ps()] == ["db", "web"]
    project.wait_for("web", log="here")
    assert [line.text for line in project.logs(["web"])] == ["here"]
    done = project.capture("web", ["sh", "-c", "cat; exit 4"], stdin=b"word")
    assert (done.exit_code, done.stdout) == (4, b"word")
    ran = project.capture_run("job", ["sh", "-c", "cat; echo err >&2; exit 3"], stdin=b"in")
    assert (ran.exit_code, ran.stdout, ran.stderr) == (3, b"in", b"err\n")
    assert [c.record.service for c in project.ps(all=True)] == ["db", "web"]
    project.stop(["web"])
    assert [c.record.service for c in project.ps()] == ["db"]
    past = [e.action for e in project.events(["web"], since=0, until=time.time())]
    assert past[:2] == ["create", "start"]
    assert past[-1] == "stop"
    assert project.down(DownPolicy(volumes=True, timeout=0))
    assert not project.down()


def errors_are_of_the_one_tree() -> None:
    with open("broken.yaml", "w") as file:
        file.write("services:\n  web:\n    imagee: a\n")
    with pytest.raises(PcomposeError, match=r"broken\.yaml:3:5"):
        Project(files=["broken.yaml"]).load()
    assert not hasattr(orchestrator, "nothing")


async def the_same_to_await() -> None:
    project = AsyncProject(Project())
    assert list((await project.load()).services) == ["db", "web"]
    actions: list[tuple[str, str]] = []
    begun = anyio.Event()

    async def listen() -> None:
        async with aclosing(project.events(since=0)) as events:
            async for event in events:
                actions.append((event.service, event.action))
                begun.set()

    async with anyio.create_task_group() as group:
        group.start_soon(listen)
        await project.up(UpPolicy(services=("web",)), wait=True)
        await begun.wait()
        group.cancel_scope.cancel()
    assert ("db", "create") in actions
    await project.wait_for("web", log="here")
    lines = [line.text async for line in project.logs(["web"])]
    assert lines == ["here"]
    done = await project.exec("web", ["echo", "hello"])
    assert done.stdout == b"hello\n"
    assert (await project.run("job", ["sh", "-c", "exit 7"])).exit_code == 7
    assert await project.down(DownPolicy(timeout=0))


async def cancelling_ends_what_waits() -> None:
    project = AsyncProject(Project())
    await project.up(UpPolicy(services=("web",)))
    waits: list[Callable[[], object]] = [
        lambda: project.exec("web", ["sleep", "1000"]),
        lambda: project.wait_for("web", log="never said", timeout=1000),
        lambda: project.follow(["web"], tail=0).__anext__(),
        lambda: project.events().__anext__(),
        lambda: project.wait(["web"]).__anext__(),
    ]
    for wait in waits:
        begun = time.monotonic()
        with anyio.move_on_after(0.3) as scope:
            await wait()  # type: ignore[misc]  # each is awaitable
        assert scope.cancelled_caught
        assert time.monotonic() - begun < 60
    table = await project.exec("web", ["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"])
    assert b"sleep 1000" not in table.stdout
    await project.down(DownPolicy(timeout=0))


async def a_cancelled_up_begins_nothing_more() -> None:
    """`after` waits for what never becomes healthy: cancelled, it is never started."""
    await anyio.Path("stuck.yaml").write_text("""
services:
  sick:
    image: pcompose/host
    command: sleep infinity
    healthcheck: {test: [CMD, 'false'], interval: 1h, start_period: 1h}
  after:
    image: pcompose/host
    command: sleep infinity
    depends_on: {sick: {condition: service_healthy}}
""")
    project = AsyncProject(Project(files="stuck.yaml"))
    waiting = anyio.Event()
    failures: list[BaseException] = []

    def hear(event: Event) -> None:
        if "Waiting" in str(event):
            anyio.from_thread.run_sync(waiting.set)

    async def bring_up() -> None:
        await project.up(sink=hear)
        failures.append(AssertionError("up has ended by itself"))

    async with anyio.create_task_group() as group:
        group.start_soon(bring_up)
        await waiting.wait()
        group.cancel_scope.cancel()
    assert not failures
    states = {c.record.service: c.status.state for c in await project.ps(all=True)}
    assert states == {"sick": "running", "after": "created"}
    assert await project.down(DownPolicy(timeout=0))


def two_threads_at_once() -> None:
    """Two projects, each in a thread: run takes no signals there."""
    failures: list[BaseException] = []

    def life(name: str) -> None:
        try:
            project = Project(name=name)
            ran = project.capture_run("job", ["sh", "-c", f"echo {name}"])
            assert ran.stdout == f"{name}\n".encode()
            project.down(DownPolicy(timeout=0))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=life, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


def main(name: str) -> None:
    """Run one of them, the async ones on asyncio."""
    program = globals()[name]
    if asyncio.iscoroutinefunction(program):
        asyncio.run(program())
    else:
        program()
