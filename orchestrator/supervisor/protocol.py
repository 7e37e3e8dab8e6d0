"""The words between a command and the supervisor of a project: jobs, requests, answers.

JSON lines over `control.sock`, file descriptors by SCM_RIGHTS (`linux.fds.Channel`).  The
supervisor begins with {"hello": VERSION} (`client.connect` reads it): whoever gets it is served,
whoever gets the end instead met a supervisor that was ending and asks the next one.  One connection
carries one request:

    execute  {jobs: […], stdio?: job id, parallel?: n} + fds
                                                  events…, then result {times: [[job id, began,
                                                  ended]…]} (seconds since the epoch) or error
             No more than `parallel` jobs are under way at once, those that only wait not counted.
             fds: first the project lock (held by the supervisor until it is done, so that the next
             command waits even if this one is killed), then stdin, stdout, stderr where `stdio`
             names the StartContainer job they belong to (`run`).  If that container has a tty only
             the lock is sent, and {"tty": id} + fd of the pty's master comes back once it runs.
             The end of the connection cancels what has not begun.
    watch    {}                                   {"watching": true}, then StateChanged events until
                                                  either side closes
    exec     {container, argv, environment, user, cwd, tty, privileged, detach} + stdin, stdout,
             stderr (none if tty or detach)       {"started": pid} [+ fd of the pty's master], then
                                                  result {"exit_code": n}
             the client may send {"signal": "SIGINT"} meanwhile; its end of connection sends SIGHUP
    attach   {container}                          {"attached": true, "tty": bool} + the container's
                                                  standard input, if it has one: its FIFO or its
                                                  pty's master; then result {}.  What it writes is
                                                  in its log.
    signal   {container, signal}                  result {}
    fault    {add?: {kind, services, value}, heal?: ids, null: all}
                                                  result {added, ended, active}: each has an id
    info     {}                                   result {pid, keeper_pid, version, misses}

Every request has "v": VERSION and "method"; every answer is one of {"event": …},
{"result": {…}}, {"error": PcomposeError.to_json()}, {"started"|"tty"|"watching": …}.
"""

from __future__ import annotations

from typing import Any

from orchestrator.dataclass import asdict, dataclass, field

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Base: one side effect; begins when all jobs named in `after` are done."""

    number: int
    after: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateNetwork(Job):
    """`record` is NetworkRecord.to_json(), already written with its subnet by the engine."""

    record: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveNetwork(Job):
    """In use: a warning, not an error."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVolume(Job):
    """`record` is VolumeRecord.to_json()."""

    record: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveVolume(Job):
    """With all data."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateContainer(Job):
    """`record` is ContainerRecord.to_json(); also makes its anonymous volumes."""

    record: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartContainer(Job):
    """Already running: nothing to do."""

    container: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopContainer(Job):
    """Already stopped: nothing to do, but restart policies are silenced."""

    container: str
    timeout: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KillContainer(Job):
    """Send a signal to PID 1."""

    container: str
    signal: str = "SIGKILL"


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseContainer(Job):
    """Freeze all its processes."""

    container: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpauseContainer(Job):
    """Let them go on."""

    container: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveContainer(Job):
    """Stopped containers only, unless `force`."""

    container: str
    volumes: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetProject(Job):
    """The records that are left, its lease too, where it has no container and no network any more;
    the last job of a project, for which nobody but the supervisor needs to live on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHooks(Job):
    """The container's hooks of `phase`, one after the other; a failing one is an error.

    pre_start: containers made after the container, which does not run yet, with its addresses and
    volumes; each is removed when it has succeeded.  post_start: nothing to do unless this request
    has started the container.  pre_stop: nothing to do unless it runs."""

    container: str
    phase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitFor(Job):
    """Until every container in `containers` has met `condition`: running, service_healthy,
    service_completed_successfully, or ready (healthy where there is a check, else running; an
    exit with code 0 and no restart policy counts as ready)."""

    containers: tuple[str, ...]
    condition: str
    service: str
    """What is waited for."""
    dependent: str
    """Who waits; empty: the user (`--wait`)."""
    origin: str = ""
    """`compose.yaml:7`, where somebody said so."""
    required: bool = True
    timeout: float | None = None
    """Seconds from the beginning of the request."""


KINDS: dict[str, type[Job]] = {
    c.__name__: c
    for c in (CreateNetwork, RemoveNetwork, CreateVolume, RemoveVolume, CreateContainer,
              StartContainer, StopContainer, KillContainer, PauseContainer, UnpauseContainer,
              RemoveContainer, ForgetProject, RunHooks, WaitFor)
}  # fmt: skip


def job_to_json(job: Job) -> dict[str, Any]:  # JSON has no narrower type
    """The job as plain data with its class name under `job`."""
    return {"job": type(job).__name__, **asdict(job)}


def job_from_json(data: dict[str, Any]) -> Job:
    """The job that `job_to_json` made; KeyError or TypeError where it is not one."""
    values: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k != "job"
    }
    return KINDS[data["job"]](**values)


BROKEN_OFF = (RunHooks, WaitFor)
"""Jobs that end when their request is cancelled; others are brought to their end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecRequest:
    """A command in a running container."""

    container: str
    argv: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    """Added to the container's own."""
    user: str = ""
    cwd: str = ""
    tty: bool = False
    privileged: bool = False
    detach: bool = False
