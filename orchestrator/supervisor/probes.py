"""Probes: runs the healthcheck of one container while it runs.

When a probe is due and what a result means is decided by `health.py`; here it is executed through
the keeper, timed, and noted in the status.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import anyio

from orchestrator.runtime.launch import exec_request
from orchestrator.supervisor import health
from orchestrator.supervisor.link import KeeperLost

if TYPE_CHECKING:
    from orchestrator.runtime.spec import Healthcheck
    from orchestrator.supervisor.lanes import Lane
    from orchestrator.supervisor.link import Conversation

KEPT = 5
OUTPUT_LIMIT = 4096
_KILL_PATIENCE = 2.0
_NOTHING: dict[str, Any] = {}


async def watch(lane: Lane) -> None:
    """Probe until cancelled."""
    spec, status = lane.spec.healthcheck, lane.status
    assert spec is not None
    check = health.Check(
        interval=max(spec.interval, 0.001), retries=spec.retries,
        start_period=spec.start_period, start_interval=spec.start_interval,
    )  # fmt: skip
    now = time.monotonic()
    started = now - max(time.time() - status.started_at, 0.0)
    state = health.resume(check, status.health, status.failing_streak, started=started, now=now)
    while True:
        await anyio.sleep(max(state.due - time.monotonic(), 0.0))
        began, began_at = time.monotonic(), time.time()
        result = await probe(lane, spec)
        if result is None:
            state = health.postponed(state, now=time.monotonic())
            continue
        code, output = result
        state = health.after_probe(
            state, check, began=began, ended=time.monotonic(), passed=code == 0
        )
        note(lane, state, {"start": began_at, "end": time.time(), "exit_code": code,
                           "output": output})  # fmt: skip


def note(lane: Lane, state: health.Health, entry: dict[str, Any]) -> None:
    """Write the probe down; tell everybody if the health is another now."""
    status = lane.status
    probes = [*status.probes, entry][-KEPT:]
    healthy_at = status.healthy_at or (entry["end"] if state.status == "healthy" else 0.0)
    lane.update(health=state.status, failing_streak=state.streak, probes=probes,
                first_probe_at=status.first_probe_at or entry["end"], healthy_at=healthy_at)
    if status.health != state.status:
        lane.publish("health_status")


async def probe(lane: Lane, spec: Healthcheck) -> tuple[int, str] | None:
    """Exit code and output; None where the keeper was lost, which says nothing of the container."""
    link = lane.project.link
    await link.wait_adopted()
    exec_id = link.new_key("probe")
    request = exec_request(
        lane.spec, lane.status.pid, exec_id=exec_id, hierarchy=lane.project.hierarchy,
        argv=_argv(spec.test), environment={}, user="", cwd="",
        tty=False, privileged=False, capture=True,
    )  # fmt: skip
    conversation = link.open(exec_id)
    try:
        link.send(request)
        return await _result(conversation, spec.timeout)
    except KeeperLost:
        await link.wait_connected()
        return None
    finally:
        link.close(exec_id)


def _argv(test: tuple[str, ...]) -> tuple[str, ...]:
    if test[0] == "CMD-SHELL":
        return ("/bin/sh", "-c", *test[1:])
    return test[1:] if test[0] == "CMD" else test


async def _result(conversation: Conversation, timeout: float) -> tuple[int, str]:
    pid, message = 0, _NOTHING
    with anyio.move_on_after(timeout if timeout > 0 else None) as scope:
        message, _ = await conversation.next()
        if message.get("event") == "exec_failed":
            return 126, str(message.get("message"))[:OUTPUT_LIMIT]
        pid = int(message.get("pid") or 0)
        try:
            message, _ = await conversation.next()
        except anyio.get_cancelled_exc_class():
            if not scope.cancel_called:  # the container has ended, not the time
                kill(pid)
            raise
        return _code(message), str(message.get("output") or "")[:OUTPUT_LIMIT]
    output = await _killed(conversation, pid, message)
    return -1, f"Health check exceeded timeout ({timeout:g}s)\n{output}".rstrip()


async def _killed(conversation: Conversation, pid: int, message: dict[str, Any]) -> str:
    """End a probe that `message` was the last word of; what it has said until then."""
    kill(pid)
    with anyio.move_on_after(_KILL_PATIENCE):
        while message.get("event") not in ("exec_exited", "exec_failed"):
            message, _ = await conversation.next()
            if message.get("event") == "exec_started":  # the time was over before it began
                kill(int(message["pid"]))
    return str(message.get("output") or "")[:OUTPUT_LIMIT]


def _code(message: dict[str, Any]) -> int:
    code = message.get("exit_code")
    return code if isinstance(code, int) else -1


def kill(pid: int) -> None:
    """End a probe and what it has started: exec gave it a session of its own."""
    if pid <= 0:
        return
    for action in (os.killpg, os.kill):
        try:
            action(pid, 9)
        except (ProcessLookupError, PermissionError):
            continue
