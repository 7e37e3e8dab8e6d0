"""What commands do to a container that exists: start, kill, delete, pause, resume, update.

Each holds the container's lock and asks the kernel for the state first; where the operation does
not fit the state nothing is changed.
"""

from __future__ import annotations

import os

from orchestrator.linux import cgroupfs, fds, procfs
from orchestrator.runtime.oci import groups, hooks
from orchestrator.runtime.oci.faults import OciError, step_error, words_of
from orchestrator.runtime.oci.release import release
from orchestrator.runtime.process import Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from orchestrator.runtime.oci.containers import Container

    Warn = Callable[[str], None]

_PATIENCE = 10.0
_SIGKILL = 9


def _want(container: Container, *statuses: str, verb: str) -> str:
    status = container.status()
    if status not in statuses:
        raise OciError(f"cannot {verb} container {container.id}: it is {status}")
    return status


def start(container: Container, *, warn: Warn) -> None:
    """Let the first process become its command, and wait until it has; OciError if it could not.
    A poststart hook that fails ends the container."""
    _want(container, "created", verb="start")
    config = container.config()
    try:
        channel = fds.Channel(fds.connect(container.start_socket))
        channel.send({"op": "start"})
        failure = channel.receive()
        channel.close()
    except OSError as exc:
        raise OciError(f"cannot start container {container.id}: {words_of(exc)}") from exc
    if failure is not None or not procfs.has_executed(container.pid):
        message = {"step": "exec", "message": "the first process died"} if failure is None else (
            _in_words(failure[0], config))
        if config.get("process") is not None:  # else it goes on waiting
            kill_all(container)
        raise step_error(f"cannot start container {container.id}", message)
    os.unlink(container.start_socket)
    try:
        hooks.run_all(config.get("hooks", {}).get("poststart", []),
                      container.state(status="running"), kind="poststart")
    except OciError:
        delete(container, force=True, warn=warn)
        raise


def _in_words(message: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """runtime/init only knows a number."""
    if "step" in message:
        return message
    name = config["process"]["args"][0]
    return {"step": f"exec {name}", "message": os.strerror(message["errno"]), **message}


def kill(container: Container, signal: int, *, everybody: bool) -> None:
    """A signal to the first process, or to all of the container's."""
    if everybody and container.status() == "stopped":
        _signal_group(container, signal)
        return
    _want(container, "created", "running", "paused", verb="kill")
    if everybody:
        _signal_group(container, signal)
        return
    process = Process.adopt(container.pid, container.record["start_time"])
    if process is None or not process.signal(signal):
        raise OciError(f"cannot kill container {container.id}: it is stopped")
    process.close()
    if signal == _SIGKILL and cgroupfs.is_frozen(container.groups):
        _thaw(container)


def _signal_group(container: Container, signal: int) -> None:
    if signal == _SIGKILL:
        cgroupfs.kill(container.groups)
        return
    for pid in cgroupfs.processes(container.groups):
        try:
            os.kill(pid, signal)
        except ProcessLookupError:
            continue


def kill_all(container: Container) -> None:
    """End all of its processes and wait until they are gone."""
    process = Process.adopt(container.pid, container.record["start_time"])
    cgroupfs.kill(container.groups)
    if process is not None:
        process.signal(_SIGKILL)
        _wait(process)
        process.close()


def _wait(process: Process) -> None:
    import select

    poll = select.poll()
    poll.register(process.pidfd, select.POLLIN)
    if not poll.poll(_PATIENCE * 1000):
        raise OciError(f"process {process.pid} does not end")


def delete(container: Container, *, force: bool, warn: Warn) -> None:
    """Release all it has, and run its poststop hooks.  Without `force` it must be stopped."""
    if not force:
        _want(container, "stopped", verb="delete")
    kill_all(container)
    config = container.config() if container.record["is_complete"] else {}
    state = container.state(status="stopped")
    release(container, warn=warn)
    hooks.run_each(config.get("hooks", {}).get("poststop", []), state, kind="poststop", warn=warn)


def pause(container: Container) -> None:
    """Freeze all of its processes."""
    _want(container, "running", "created", verb="pause")
    try:
        cgroupfs.freeze(container.groups, timeout=_PATIENCE)
    except OSError as exc:
        cgroupfs.thaw(container.groups)
        raise OciError(f"cannot pause container {container.id}: {words_of(exc)}") from exc


def resume(container: Container) -> None:
    """Let them go on."""
    _want(container, "paused", verb="resume")
    _thaw(container)


def _thaw(container: Container) -> None:
    try:
        cgroupfs.thaw(container.groups, timeout=_PATIENCE)
    except OSError as exc:
        raise OciError(f"cannot resume container {container.id}: {words_of(exc)}") from exc


def update(container: Container, resources: dict[str, Any], *, warn: Warn) -> None:
    """Write other limits; what is not named stays."""
    _want(container, "created", "running", "paused", verb="update")
    groups.limit(container.groups, resources, warn=warn)
    if "devices" in resources:
        groups.allow_devices(container.groups, resources)


def processes(container: Container) -> list[int]:
    """The pids of all of its processes, as the host sees them."""
    _want(container, "created", "running", "paused", verb="list the processes of")
    return cgroupfs.processes(container.groups)


def stats(container: Container) -> dict[str, Any]:
    """What the kernel has counted, in the form of `runc events --stats`."""
    group = container.groups
    _want(container, "created", "running", "paused", verb="read the statistics of")
    events = cgroupfs.memory_events(group)
    return {
        "type": "stats", "id": container.id,
        "data": {
            "cpu": {"usage": {"total": _cpu_time(group)}},
            "memory": {
                "usage": {"usage": cgroupfs.memory_usage(group) or 0, "limit": _limit(group),
                          "failcnt": events.get("max", 0)},
                "oom_kill": events.get("oom_kill", 0),
            },
            "pids": {"current": _number(group.get("pids"), "pids.current"),
                     "limit": _number(group.get("pids"), "pids.max")},
        },
    }  # fmt: skip


def _cpu_time(group: dict[str, str]) -> int:
    """Nanoseconds."""
    if "cpuacct" in group:
        return _number(group["cpuacct"], "cpuacct.usage")
    text = procfs.read_text(f"{group.get('', '/nonexistent')}/cpu.stat") or ""
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == "usage_usec":
            return int(value) * 1000
    return 0


def _limit(group: dict[str, str]) -> int:
    path = group.get("memory")
    return _number(path, "memory.limit_in_bytes") or _number(path, "memory.max")


def _number(path: str | None, name: str) -> int:
    """0 for `max` and for what is not there."""
    text = (procfs.read_text(f"{path}/{name}") or "").strip() if path else ""
    return int(text) if text.isdigit() else 0


def wait_until_stopped(container: Container, interval: float) -> bool:
    """Whether it has stopped within `interval` seconds."""
    import select

    process = Process.adopt(container.pid, container.record["start_time"])
    if process is None:
        return True
    poll = select.poll()
    poll.register(process.pidfd, select.POLLIN)
    ended = bool(poll.poll(interval * 1000))
    process.close()
    return ended
