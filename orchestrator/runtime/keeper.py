"""The keeper: one small process per project, parent of its containers, that must never die.

Clones, reaps, moves output into log files, holds descriptors; starts the supervisor again when that
dies.  Decides nothing: what to do with a container whose process has ended is the supervisor's
affair.  Messages are those of docs/architecture.md.  A bad message, a full disk, a directory that
is gone, too many descriptors: each is answered or noted in the log, and the loop goes on.

Run as `python -SI -c … pcompose-keeper PROJECT SOCKET LOCK READY_FD SUPERVISOR…`; see
`runtime.keeper_client`.  Imports a few C modules of the standard library only.
"""

from __future__ import annotations

import _signal as signals  # type: ignore[import-not-found]  # `signal` costs an import of `enum`
import gc
import os
import resource
import select
import time

from orchestrator.linux import fds as descriptors
from orchestrator.linux import procfs, syscalls
from orchestrator.linux.outbox import Outbox
from orchestrator.runtime import kept
from orchestrator.runtime.child import IGNORED_BY_KEEPER
from orchestrator.runtime.kept import Container, Execution, Origin, Task
from orchestrator.runtime.loop import HANGUP, READ, WRITE, Loop
from orchestrator.runtime.pump import Pump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Sequence

    from orchestrator.linux.fds import Channel
    from orchestrator.runtime.kept import Message

_PATIENCE = 2.0
"""Seconds for the last members of cgroups, and for the parent of an adopted zombie."""
_MOST_UNREAD = 64 << 20
"""Bytes a supervisor may leave unread: more is no sign of life."""
_FIRST_CONTACT = 30.0
_LONGEST_PAUSE = 30.0
_HEALTHY = 10.0
"""A supervisor that lived so long died of something new."""
_BAD = (OSError, KeyError, TypeError, ValueError, AttributeError, IndexError)
"""What a message that is not as it should be leads to."""


