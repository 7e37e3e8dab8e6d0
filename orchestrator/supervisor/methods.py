"""Methods: what the requests of `protocol.py` do, in terms of lanes and the keeper."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import anyio

from orchestrator import __version__
from orchestrator.errors import StateError, SupervisorError
from orchestrator.runtime.launch import exec_request, launch_error
from orchestrator.supervisor import signals
from orchestrator.supervisor.execute import Executor
from orchestrator.supervisor.launching import Stdio
from orchestrator.supervisor.link import KeeperLost
from orchestrator.supervisor.protocol import ExecRequest, Job, job_from_json
from orchestrator.supervisor.walk import Walk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.supervisor.control import Method, Request
    from orchestrator.supervisor.lanes import Lane
    from orchestrator.supervisor.link import Conversation
    from orchestrator.supervisor.project import Project


class Methods:
    """The methods of one project; `walks` are under way."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._walks: set[Walk] = set()
        self._walked = anyio.Event()

    def table(self) -> Mapping[str, Method]:
        """Name -> function."""
        return {"execute": self.execute, "watch": self.watch, "exec": self.exec,
                "attach": self.attach, "signal": self.signal, "info": self.info,
                "fault": self.fault}  # fmt: skip

    def cancel(self) -> None:
        """Let nothing more begin."""
        for walk in self._walks:
            walk.cancel()

    async def wait_done(self) -> None:
        """Until no jobs are in flight."""
        while self._walks:
            self._walked = anyio.Event()
            await self._walked.wait()

    async def execute(self, request: Request) -> dict[str, Any]:
        """Run jobs under the lock that came with them."""
        jobs = _jobs(request.params)
        number = request.params.get("stdio")
        lock, stdio = _take_fds(request, wants_stdio=number is not None)
        try:
            def started(id_: str) -> None:
                if stdio is not None and stdio.master is not None:
                    request.send({"tty": id_}, [stdio.master])

            executor = Executor(self._project, jobs, emit=request.emit, stdio=stdio,
                                stdio_job=number, started=started)  # fmt: skip
            walk = Walk(jobs, perform=executor.perform, limit=_limit(request.params))
            self._walks.add(walk)
            request.when_gone(walk.cancel)
            try:
                await walk.run()
                await self._project.services.detached()
            finally:
                self._walks.discard(walk)
                self._walked.set()
        finally:
            os.close(lock)
            if stdio is not None:
                stdio.close()
        if walk.is_cancelled:
            raise SupervisorError("cancelled: what had not begun was not done")
        return {"times": [[number, *times] for number, times in walk.times.items()]}

    async def watch(self, request: Request) -> dict[str, Any]:
        """Events until the client leaves."""
        left = anyio.Event()
        self._project.hub.add(request.outbox)
        request.when_gone(left.set)
        try:
            request.send({"watching": True})
            await left.wait()
        finally:
            self._project.hub.remove(request.outbox)
        return {}

    async def exec(self, request: Request) -> dict[str, Any]:
        """A command in a running container."""
        execution = _Execution(self._project, request)
        return await execution.run()

    async def attach(self, request: Request) -> dict[str, Any]:
        """The standard input of a running container whose output is logged."""
        lane = self._project.lane(_text(request.params, "container"))
        if not lane.is_running:
            raise StateError(f"cannot attach to container {lane.record.name}: it is not running")
        master = self._project.services.terminal(lane.id)
        opened = [] if master else self._open_stdin(lane)
        try:
            request.send({"attached": True, "tty": bool(master)}, [*master, *opened])
        finally:
            _close_all(opened)
        return {}

    def _open_stdin(self, lane: Lane) -> list[int]:
        """The write end of the FIFO that is the container's standard input, if it has one."""
        directory = self._project.layout.container_run(self._project.name, lane.id)
        if not os.path.exists(f"{directory}/stdout"):
            raise StateError(f"cannot attach to container {lane.record.name}: its streams belong "
                             "to the command that has started it")  # fmt: skip
        if not lane.spec.stdin_open:
            return []
        return [os.open(f"{directory}/stdin", os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)]

    async def signal(self, request: Request) -> dict[str, Any]:
        """A signal to PID 1."""
        lane = self._project.lane(_text(request.params, "container"))
        lane.kill(str(request.params.get("signal", "SIGKILL")))
        return {}

    async def fault(self, request: Request) -> dict[str, Any]:
        """Put a fault on the network, or heal some or all; what holds now, and what has ended."""
        impairments = self._project.services.impairments
        added, ended = None, []
        if "add" in request.params:
            added = impairments.add(request.params["add"])
        if "heal" in request.params:
            ended = impairments.heal(request.params["heal"])
        return {"added": added, "ended": ended, "active": impairments.active()}

    async def info(self, request: Request) -> dict[str, Any]:
        """Who we are."""
        return {"pid": os.getpid(), "keeper_pid": self._project.keeper_pid,
                "version": __version__,
                "misses": self._project.services.misses.to_json()}  # fmt: skip


