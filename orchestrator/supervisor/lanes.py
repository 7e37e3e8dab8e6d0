"""Lane: one container's life: start, stop, kill, remove, exit, restart, as one thing after another.

A lane owns its container's status (in memory and in status.json) and nobody else changes it.
`launching.py` makes its process, `health.py` says what health means, `restart.py` which exits lead
to another start.  Starts, stops and removals of one container wait for each other; signals and
exits do not.
"""

from __future__ import annotations

import itertools
import math
import time
from typing import TYPE_CHECKING, Any

import anyio

from orchestrator import events
from orchestrator.dataclass import replace
from orchestrator.errors import LaunchError, PcomposeError, StateError
from orchestrator.names import LABEL_PREFIX
from orchestrator.runtime import process as processes
from orchestrator.runtime.process import Process
from orchestrator.runtime.spec import ContainerSpec
from orchestrator.state import store
from orchestrator.state.records import ContainerRecord, ContainerStatus
from orchestrator.supervisor import (
    faults,
    followers,
    launching,
    pausing,
    probes,
    removal,
    restart,
    signals,
)

if TYPE_CHECKING:
    from orchestrator.supervisor.launching import Stdio
    from orchestrator.supervisor.project import Project

RECHECKS = (0.005, 0.01, 0.02, 0.03, 0.035)
"""Seconds between looks at a PID 1 that does not catch the stop signal; 100 ms together: a program
that has only just been started may be about to install its handler."""
BLOCKED_RECHECK = 0.05
BLOCKED_LOOKS = 25
"""So often in a row the signal has to be found blocked to believe that sigwait(2) will fetch it:
a shell blocks signals for a moment whenever it starts a command."""
SETTLED = 2.0
"""Seconds after which a program that ignores the signal is taken at its word at once."""
KILL_PATIENCE = 30.0
ADOPTION = 5.0
"""Seconds a stop waits for a keeper that is just taking over."""
_HEARSAY = 5.0
"""Seconds until an end that can be seen has to have been told."""


