"""What happened, as frozen values; everything that reports takes a `Sink`.

Events are made by the supervisor (over the control socket), by `image` and by `engine`; they are
turned into progress lines, JSON or assertions by others.  Nothing here prints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from orchestrator.dataclass import asdict, dataclass, field

Kind = Literal["Application", "Container", "Network", "Volume", "Image", "Service", "Snapshot"]
Status = Literal["Working", "Done", "Warning", "Error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One resource moved on: `Container p-web-1 Starting`; texts are those of docker compose."""

    kind: Kind
    name: str
    text: str
    status: Status
    details: str = ""
    current: int = 0
    total: int = 0
    time: float = 0.0
    """Seconds since the epoch."""

    @property
    def id(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged:
    """A container changed; `action` is create, start, die, oom, stop, kill, restart, destroy,
    health_status, `exec_create: COMMAND`, `exec_start: COMMAND` or exec_die."""

    action: str
    container: str
    """Full id."""
    name: str
    service: str
    index: int
    oneoff: bool = False
    exit_code: int | None = None
    health: str = ""
    restarting: bool = False
    time: float = 0.0
    attributes: dict[str, str] = field(default_factory=dict)
    """Labels of the user's own, image, name, and what belongs to the action: exitCode, signal."""

    @property
    def is_end(self) -> bool:
        """Whether it will not come back by itself: `die` alone does not say so where a policy
        restarts it, and a stop before that has no `die`."""
        return self.action in ("stop", "destroy") or (self.action == "die" and not self.restarting)


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """Something a user should read but that stops nothing."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """Something a user may want to know, between lines of containers: `Watch enabled`."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HookOutput:
    """A line that a hook of a container has written; `index` as in StateChanged."""

    name: str
    service: str
    index: int
    text: str


BuildStatus = Literal["Started", "Cached", "Done", "Error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildStep:
    """A step of an image's build moved on."""

    build: str
    """What is built: the service's image."""
    step: str
    """`[build 2/5] RUN make`."""
    status: BuildStatus
    details: str = ""
    """Started: why it was not in the cache; Done: how long it took."""
    stage: str = ""
    number: int = 0
    total: int = 0
    """Which step of how many of the stage."""
    time: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOutput:
    """What a step wrote: whole lines, without the last newline."""

    build: str
    step: str
    text: str
    time: float = 0.0


Event = Progress | StateChanged | Warned | Noted | HookOutput | BuildStep | BuildOutput
Sink = Callable[[Event], None]

_TYPES: dict[str, type[Event]] = {
    c.__name__: c
    for c in (Progress, StateChanged, Warned, Noted, HookOutput, BuildStep, BuildOutput)
}


def to_json(event: Event) -> dict[str, Any]:  # JSON has no narrower type
    """The event as plain data with its class name under `event`."""
    return {"event": type(event).__name__, **asdict(event)}


def from_json(data: dict[str, Any]) -> Event:
    """The event that `to_json` made."""
    fields = {k: v for k, v in data.items() if k != "event"}
    return _TYPES[data["event"]](**fields)


def ignore(event: Event) -> None:
    """A sink for those who do not listen."""