class Keeper:
    """All the keeper holds; `serve` is its life."""

    def __init__(self, listener: socket, *, origin: Origin, supervisor_argv: Sequence[str]) -> None:
        self._listener = listener
        self._origin = origin
        self._supervisor_argv = list(supervisor_argv)
        self._loop = Loop(self._report)
        self._channel: Channel | None = None
        self._outbox: Outbox | None = None
        self._containers: dict[str, Container] = {}
        self._executions: dict[str, Execution] = {}
        self._stored: dict[str, list[int]] = {}
        self._supervisor = -1  # pidfd of the one we have started
        self._connected_at = 0.0
        self._failures = 0
        self._busy_groups: set[str] = set()
        self._is_dismissed = False
        self._over = False

    def serve(self) -> None:
        """Until `exit`, or until nothing is held and nobody is connected."""
        self._loop.watch(self._listener.fileno(), self._accept)
        self._loop.later(_FIRST_CONTACT, self._end_if_idle)
        while not self._over:
            self._loop.turn()

    def _report(self, exc: BaseException) -> None:
        note(f"{type(exc).__name__}: {exc}")

    # The supervisor

    def _accept(self, _: int) -> None:
        try:
            sock, _address = _accepted(self._listener)
        except OSError as exc:  # no descriptor left: not again and again
            self._report(exc)
            listener = self._listener.fileno()
            self._loop.unwatch(listener)
            self._loop.later(1.0, lambda: self._loop.watch(listener, self._accept))
            return
        if self._channel is not None:  # its successor is here before its end has reached us
            self._drop_channel()
        self._channel = descriptors.Channel(sock)
        self._outbox = Outbox(sock, limit=_MOST_UNREAD)
        self._connected_at = time.monotonic()
        self._loop.watch(sock.fileno(), self._converse)

    def _converse(self, events: int) -> None:
        assert self._outbox is not None
        if events & WRITE:
            self._outbox.push()
            self._attend()
        if events & ~WRITE and self._channel is not None:
            self._hear()

    def _attend(self) -> None:
        """Wait for words of the supervisor, and for room where there is more to be told."""
        assert self._channel is not None
        assert self._outbox is not None
        if self._outbox.is_broken:
            note("the supervisor is gone, or does not read")
            self._lose_supervisor()
            return
        events = READ if self._outbox.is_empty else READ | WRITE
        self._loop.watch(self._channel.fileno(), self._converse, events=events)

    def _hear(self) -> None:
        assert self._channel is not None
        channel = self._channel
        try:
            messages = channel.pending()
        except (EOFError, ValueError, OSError) as exc:
            if not isinstance(exc, EOFError):
                self._report(exc)
            self._lose_supervisor()
            return
        for message, fds in messages:
            self._obey(message, fds)

    def _obey(self, message: Message, fds: list[int]) -> None:
        operation = self._OPERATIONS.get(str(message.get("op")))
        try:
            if operation is None:
                note(f"unknown message {str(message)[:200]}")
            else:
                operation(self, message, fds)
        except _BAD as exc:
            note(f"{message.get('op')}: {type(exc).__name__}: {exc}")
        finally:
            for fd in fds:
                os.close(fd)

    def _tell(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send if somebody listens.  Nobody waits for a supervisor that is too busy to read."""
        if self._outbox is None:
            return
        was_empty = self._outbox.is_empty
        self._outbox.send(message, fds)
        if self._outbox.is_broken or (was_empty and not self._outbox.is_empty):
            self._attend()

    def _drop_channel(self) -> None:
        if self._channel is not None:
            self._loop.unwatch(self._channel.fileno())
            self._channel.close()
            self._channel = None
        if self._outbox is not None:
            self._outbox.close()
            self._outbox = None
        for container in self._containers.values():
            if container.waits:  # nobody will say `go`
                self._give_up(container)

    def _lose_supervisor(self) -> None:
        self._drop_channel()
        if not self._containers and not self._executions:
            self._end()
            return
        lived = time.monotonic() - self._connected_at
        self._failures = 0 if lived > _HEALTHY else self._failures + 1
        self._start_later()

    def _start_later(self) -> None:
        """At once the first time, later and later if it dies again and again."""
        pause = min(_LONGEST_PAUSE, 0.1 * 2 ** (self._failures - 2)) if self._failures > 1 else 0.0
        self._loop.later(pause, self._start_supervisor)

    def _start_supervisor(self) -> None:
        if self._over or self._channel is not None or self._supervisor >= 0:
            return
        note("the supervisor is gone, starting another")
        try:
            pid = self._spawn_supervisor()
            self._supervisor = syscalls.pidfd_open(pid)
        except (OSError, IndexError) as exc:
            self._report(exc)
            self._failures += 1
            self._start_later()
            return
        self._loop.watch(self._supervisor, lambda _: self._supervisor_ended(pid))

    def _spawn_supervisor(self) -> int:
        """With the limit we began with: it may start a keeper, which hands it to containers."""
        argv, hard = self._supervisor_argv, self._origin.nofile[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, self._origin.nofile)
        try:
            return os.posix_spawn(argv[0], argv, os.environ, setsid=True, setsigmask=(),
                                  setsigdef=IGNORED_BY_KEEPER)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def _supervisor_ended(self, pid: int) -> None:
        os.waitpid(pid, 0)
        self._loop.unwatch(self._supervisor)
        os.close(self._supervisor)
        self._supervisor = -1
        if self._channel is not None:
            return
        self._failures += 1
        if self._containers or self._failures < 10:
            self._start_later()
        else:
            self._end()

    def _end_if_idle(self) -> None:
        busy = self._containers or self._executions or self._supervisor >= 0
        if self._channel is None and not busy:
            self._end()

    def _end(self, patience: float = _PATIENCE) -> None:
        """As soon as no cgroup waits for its last member to be gone; unless a supervisor has come
        meanwhile and did not say `exit`."""
        if not self._is_dismissed and (self._channel is not None or self._containers):
            return
        if not self._busy_groups or patience <= 0:
            self._over = True
        else:
            self._loop.later(0.02, lambda: self._end(patience - 0.02))

    # Containers

    def _launch(self, message: Message, fds: list[int]) -> None:
        name = message["id"]
        pumps: list[Pump] = []
        try:
            if name in self._containers:
                raise FileExistsError(17, "it is running already", name)
            if message["stdio"] == "fifos":
                kept.make_fifos(message["run_dir"], stdin=message["stdin"])
                pumps = kept.open_pumps(message, fresh=True, complain=note)
            pid, pidfd, channel = kept.launch(message, self._origin, fds)
        except _BAD as exc:
            for pump in pumps:
                pump.close()
            self._tell({"event": "failed", "id": name, **_failure("prepare", exc)})
            return
        container = Container(message, pid=pid, pidfd=pidfd, channel=channel)
        container.pumps = pumps
        self._containers[name] = container
        self._tell({"event": "cloned", "id": name, "pid": pid, "start_time": container.start_time})
        self._watch(container)
        self._loop.watch(channel.fileno(), lambda _: self._hear_child(container))

    def _watch(self, container: Container) -> None:
        self._loop.watch(container.pidfd, lambda events: self._container_ended(container, events))
        for pump in container.pumps:
            self._watch_pump(pump)

    def _watch_pump(self, pump: Pump) -> None:
        def pumped(events: int) -> None:
            if not pump.move() and events & select.EPOLLHUP:
                self._loop.unwatch(pump.fd)

        self._loop.watch(pump.fd, pumped)

    def _hear_child(self, container: Container) -> None:
        assert container.channel is not None
        if not container.listen():
            return
        self._loop.unwatch(container.channel.fileno())
        container.close_channel()
        if container.failure is not None:
            return  # reported when it is reaped
        container.is_started = True
        fds = [container.master] if container.master >= 0 else []
        self._tell({"event": "started", "id": container.name, "pid": container.pid,
                    "start_time": container.start_time}, fds)
        if fds:
            self._keep_terminal(container, fresh=True)

    def _keep_terminal(self, container: Container, *, fresh: bool) -> None:
        if not container.request["pump"]:
            os.close(container.master)
            container.master = -1
            return
        os.set_blocking(container.master, False)
        log = kept.open_log(container.request, "stdout", fresh=fresh, complain=note)
        pump = Pump(container.master, log, is_terminal=True)
        container.pumps.append(pump)
        self._watch_pump(pump)

    def _go(self, message: Message, _: list[int]) -> None:
        container = self._containers[message["id"]]
        container.waits = False
        if container.channel is not None:
            container.channel.send({"op": "go"})

    def _abort(self, message: Message, _: list[int]) -> None:
        container = self._containers.get(message["id"])
        if container is not None and not container.is_started:
            self._give_up(container)

    def _give_up(self, container: Container) -> None:
        container.give_up()
        _kill(container.pidfd, signals.SIGKILL)

    def _container_ended(self, container: Container, events: int) -> None:
        over, code = kept.reap(container.pid, container.pidfd)
        if not over and not events & select.EPOLLHUP:
            if container.channel is None and not _is_child(container.pid):
                self._await_parent(container)
            return
        if container.channel is not None:  # it began and ended before we looked
            self._hear_child(container)
        self._finish(container, code)

    def _await_parent(self, container: Container) -> None:
        """A zombie that its parent has not fetched: its code can be known once it has."""
        self._loop.watch(
            container.pidfd, lambda events: self._container_ended(container, events),
            events=HANGUP)  # fmt: skip
        self._loop.later(_PATIENCE, lambda: self._finish(container, None))

    def _finish(self, container: Container, code: int | None) -> None:
        if self._containers.get(container.name) is not container:
            return
        del self._containers[container.name]
        container.end_orphans()
        try:
            container.drain()
        finally:
            self._unwatch(container)
        failure = container.failure
        if failure is None:
            ended = self._write_exit(container, code)
            self._tell({"event": "exited", "id": container.name, **ended})
        container.close()
        self._remove_groups(container.groups, 0.01)
        if failure is not None:
            self._tell({"event": "failed", "id": container.name, **failure})

    def _write_exit(self, container: Container, code: int | None) -> Message:
        try:
            return container.write_exit(code)
        except OSError as exc:  # a full disk, or the directory is gone: at least tell
            self._report(exc)
        return {"pid": container.pid, "start_time": container.start_time, "exit_code": code,
                "oom_killed": False, "time": time.time()}

    def _unwatch(self, task: Task) -> None:
        if task.channel is not None:
            self._loop.unwatch(task.channel.fileno())
        self._loop.unwatch(task.pidfd)
        if isinstance(task, Container):
            for pump in task.pumps:
                self._loop.unwatch(pump.fd)

    def _remove_groups(self, paths: Sequence[str], pause: float) -> None:
        busy = kept.remove_groups(paths)
        self._busy_groups -= set(paths)
        if busy and pause < _LONGEST_PAUSE:
            self._busy_groups |= set(busy)
            self._loop.later(pause, lambda: self._remove_groups(busy, pause * 2))

    def _adopt(self, message: Message, fds: list[int]) -> None:
        name = message["id"]
        if name in self._containers:
            return
        pid, started = message["pid"], message["start_time"]
        pidfd = kept.open_identical(pid, started)
        if pidfd < 0:
            self._tell({"event": "exited", "id": name, "pid": pid, "start_time": started,
                        "exit_code": None, "oom_killed": False, "time": time.time()})
            self._remove_groups(message["groups"], 0.01)
            return
        container = Container(message, pid=pid, pidfd=pidfd, channel=None)
        self._containers[name] = container
        try:
            if message["stdio"] == "fifos":
                container.pumps = kept.open_pumps(message, fresh=False, complain=note)
            elif fds and message["pump"]:
                container.master = os.dup(fds[0])
                self._keep_terminal(container, fresh=False)
        finally:  # also without its output it is watched
            self._watch(container)
        self._tell({"event": "adopted", "id": name, "pid": pid, "start_time": started})

    def _forget(self, message: Message, _: list[int]) -> None:
        container = self._containers.pop(message["id"], None)
        if container is not None:
            self._unwatch(container)
            container.close()
        self._remove_groups(message.get("groups", ()), 0.01)

    # Executions

    def _exec(self, message: Message, fds: list[int]) -> None:
        name = message["exec_id"]
        try:
            if name in self._executions:
                raise FileExistsError(17, "it is running already", name)
            execution = self._enter(message, fds)
        except _BAD as exc:
            self._tell({"event": "exec_failed", "exec_id": name, **_failure("prepare", exc)})
            return
        self._executions[name] = execution
        assert execution.channel is not None
        self._loop.watch(execution.channel.fileno(), lambda _: self._hear_execution(execution))
        self._loop.watch(execution.pidfd, lambda _: self._execution_ended(execution))
        if execution.pipe >= 0:
            self._loop.watch(execution.pipe, lambda _: self._read_output(execution))

    def _enter(self, message: Message, fds: list[int]) -> Execution:
        container = self._containers.get(message["id"])
        if container is None or not container.is_started:
            raise ProcessLookupError(3, "the container is not running", message["id"])
        ours, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK) if message["capture"] else (-1, -1)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        given = fds or ([null, theirs, theirs] if theirs >= 0 else [null, null, null])
        try:
            if theirs >= 0:
                os.set_blocking(theirs, True)
            pid, pidfd, channel = kept.spawn(
                message["steps"], self._origin, flags=0, group=message["birth_group"],
                given=given, container=container.pidfd)
        except BaseException:
            if ours >= 0:
                os.close(ours)
            raise
        finally:
            for fd in (null, theirs):
                if fd >= 0:
                    os.close(fd)
        return Execution(message["exec_id"], pid=pid, pidfd=pidfd, channel=channel, pipe=ours)

    def _hear_execution(self, execution: Execution) -> None:
        assert execution.channel is not None
        if not execution.listen():
            return
        self._loop.unwatch(execution.channel.fileno())
        execution.close_channel()
        if execution.failure is not None:
            return
        execution.is_started = True
        fds = [execution.master] if execution.master >= 0 else []
        self._tell({"event": "exec_started", "exec_id": execution.name, "pid": execution.pid}, fds)
        if fds:  # the supervisor has it now
            os.close(execution.master)
            execution.master = -1

    def _read_output(self, execution: Execution) -> None:
        if not execution.read():
            self._loop.unwatch(execution.pipe)

    def _execution_ended(self, execution: Execution) -> None:
        over, code = kept.reap(execution.pid, execution.pidfd)
        if not over:
            return
        if execution.channel is not None:
            self._hear_execution(execution)
        while execution.pipe >= 0 and execution.read() and len(execution.output) < kept.CAPTURE:
            pass
        self._executions.pop(execution.name, None)
        self._unwatch(execution)
        if execution.pipe >= 0:
            self._loop.unwatch(execution.pipe)
        answer: Message = {"event": "exec_exited", "exec_id": execution.name, "exit_code": code}
        if execution.failure is not None:
            answer = {"event": "exec_failed", "exec_id": execution.name, **execution.failure}
        elif execution.pipe >= 0:
            answer["output"] = execution.output.decode("utf-8", "replace")
        execution.close()
        self._tell(answer)

    def _exec_kill(self, message: Message, _: list[int]) -> None:
        execution = self._executions.get(message["exec_id"])
        if execution is not None:
            _kill(execution.pidfd, message["signal"])

    # The rest

    def _store(self, message: Message, fds: list[int]) -> None:
        """In the place of those of that name, or with them: one message carries but MAX_FDS."""
        if not message.get("also"):
            self._unstore(message, [])
        self._stored.setdefault(message["name"], []).extend([os.dup(fd) for fd in fds])

    def _unstore(self, message: Message, _: list[int]) -> None:
        for fd in self._stored.pop(message["name"], ()):
            os.close(fd)

    def _list(self, _message: Message, _: list[int]) -> None:
        """Descriptors travel in messages of their own where there are more than one can carry."""
        held = [{"id": c.name, "pid": c.pid, "start_time": c.start_time}
                for c in self._containers.values() if c.is_started]
        stored = [{"name": name, "fds": len(fds)} for name, fds in self._stored.items()]
        every = [fd for fds in self._stored.values() for fd in fds]
        first, rest = every[:descriptors.MAX_FDS], every[descriptors.MAX_FDS:]
        starting = [c.name for c in self._containers.values() if not c.is_started]
        self._tell({"event": "list", "pid": os.getpid(), "containers": held, "starting": starting,
                    "stored": stored, "more": bool(rest)}, first)
        while rest:
            part, rest = rest[:descriptors.MAX_FDS], rest[descriptors.MAX_FDS:]
            self._tell({"event": "list_more", "more": bool(rest)}, part)

    def _exit(self, _message: Message, _: list[int]) -> None:
        self._is_dismissed = True
        self._end()

    _OPERATIONS = {  # noqa: RUF012  # never changed
        "launch": _launch, "go": _go, "abort": _abort, "adopt": _adopt, "forget": _forget,
        "exec": _exec, "exec_kill": _exec_kill, "store": _store, "unstore": _unstore,
        "list": _list, "exit": _exit,
    }  # fmt: skip


def _accepted(listener: socket) -> tuple[socket, object]:
    from _socket import socket as new_socket

    fd, address = listener._accept()  # type: ignore[attr-defined]  # `socket.accept` of the C class
    return new_socket(fileno=fd), address


def _failure(step: str, exc: BaseException) -> Message:
    number = exc.errno if isinstance(exc, OSError) and exc.errno else 0
    text = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
    path = exc.filename if isinstance(exc, OSError) else ""
    return {"step": step, "kind": "Prepare", "errno": number, "message": text,
            "path": path if isinstance(path, str) else ""}


def _is_child(pid: int) -> bool:
    return procfs.parent(pid) == os.getpid()


def _kill(pidfd: int, number: int) -> None:
    try:
        syscalls.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        pass


def note(text: str) -> None:
    """One line into the log (our stderr); a log that cannot be written is no reason to stop."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    try:
        os.write(2, f"{stamp} keeper[{os.getpid()}]: {text}\n".encode("utf-8", "replace"))
    except OSError:
        pass


def _settle() -> Origin:
    """Make ourselves hard to kill, and remember what children get back."""
    for number in IGNORED_BY_KEEPER:
        signals.signal(number, signals.SIG_IGN)
    syscalls.set_name("pcompose-keeper")
    nofile = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (nofile[1], nofile[1]))
    namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    return Origin(nofile=nofile, oom_score_adj=_lower_oom_score(), pid_namespace=namespace)


def _lower_oom_score() -> int | None:
    """The score before, if it could be lowered; needs CAP_SYS_RESOURCE."""
    try:
        with open("/proc/self/oom_score_adj", "r+", encoding="ascii") as file:
            before = int(file.read())
            file.seek(0)
            file.write("-900")
    except OSError:
        return None
    return before


def main(arguments: Sequence[str]) -> None:
    """`PROJECT SOCKET LOCK READY_FD SUPERVISOR…`; READY_FD is closed once the socket listens."""
    _project, socket_path, lock_path, ready, *supervisor_argv = arguments
    lock = descriptors.lock(lock_path, wait=True)
    assert lock is not None
    listener = descriptors.open_listener(socket_path)
    origin = _settle()
    keeper = Keeper(listener, origin=origin, supervisor_argv=supervisor_argv)
    os.close(int(ready))
    gc.collect()
    gc.freeze()
    keeper.serve()
    try:
        os.unlink(socket_path)
    except FileNotFoundError:
        pass
    os._exit(0)
