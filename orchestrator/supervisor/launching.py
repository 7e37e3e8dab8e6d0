"""Launching: from a lane's spec to a running process, together with the keeper and the network.

The order: directories and files, ports bound, clone (keeper), status written, interfaces, `go`,
exec.  A failure at any step leaves nothing running; the lane notes the error and releases ports.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import anyio

from orchestrator.errors import LaunchError, StateError
from orchestrator.runtime.launch import Stdio as Streams
from orchestrator.runtime.launch import launch_error, launch_request
from orchestrator.runtime.process import Process
from orchestrator.state import volumes
from orchestrator.supervisor import peers
from orchestrator.supervisor.link import KeeperLost

if TYPE_CHECKING:
    from orchestrator.supervisor.lanes import Lane
    from orchestrator.supervisor.link import Conversation

_ATTEMPTS = 3
_ABORT_PATIENCE = 5.0


class Stdio:
    """The streams of a container that a command has given (`run`)."""

    def __init__(self, fds: list[int]) -> None:
        self.fds = fds
        """stdin, stdout, stderr; empty with a tty."""
        self.master: int | None = None
        """With a tty: the descriptor of its master, once the container runs."""

    def close(self) -> None:
        """Close our copies; the container and the client have theirs."""
        for fd in (*self.fds, *([] if self.master is None else [self.master])):
            os.close(fd)
        self.fds, self.master = [], None


async def launch(lane: Lane, stdio: Stdio | None) -> None:
    """Start the lane's container; PcomposeError says which step failed."""
    link = lane.project.link
    _prepare(lane)
    volumes.mount_all(lane.project.layout, lane.record.volumes())
    ports = lane.project.services.publish(lane.spec)
    for _ in range(_ATTEMPTS):
        try:
            await _launch_once(lane, stdio, ports)
            return
        except KeeperLost:
            await _make_end(lane)
            await link.wait_connected()
    raise LaunchError(f"cannot start {lane.record.name}: the keeper ended again and again",
                      hint="supervisor.log in the run directory may say why")


def _prepare(lane: Lane) -> None:
    """Directories and the files that are bound over /etc/hosts and its neighbours."""
    project, spec = lane.project, lane.spec
    run_dir = project.layout.container_run(project.name, spec.id)
    try:
        for path in (run_dir, spec.rootfs.upper, spec.rootfs.work, spec.rootfs.target,
                     project.layout.container_log(project.name, spec.id)):
            os.makedirs(path, exist_ok=True)
        for name, text in project.services.files(spec).items():
            _write(f"{run_dir}/{name}", text)
    except OSError as exc:
        raise StateError(
            f"cannot start {spec.name}: cannot write {exc.filename}: {exc.strerror}"
        ) from exc


def _write(path: str, text: str) -> None:
    """In place: a container that still runs has this very file bound."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        os.fchmod(fd, 0o644)
        os.write(fd, text.encode())
    finally:
        os.close(fd)


async def _launch_once(lane: Lane, stdio: Stdio | None, ports: list[dict[str, Any]]) -> None:
    link = lane.project.link
    conversation = link.open(lane.id)
    try:
        link.send(_request(lane, _streams(stdio)), stdio.fds if stdio else ())
        message, _ = await conversation.next()
        if message.get("kind") == "Abort":  # the last word on a start we gave up at the adoption
            message, _ = await conversation.next()
        if message.get("errno") == errno.EEXIST and message.get("kind") == "Prepare":
            message = await _again(lane, stdio, conversation)
        process = _cloned(lane, message)
        if process is None:  # the answer after this one says why, if the keeper lives
            raise _failed(lane, (await conversation.next())[0])
        lane.launched(process, ports=ports)
        try:
            lane.project.services.attach(lane.spec, process.pid)
        except Exception:
            link.send({"op": "abort", "id": lane.id})
            with anyio.move_on_after(_ABORT_PATIENCE):
                message, _ = await conversation.next()
                if message.get("event") == "failed" and message.get("kind") != "Abort":
                    raise _failed(lane, message) from None  # that is why it was not there
            raise
        link.send({"op": "go", "id": lane.id})
        message, descriptors = await conversation.next()
        _started(lane, message)
        _take_terminal(lane, stdio, descriptors)
    finally:
        link.close(lane.id)


async def _again(
    lane: Lane, stdio: Stdio | None, conversation: Conversation
) -> dict[str, Any]:
    """A supervisor died between the clone and the `go` of this container: give that one up."""
    link = lane.project.link
    with anyio.move_on_after(_ABORT_PATIENCE):
        link.send({"op": "abort", "id": lane.id})
        await conversation.next()
    link.send(_request(lane, _streams(stdio)), stdio.fds if stdio else ())
    message, _ = await conversation.next()
    return message


def _streams(stdio: Stdio | None) -> Streams:
    if stdio is None:
        return "log"
    return "fds" if stdio.fds else "tty"


def _take_terminal(lane: Lane, stdio: Stdio | None, descriptors: list[int]) -> None:
    """The master of its pty: for the command that asked, or kept, because the container is hung up
    when the last copy is closed."""
    for fd in descriptors:
        if stdio is not None:
            stdio.master = fd
        else:
            lane.project.services.keep_terminal(lane.id, fd)


def _request(lane: Lane, streams: Streams) -> dict[str, Any]:
    project, layout = lane.project, lane.project.layout
    return launch_request(
        lane.spec, run_dir=layout.container_run(project.name, lane.id),
        log_dir=layout.container_log(project.name, lane.id),
        exit_path=layout.container_exit(project.name, lane.id), hierarchy=project.hierarchy,
        # Always: the pid is written down before the command runs, so that no crash can lose it.
        wait_for_network=True, stdio=streams, peers=peers.peers(project, lane.spec),
    )  # fmt: skip


def _failed(lane: Lane, message: dict[str, Any]) -> LaunchError:
    if message.get("event") == "exited":
        return LaunchError(f"cannot start {lane.record.name}: it was killed before it had begun")
    spec = lane.spec
    origin = spec.command_origin if message.get("kind") == "Execute" else spec.origin
    return launch_error(message, subject=lane.record.name, origin=origin or spec.origin)


def _cloned(lane: Lane, message: dict[str, Any]) -> Process | None:
    if message.get("event") != "cloned":
        raise _failed(lane, message)
    return Process.adopt(message["pid"], message["start_time"])


def _started(lane: Lane, message: dict[str, Any]) -> None:
    # `exited` alone: it ended before the keeper had noticed that it had begun
    if message.get("event") not in ("started", "exited"):
        raise _failed(lane, message)


async def _make_end(lane: Lane) -> None:
    """What the lost keeper cloned may or may not have reached its command: end it, start anew."""
    process = lane.process
    if process is None:
        return
    process.signal(9)
    with anyio.move_on_after(_ABORT_PATIENCE):
        await anyio.wait_readable(process.pidfd)  # readable: it has ended (pidfd_open(2))
    lane.project.services.detach(lane.id)
    await lane.project.services.detached()
