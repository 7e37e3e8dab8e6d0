"""What a plan is made of: one frozen class per kind of side effect.

`cause` says in words why the action is needed; `str(action)` is the text that `plan` prints and
tests assert.  Containers are named by name; where two generations of one name exist, `container`
(the id) tells which.
"""

from __future__ import annotations

from typing import Literal

from orchestrator.dataclass import dataclass
from orchestrator.names import short

Phase = Literal["pre_start", "post_start", "pre_stop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Base; `subject` is the resource's name."""

    subject: str
    cause: str = ""

    def __str__(self) -> str:
        words = f"{type(self).__name__} {self.subject}"
        return f"{words} ({self.cause})" if self.cause else words


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateNetwork(Action):
    """Make the bridge of a network; `subject` is the full name."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveNetwork(Action):
    """Remove a bridge and its record; a network still in use is left, with a warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVolume(Action):
    """Make the directory of a named volume."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveVolume(Action):
    """Remove a volume with its data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateContainer(Action):
    """Write the record of a new container; nothing runs yet."""

    service: str
    index: int
    replaces: str | None = None
    """Id of the container whose anonymous volumes and addresses it inherits."""
    inherit_volumes: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StartContainer(Action):
    """Start a created or stopped container.  `container` is its id, or None for the one that
    `CreateContainer` of this plan makes under the same name."""

    service: str
    index: int
    container: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StopContainer(Action):
    """Send the stop signal, wait the grace period, kill."""

    service: str
    container: str
    timeout: float | None = None
    """Seconds; None: the container's own grace period."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KillContainer(Action):
    """Send a signal to PID 1; nothing is waited for."""

    service: str
    container: str
    signal: str = "SIGKILL"

    def __str__(self) -> str:
        return f"KillContainer {self.subject} {self.signal}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveContainer(Action):
    """Remove a stopped container: root, logs, records."""

    service: str
    container: str
    volumes: bool = False
    """Also its anonymous volumes."""
    force: bool = False
    """Whatever it is: a leftover without a record may even have a process."""

    def __str__(self) -> str:
        words = f"RemoveContainer {self.subject} {short(self.container)}"
        return f"{words} ({self.cause})" if self.cause else words


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHooks(Action):
    """Run what the container's `pre_start`, `post_start` or `pre_stop` (the `phase`) says.
    `container` as for StartContainer."""

    service: str
    phase: Phase
    container: str | None = None

    def __str__(self) -> str:
        return f"RunHooks {self.subject} {self.phase}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitFor(Action):
    """Hold back what depends on this until `service` has met `condition`; `subject` is the
    service that waits."""

    service: str
    condition: str
    required: bool = True

    def __str__(self) -> str:
        return f"WaitFor {self.service} {self.condition} (needed by {self.subject})"