class Lane:
    """One container."""

    def __init__(self, project: Project, record: ContainerRecord, status: ContainerStatus) -> None:
        self.project = project
        self.record = record
        self.spec = ContainerSpec.from_json(record.spec)
        self.status = status
        self.process: Process | None = None
        self.is_removed = False
        own = record.labels.items()
        self._described = {k: v for k, v in own if not k.startswith(LABEL_PREFIX)}
        self._described |= {"image": record.image, "name": record.name}
        self._turn = anyio.Lock()
        self._changed = anyio.Event()
        self._is_starting = False
        self._early_exit: dict[str, Any] | None = None
        self._delay: float | None = None
        self._scopes: dict[str, anyio.CancelScope] = {}
        """What runs beside the container: `restart`, `health`."""

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def is_running(self) -> bool:
        return self.status.state == "running"

    @property
    def is_starting(self) -> bool:
        """Between the first step of a start and its last."""
        return self._is_starting

    @property
    def is_waiting(self) -> bool:
        """Whether a restart is due."""
        return "restart" in self._scopes

    # -- what others see

    def update(self, **changes: Any) -> None:
        """Change the status, write it down and wake whoever waits for a change."""
        self.status = replace(self.status, **changes)
        if not self.is_removed:
            try:
                store.save_status(self.project.layout, self.project.name, self.id, self.status)
            except StateError as exc:  # a full disk must not end containers
                faults.report(exc, doing=f"writing the status of {self.record.name}")
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def changed(self) -> None:
        """Until the status changes next."""
        await self._changed.wait()

    def publish(self, action: str, **attributes: str) -> None:
        """Tell everybody who watches."""
        record, status = self.record, self.status
        self.project.hub.publish(events.StateChanged(
            action=action, container=record.id, name=record.name, service=record.service,
            index=record.index, oneoff=record.oneoff, health=status.health, time=time.time(),
            exit_code=status.exit_code if action in ("die", "stop") else None,
            restarting=status.state == "restarting", attributes={**self._described, **attributes},
        ))  # fmt: skip

    # -- start

    async def _hear_of_end(self) -> None:
        """Where the process has ended already, the keeper is about to say so."""
        with anyio.move_on_after(_HEARSAY):
            while self.is_running and self.process and not self.process.is_alive():
                await self.changed()

    async def start(self, stdio: Stdio | None = None) -> bool:
        """Start it if it does not run; whether it was started.  LaunchError, NetworkError."""
        async with self._turn:
            await self._hear_of_end()
            if self.is_running:
                return False
            self._cancel("restart")
            self._delay = None
            self.status = replace(self.status, restarts=0, stopped_by_user=False)
            await self._start(stdio)
            return True

    async def _start(self, stdio: Stdio | None = None) -> None:
        self._is_starting = True
        try:
            await launching.launch(self, stdio)
        except Exception as exc:
            error = faults.known(exc, doing=f"starting {self.record.name}")
            self._start_failed(error)
            raise error from exc
        finally:
            self._is_starting = False
        self.publish("start")
        self._watch_health()
        if self._early_exit is not None:
            self.ended(self._early_exit)

    def launched(self, process: Process, *, ports: list[dict[str, Any]]) -> None:
        """The process is there (its command not yet): from now on it counts as running, so that a
        supervisor that comes after a crash finds it."""
        self.process = process
        self._early_exit = None
        self.update(
            state="running", pid=process.pid, start_time=process.start_time,
            boot_id=self.project.boot_id, started_at=time.time(), finished_at=0.0, exit_code=None,
            error="", oom_killed=False, health="starting" if self.has_check else "",
            failing_streak=0, probes=[], first_probe_at=0.0, healthy_at=0.0, ports=ports,
            paused=False,
        )  # fmt: skip

    def _start_failed(self, error: PcomposeError) -> None:
        self._early_exit = None
        self._release()
        code = error.exit_code if isinstance(error, LaunchError) and error.exit_code > 1 else 128
        self.update(state="exited" if self.status.finished_at else "created", pid=0, start_time=0,
                    error=error.message, exit_code=code, health="", ports=[])  # fmt: skip

    @property
    def has_check(self) -> bool:
        check = self.spec.healthcheck
        return check is not None and bool(check.test) and check.test[0] != "NONE"

    def _watch_health(self) -> None:
        if self.has_check:
            self._beside("health", probes.watch, self)

    # -- exit

    def exited(self, message: dict[str, Any]) -> None:
        """The keeper says the process has ended; {"exit_code", "oom_killed", "time"}."""
        if self._is_starting:
            self._early_exit = message  # comes before we have read that the start succeeded
        else:
            self.ended(message)

    def ended(self, message: dict[str, Any]) -> None:
        """The process has ended: let go of what was its, decide whether it starts again."""
        self._early_exit = None
        if not self.is_running:
            return
        self._release()
        code = message.get("exit_code")
        at = float(message.get("time") or time.time())
        self.status = replace(self.status, exit_code=code, finished_at=at, pid=0, start_time=0)
        again = self._is_restarted(at)
        self.update(state="restarting" if again else "exited", health="", failing_streak=0,
                    oom_killed=bool(message.get("oom_killed")), ports=[],
                    paused=False)  # fmt: skip
        if self.status.oom_killed:
            self.publish("oom")
        self.publish("die", exitCode=str(code))
        if again:
            self._delay = restart.next_delay(self._delay, ran_for=at - self.status.started_at)
            self._beside("restart", self._restart, self._delay)
        elif self.spec.remove_on_exit:
            self.project.group.start_soon(self._remove_quietly)
        self.project.check_idle()

    def _is_restarted(self, at: float) -> bool:
        end = restart.Exit(
            exit_code=self.status.exit_code, ran_for=at - self.status.started_at,
            restarts=self.status.restarts, stopped_by_user=self.status.stopped_by_user,
        )  # fmt: skip
        return restart.is_restarted(self.spec.restart, end, retries=self.spec.restart_retries)

    def _release(self) -> None:
        """What belongs to a running process only."""
        self._cancel("health")
        if self.process is not None:
            self.process.close()
            self.process = None
        self.project.services.release(self.id)

    async def _restart(self, delay: float) -> None:
        await anyio.sleep(delay)
        async with self._turn:
            if self.status.state != "restarting":
                return
            self._scopes.pop("restart", None)  # from here on a stop waits for its turn
            with anyio.CancelScope(shield=True):
                await self._start_again()

    async def _start_again(self) -> None:
        self.status = replace(self.status, restarts=self.status.restarts + 1)
        try:
            await self._start()
            self.project.group.start_soon(followers.follow, self)
        except PcomposeError as exc:
            faults.note(f"cannot restart {self.record.name}: {exc.message}")
            if self._is_restarted(self.status.started_at):
                self.update(state="restarting", finished_at=time.time())
                self._delay = restart.next_delay(self._delay, ran_for=0.0)
                self._beside("restart", self._restart, self._delay)
            self.project.check_idle()

    async def start_anew(self, *, because: str) -> None:
        """Stop and start it, whatever its policy says: `because` names the container whose
        namespace it shares and that is another process now."""
        async with self._turn:
            if not self.is_running:
                return
            faults.note(f"{self.record.name} is started again: it shares with {because}")
            with anyio.CancelScope(shield=True):
                await self._stop(self.spec.stop_grace_period)
                self._cancel("restart")
                await self._start_again()

    async def _remove_quietly(self) -> None:
        try:
            await self.remove(volumes=True)
        except PcomposeError as exc:
            faults.note(f"cannot remove {self.record.name}: {exc.message}")
            self.publish("destroy")  # `run --rm` waits for it; what is left the next `down` takes
        self.project.check_idle()

    # -- stop, kill, remove

    async def stop(self, timeout: float | None = None) -> bool:
        """Stop it and silence its restart policy; whether it ran."""
        async with self._turn:
            ran, was_waiting = self.is_running, self.status.state == "restarting"
            self._silence()
            if ran:
                with anyio.move_on_after(ADOPTION):  # else its last words had no reader
                    await self.project.link.wait_adopted()
                await self._stop(self.spec.stop_grace_period if timeout is None else timeout)
            if ran or was_waiting:  # who heard that it would come back hears that it will not
                self.publish("stop")
            return ran

    def _silence(self) -> None:
        self._cancel("restart")
        state = "exited" if self.status.state == "restarting" else self.status.state
        if not self.status.stopped_by_user or state != self.status.state:
            self.update(state=state, stopped_by_user=True)
        self.project.check_idle()

    async def _stop(self, grace: float) -> None:
        number = signals.number(self.spec.stop_signal)
        self._signal(number)
        await self._thaw()
        with anyio.move_on_after(math.inf if grace < 0 else grace):
            if await self._obeys(number):
                await self._ended()
        await self._make_end()

    async def _obeys(self, number: int) -> bool:
        """Whether it is worth waiting for the signal to be obeyed.  The kernel drops signals that
        a PID 1 neither catches nor blocks, so nothing would ever come of them."""
        is_young = time.time() - self.status.started_at < SETTLED
        was_dropped, blocked = False, 0
        for look, delay in enumerate(itertools.chain(RECHECKS, itertools.repeat(BLOCKED_RECHECK))):
            reaction = self._reaction(number)
            if was_dropped and reaction != processes.DROPS and self.process is not None:
                self.process.signal(number)
            was_dropped = reaction == processes.DROPS
            blocked = blocked + 1 if reaction == processes.BLOCKS else 0
            if reaction == processes.TAKES or blocked > BLOCKED_LOOKS:
                return True
            if was_dropped and not (is_young and look < len(RECHECKS)):
                return False
            with anyio.move_on_after(delay):
                await self._ended()
        raise AssertionError("it is looked at without end")

    def _reaction(self, number: int) -> str:
        if self.process is None or number == signals.KILL:
            return processes.TAKES
        pid1 = processes.effective_pid1(self.process.pid, has_init=self.spec.init)
        return processes.reaction(pid1, number)

    def _signal(self, number: int) -> None:
        if self.process is not None:
            self.process.signal(number)
            self.publish("kill", signal=str(number))

    async def _ended(self) -> None:
        while self.is_running:
            await self.changed()

    async def _make_end(self) -> None:
        if self.is_running:
            self._signal(signals.KILL)
            await self._thaw()
        with anyio.move_on_after(KILL_PATIENCE):
            await self._ended()
        if self.is_running:
            raise StateError(f"cannot stop {self.record.name}: pid {self.status.pid} does not end",
                             hint="a process may hang in the kernel; see /proc/PID/stack")

    def kill(self, name: str) -> None:
        """Send a signal to PID 1 at once; one that means an end silences the restart policy."""
        number = signals.number(name)
        if not self.is_running or self.process is None:
            raise StateError(f"cannot kill container {self.record.name}: it is not running")
        if number in (signals.KILL, signals.TERM, signals.number(self.spec.stop_signal)):
            self.update(stopped_by_user=True)
        self._signal(number)
        if number == signals.KILL and self.status.paused:  # the frozen of version 1 do not die
            self._beside("thaw", self._thaw)

    # -- pause

    async def pause(self) -> None:
        """Let all its processes stand still; its probes rest meanwhile."""
        async with self._turn:
            if not self.is_running or self.status.paused:
                state = "paused already" if self.status.paused else "not running"
                raise StateError(f"cannot pause container {self.record.name}: it is {state}")
            await pausing.freeze(self)
            self._cancel("health")
            self.update(paused=True)
            self.publish("pause")

    async def unpause(self) -> None:
        """Let them go on."""
        async with self._turn:
            if not self.status.paused:
                raise StateError(f"cannot unpause container {self.record.name}: it is not paused")
            await self._thaw()
            self._watch_health()

    async def _thaw(self) -> None:
        if not self.status.paused:
            return
        await pausing.thaw(self)
        if self.is_running:
            self.update(paused=False)
            self.publish("unpause")

    async def remove(self, *, volumes: bool, force: bool = False) -> None:
        """Remove everything of it; `volumes`: also its anonymous volumes, unless inherited."""
        async with self._turn:
            if self.is_removed:
                return
            if self.is_running and not force:
                raise StateError(f"cannot remove container {self.record.name}: it is running",
                                 hint="stop it first")
            self._silence()
            await self._make_end()
            self.is_removed = True
            await removal.remove(self, with_volumes=volumes)
            self.status = replace(self.status, state="dead")
        self.publish("destroy")
        self._wake()

    # -- another supervisor was here before

    def adopt(self) -> bool:
        """Take over what runs; False where it has ended meanwhile (then `ended` is due)."""
        status = self.status
        if status.boot_id == self.project.boot_id:
            self.process = Process.adopt(status.pid, status.start_time)
        if self.process is None:
            return False
        if not status.paused:
            self._watch_health()
        return True

    def resume_restart(self) -> None:
        """Go on with a back-off another supervisor began."""
        status = self.status
        ran_for = status.finished_at - status.started_at
        delay = restart.resumed_delay(restarts=status.restarts, ran_for=ran_for,
                                      since_exit=time.time() - status.finished_at)
        self._beside("restart", self._restart, delay)

    # -- what runs beside

    def _beside(self, name: str, function: Any, *args: Any) -> None:
        self._cancel(name)
        scope = self._scopes[name] = anyio.CancelScope()
        self.project.group.start_soon(self._guarded, scope, name, function, args)

    async def _guarded(
        self, scope: anyio.CancelScope, name: str, function: Any, args: tuple[Any, ...]
    ) -> None:
        """One lane's fault must not end the others."""
        with scope:
            try:
                await function(*args)
            except Exception as exc:
                error = faults.known(exc, doing=f"the {name} of {self.record.name}")
                # whoever waits for its health must not wait for ever
                self.update(error=error.message, health="unhealthy" if self.has_check else "")

    def _cancel(self, name: str) -> None:
        scope = self._scopes.pop(name, None)
        if scope is not None:
            scope.cancel()