class _Execution:
    """One `exec` on its way."""

    def __init__(self, project: Project, request: Request) -> None:
        self._link = project.link
        self._hierarchy = project.hierarchy
        self._request = request
        self._lane, self._wish = _wish(project, request.params, len(request.fds))
        self._key = self._link.new_key("exec")
        self._signals: list[int] = []
        self._is_started = False
        self._is_detached = False
        request.on_message = self._heard

    async def run(self) -> dict[str, Any]:
        await self._link.wait_adopted()  # a new keeper does not know the container before
        conversation = self._link.open(self._key)
        try:
            return await self._run(conversation)
        except KeeperLost:
            raise SupervisorError(
                f"lost the command in {self._lane.record.name}: the keeper ended"
            ) from None
        finally:
            self._link.close(self._key)

    async def _run(self, conversation: Conversation) -> dict[str, Any]:
        wish, lane = self._wish, self._lane
        message = exec_request(
            lane.spec, lane.status.pid, exec_id=self._key, hierarchy=self._hierarchy,
            argv=wish.argv, environment=wish.environment,
            user=wish.user, cwd=wish.cwd, tty=wish.tty, privileged=wish.privileged, capture=False,
        )  # fmt: skip
        said = " ".join(wish.argv)
        await self._link.wait_adopted()
        lane.publish(f"exec_create: {said}", execID=self._key)
        self._link.send(message, self._request.fds)
        answer, master = await conversation.next()
        if answer.get("event") not in ("exec_started", "exec_exited"):
            raise launch_error(answer, subject=lane.record.name)
        lane.publish(f"exec_start: {said}", execID=self._key)
        try:
            self._request.send({"started": answer.get("pid", 0)}, master)
        finally:
            _close_all(master)
        if wish.detach:
            return {"exit_code": 0}
        self._is_started = True
        for number in self._signals:
            self._kill(number)
        self._request.when_gone(self._hang_up)
        if answer["event"] == "exec_started":
            answer, _ = await conversation.next()
        lane.publish("exec_die", execID=self._key, exitCode=str(answer.get("exit_code")))
        return {"exit_code": answer.get("exit_code")}

    def _heard(self, message: dict[str, Any]) -> None:
        if "signal" not in message:
            return
        number = signals.number(str(message["signal"]))
        if self._is_started:
            self._kill(number)
        else:
            self._signals.append(number)

    def _hang_up(self) -> None:
        self._kill(signals.HUP)

    def _kill(self, number: int) -> None:
        self._link.tell({"op": "exec_kill", "exec_id": self._key, "signal": number})


def _jobs(params: dict[str, Any]) -> list[Job]:
    found = params.get("jobs")
    if not isinstance(found, list):
        raise SupervisorError("bad request: no list of jobs")
    try:
        return [job_from_json(data) for data in found]
    except (KeyError, TypeError, AttributeError) as exc:
        raise SupervisorError(f"bad request: not a job: {exc}") from exc


def _limit(params: dict[str, Any]) -> int:
    found = params.get("parallel", 0)
    if not isinstance(found, int):
        raise SupervisorError("bad request: parallel is no number")
    return found


def _take_fds(request: Request, *, wants_stdio: bool) -> tuple[int, Stdio | None]:
    """The project lock and the streams of `run`; they leave the request."""
    if len(request.fds) not in ((1, 4) if wants_stdio else (1,)):
        raise SupervisorError(f"bad request: {len(request.fds)} descriptors with execute")
    lock, *streams = request.fds
    request.fds = []
    return lock, Stdio(streams) if wants_stdio else None


def _wish(project: Project, params: dict[str, Any], count: int) -> tuple[Lane, ExecRequest]:
    try:
        wish = ExecRequest(**{**params, "argv": tuple(map(str, params["argv"]))})
    except (KeyError, TypeError) as exc:
        raise SupervisorError(f"bad request: not an exec: {exc}") from exc
    if not wish.argv:
        raise SupervisorError("bad request: an exec without a command")
    wanted = 0 if wish.tty or wish.detach else 3
    if count != wanted:
        raise SupervisorError(f"bad request: {count} descriptors with exec, {wanted} wanted")
    lane = project.lane(wish.container)
    if not lane.is_running or lane.status.paused:
        state = "paused" if lane.status.paused else "not running"
        hint = "pcompose unpause lets it go on" if lane.status.paused else None
        raise StateError(f"cannot execute in container {lane.record.name}: it is {state}",
                         hint=hint)  # fmt: skip
    return lane, wish


def _text(params: dict[str, Any], key: str) -> str:
    value = params.get(key)
    if not isinstance(value, str):
        raise SupervisorError(f"bad request: no {key}")
    return value


def _close_all(descriptors: list[int]) -> None:
    for fd in descriptors:
        os.close(fd)
