"""The tree of errors; the words a user reads and the exit code a script reads.

    PcomposeError                 message, hint, exit_code; the only thing `cli.main` catches
    ├── UsageError                flags and arguments
    ├── SpecError                 the files say something wrong: `problems` with file:line:col
    │   └── BuildError            an image cannot be built: Dockerfile:line:col
    ├── PlanError                 the wish cannot become a plan
    │   └── CycleError            services that wait for each other
    ├── ImageError                store, archives, unpacking
    │   ├── ImageNotFoundError    no such image here
    │   └── RegistryError         a registry is out of reach, refuses, or answers nonsense
    ├── NetworkError              bridges, addresses, names
    │   └── PortInUseError        somebody holds the port already
    ├── LaunchError               a step of a container's start failed: (step, errno, path)
    │   ├── CommandNotFoundError      exit 127
    │   └── CommandNotExecutableError exit 126
    ├── StateError                records and locks on disk
    │   └── LockHeldError         another command works on the project
    ├── DependencyError           a service that others wait for failed
    ├── HookError             a pre_start, post_start or pre_stop command failed
    ├── DeadlineError             it took longer than was allowed
    ├── SupervisorError           the supervisor went away or speaks another version
    └── InternalError             our own fault: please report

A message says what failed, on which object, and why: lower case, no full stop.  The hint, on a
line of its own, says what to do.  Errors travel over the control socket as JSON (`to_json`,
`from_json`), so a fault in the supervisor is printed by the command that asked.
"""

from __future__ import annotations

TYPE_CHECKING = False  # that of typing costs every command 5 ms
if TYPE_CHECKING:
    from typing import Any, ClassVar, Self


class PcomposeError(Exception):
    """Base of all that a user may meet; `exit_code` is the code of the command."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def to_json(self) -> dict[str, Any]:  # JSON has no narrower type
        """The error as plain data; `from_json` gives back the same class."""
        return {"type": type(self).__name__, "message": self.message, "hint": self.hint}


class UsageError(PcomposeError):
    """A flag or an argument is wrong, or two exclude each other."""


class SpecError(PcomposeError):
    """The files are wrong; each problem is `(where, message, hint)`, where is `file:line:col`."""

    def __init__(
        self, message: str, *, hint: str | None = None, where: str = "",
        problems: tuple[tuple[str, str, str | None], ...] = (),
    ) -> None:
        self.problems = problems or ((where, message, hint),)
        texts = [f"{place}: {text}" if place else text for place, text, _ in self.problems]
        super().__init__("\n".join(texts), hint=hint if len(self.problems) == 1 else None)


class BuildError(SpecError):
    """An image cannot be built; `where` is `Dockerfile:line:col`, empty where no line is at fault.
    """


class PlanError(PcomposeError):
    """The wish cannot become a plan."""


class CycleError(PlanError):
    """Services wait for each other in a circle; the message shows the path."""


class ImageError(PcomposeError):
    """The image store, an archive or a layer is not as it must be."""

    def about(self, what: str) -> Self:
        """The same error with `what` before it: `cannot pull redis:7`."""
        return type(self)(f"{what}: {self.message}", hint=self.hint)


class ImageNotFoundError(ImageError):
    """No image of that name is in the store."""


class RegistryError(ImageError):
    """A registry cannot be reached, refuses what is asked, or answers what makes no sense."""


class NetworkError(PcomposeError):
    """A bridge, an address or a name cannot be set up."""


class PortInUseError(NetworkError):
    """A host port that is to be published is held by somebody else."""


class LaunchError(PcomposeError):
    """A container could not be started; the message names the step and the path."""


class CommandNotFoundError(LaunchError):
    """The command does not exist in the container."""

    exit_code = 127


class CommandNotExecutableError(LaunchError):
    """The command exists in the container but the kernel refuses to run it."""

    exit_code = 126


class StateError(PcomposeError):
    """A record or a directory of ours cannot be read or written."""


class LockHeldError(StateError):
    """Another command is changing the same project."""


class DependencyError(PcomposeError):
    """A dependency exited, became unhealthy or did not complete."""


class HookError(PcomposeError):
    """A hook ended with another code than 0; the message has the end of its output."""


class DeadlineError(PcomposeError):
    """Something took longer than was allowed."""


class SupervisorError(PcomposeError):
    """The supervisor could not be started, went away or speaks another protocol."""


class InternalError(PcomposeError):
    """A bug of ours."""


def _subclasses(cls: type[PcomposeError]) -> dict[str, type[PcomposeError]]:
    found = {cls.__name__: cls}
    for child in cls.__subclasses__():
        found.update(_subclasses(child))
    return found


def from_json(data: dict[str, Any]) -> PcomposeError:
    """The error that `to_json` made; an unknown type becomes `InternalError`."""
    cls = _subclasses(PcomposeError).get(str(data.get("type")), InternalError)
    error = cls(str(data.get("message")), hint=data.get("hint"))
    return error
