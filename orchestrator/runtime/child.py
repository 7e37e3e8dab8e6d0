"""The process between clone and exec: `for step in steps: step.execute()`, and nothing else.

Everything it needs is imported before the clone.  What fails goes to the keeper as one message over
a CLOEXEC socket; the end of that stream without a message means that exec has happened.
"""

from __future__ import annotations

import _signal as signals  # type: ignore[import-not-found]  # `signal` costs an import of `enum`
import gc
import os

from orchestrator.linux import syscalls
from orchestrator.runtime import (
    command,
    devices,
    enter,
    filesystem,
    groups,
    joining,
    material,
    populate,
    privilege,
    roothook,
    sysctl,
)
from orchestrator.runtime.steps import Child, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

KINDS: dict[str, type[Step]] = {
    kind.__name__: kind
    for module in (command, devices, enter, filesystem, groups, joining, material, populate,
                   privilege, roothook, sysctl)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Step) and kind is not Step
}
IGNORED_BY_KEEPER = (1, 2, 13, 15, 25)
"""SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGXFSZ: an ignored signal stays ignored over exec."""


def step_from_json(data: dict[str, Any]) -> Step:
    """The step `Step.to_json` made; KeyError or TypeError where it is not one."""
    fields = dict(data)
    return KINDS[fields.pop("step")](**fields)


def run(child: Child, steps: Sequence[dict[str, Any] | Step]) -> None:
    """Execute the steps (the keeper's are JSON: they are made here, beside it and not in it);
    never returns.  For use right after `clone` gave 0."""
    step: Step | None = None
    try:
        gc.disable()
        _close_others(child)
        _reset()
        work = [each if isinstance(each, Step) else step_from_json(each) for each in steps]
        for step in work:
            step.execute(child)
    except BaseException as exc:
        _report(child, step, exc)
    finally:
        os._exit(1)


def _close_others(child: Child) -> None:
    """Everything of the keeper's: its peers must see the end of what it closes while we wait."""
    first = 3
    for fd in sorted({child.channel.fileno(), *child.given, child.container}):
        if fd > first:
            syscalls.close_range(first, fd - 1)
        first = max(first, fd + 1)
    syscalls.close_range(first, 0xFFFF_FFFF)


def _reset() -> None:
    """What the keeper set for itself and exec would keep."""
    syscalls.set_parent_death_signal(signals.SIGKILL)
    for number in IGNORED_BY_KEEPER:
        signals.signal(number, signals.SIG_DFL)
    signals.pthread_sigmask(signals.SIG_SETMASK, ())
    os.umask(0o022)
    os.setsid()


def _report(child: Child, step: Step | None, exc: BaseException) -> None:
    """Tell the keeper; if it is gone there is nobody to tell."""
    number = exc.errno if isinstance(exc, OSError) and exc.errno else 0
    text = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
    path = exc.filename if isinstance(exc, OSError) else None
    child.channel.send({
        "step": step.describe() if step else "start", "kind": type(step).__name__,
        "errno": number, "path": path if isinstance(path, str) else "", "message": text,
    })  # fmt: skip
