"""`attach`: our terminal or streams connected to the main process of a running container.

What the container writes is read from its log, byte by byte as it comes, so that several may be
attached and none disturbs `logs`; what is typed goes into its terminal or its standard input.
Leaving by the detach keys changes nothing for the container.
"""

from __future__ import annotations

import os
import re
import select
from typing import TypeAlias

from orchestrator import events
from orchestrator.dataclass import dataclass
from orchestrator.engine import session, submit
from orchestrator.engine.lookup import running_replica
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import SupervisorError, UsageError
from orchestrator.events import StateChanged
from orchestrator.linux import inotify, tty
from orchestrator.linux.waiting import ready
from orchestrator.runtime.logs import STREAMS, RawFollower
from orchestrator.supervisor import client

DETACH_KEYS = "ctrl-p,ctrl-q"
PATIENCE = 0.05
"""Seconds: kernels before 6.8 do not report what splice(2) writes into a log."""
_CONTROL = re.compile(r"[A-Za-z@\[\\\]^_]")
_CHUNK = 1 << 16
_Source: TypeAlias = "int | client.ControlClient | inotify.Inotify | session.Signals"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to attach."""

    index: int = 0
    stdin: bool = True
    signals: bool = True
    """Pass signals on to the container (where it has no terminal)."""
    detach_keys: str = DETACH_KEYS


def parse_keys(text: str) -> bytes:
    """`ctrl-p,ctrl-q` or `a,b` as the bytes that a terminal sends; UsageError."""
    found = bytearray()
    for key in text.split(","):
        name = key.removeprefix("ctrl-")
        if len(key) == 1 and key.isascii():
            found += key.encode()
        elif key != name and _CONTROL.fullmatch(name):
            found.append(ord(name.lower()) & 0x1F)
        else:
            raise UsageError(f'invalid detach keys: "{text}"',
                             hint="letters, or ctrl- and a letter, with commas: ctrl-p,ctrl-q")
    return bytes(found)


class Keys:
    """Watches what is typed for the sequence that means: leave."""

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self._matched = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """(what goes to the container, whether the sequence is complete).  A beginning of the
        sequence is held back until it is clear what becomes of it."""
        out = bytearray()
        for byte in data:
            if byte == self._sequence[self._matched]:
                self._matched += 1
                if self._matched == len(self._sequence):
                    return bytes(out), True
                continue
            out += self._sequence[: self._matched]
            self._matched = int(byte == self._sequence[0])
            if not self._matched:
                out.append(byte)
        return bytes(out), False


def attach(
    workspace: Workspace, service: str, options: Options, *, stdin: int, stdout: int, stderr: int
) -> int | None:
    """Until the container ends (its exit code) or the user leaves (None)."""
    keys = parse_keys(options.detach_keys)
    record = running_replica(workspace, service, index=options.index).record
    log_dir = workspace.layout.container_log(workspace.name, record.id)
    followers = [RawFollower(log_dir, stream) for stream in STREAMS]
    watch = client.open_client(workspace.layout, workspace.name)
    watch.request("watch")
    watch.receive()
    try:
        given, has_terminal = _given(workspace, record.id)
    except BaseException:
        watch.close()
        raise
    attachment = _Attachment(
        workspace, record.id, options, watch=watch, followers=followers, log_dir=log_dir,
        outputs=(stdout, stderr), given=given, stdin=stdin if options.stdin else -1,
        keys=Keys(keys) if has_terminal and tty.is_terminal(stdin) else None,
    )  # fmt: skip
    try:
        return attachment.serve(has_terminal=has_terminal)
    finally:
        attachment.close()


def _given(workspace: Workspace, id_: str) -> tuple[int | None, bool]:
    """(the container's standard input or None, whether that is a terminal)."""
    connection = client.open_client(workspace.layout, workspace.name)
    try:
        connection.request("attach", container=id_)
        message, fds = connection.receive()
        return (fds[0] if fds else None), bool(message.get("tty"))
    finally:
        connection.close()


class _Attachment:
    """One attach under way."""

    def __init__(
        self, workspace: Workspace, id_: str, options: Options, *, watch: client.ControlClient,
        followers: list[RawFollower], log_dir: str, outputs: tuple[int, int], given: int | None,
        stdin: int, keys: Keys | None,
    ) -> None:  # fmt: skip
        self._workspace, self._id, self._options = workspace, id_, options
        self._watch, self._followers, self._outputs = watch, followers, outputs
        self._given, self._stdin, self._keys = given, stdin, keys
        self._pending = b""
        self._is_left = False
        self._exit_code: int | None = None
        self._inotify = inotify.Inotify()
        self._inotify.add(log_dir, inotify.IN_MODIFY | inotify.IN_CREATE)
        self._signals = session.Signals()

    def serve(self, *, has_terminal: bool) -> int | None:
        """The loop; our terminal is raw while the container's is connected to it."""
        self._has_terminal = has_terminal
        if has_terminal and self._given is not None:
            session.resize(self._given)
        is_raw = has_terminal and self._stdin >= 0 and tty.is_terminal(self._stdin)
        saved = tty.enter_raw_mode(self._stdin) if is_raw else None
        try:
            while self._exit_code is None and not self._is_left:
                self._step()
            self._show()
        finally:
            if saved is not None:
                tty.restore_mode(self._stdin, saved)
        return self._exit_code

    def _step(self) -> None:
        reading: list[_Source] = [self._watch, self._inotify, self._signals]
        if self._stdin >= 0 and len(self._pending) < _CHUNK:
            reading.append(self._stdin)
        writing = [self._given] if self._pending and self._given is not None else []
        readable, writable = ready(reading, writing, timeout=PATIENCE)
        if self._inotify in readable:
            self._inotify.read()
        self._show()
        for name in self._signals.take():
            self._signal(name)
        if self._stdin in readable:
            self._typed()
        if writable and self._given is not None:
            self._pending = self._pending[_write(self._given, self._pending) :]
        if self._watch in readable:
            self._hear()

    def _show(self) -> None:
        for follower, output in zip(self._followers, self._outputs, strict=True):
            data = follower.read()
            while data:
                data = data[os.write(output, data) :]

    def _signal(self, name: str) -> None:
        if name == "SIGWINCH":
            if self._has_terminal and self._given is not None:
                session.resize(self._given)
        elif self._options.signals and not self._has_terminal:
            submit.request(self._workspace.layout, self._workspace.name, "signal",
                           container=self._id, signal=name)  # fmt: skip
        elif name in ("SIGINT", "SIGTERM", "SIGHUP"):
            raise KeyboardInterrupt

    def _typed(self) -> None:
        data = os.read(self._stdin, _CHUNK)
        if not data:
            self._stdin = -1  # the container's own stays open: others may be attached
            return
        if self._keys is not None:
            data, self._is_left = self._keys.feed(data)
        if self._given is not None:
            self._pending += data

    def _hear(self) -> None:
        try:
            arrived = self._watch.pending()
        except SupervisorError:
            self._reconnect()
            return
        for message, _ in arrived:
            event = events.from_json(message) if "event" in message else None
            if isinstance(event, StateChanged) and event.container == self._id and (
                event.action == "die"
            ):
                self._exit_code = 1 if event.exit_code is None else event.exit_code

    def _reconnect(self) -> None:
        self._watch.close()
        self._watch = client.open_client(self._workspace.layout, self._workspace.name)
        self._watch.request("watch")
        self._watch.receive()
        there = {c.record.id: c.status for c in self._workspace.observe().containers}
        status = there.get(self._id)
        if status is None or status.state != "running":
            code = None if status is None else status.exit_code
            self._exit_code = 1 if code is None else code

    def close(self) -> None:
        """Let go of everything."""
        self._signals.close()
        self._inotify.close()
        self._watch.close()
        if self._given is not None:
            os.close(self._given)


def _write(fd: int, data: bytes) -> int:
    try:
        return os.write(fd, data[: select.PIPE_BUF])
    except BlockingIOError:
        return 0
    except OSError:
        return len(data)  # the container has ended: its exit is about to be told
