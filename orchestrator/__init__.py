"""pcompose: a Compose-Specification orchestrator with its own container runtime.

    import orchestrator

    project = orchestrator.Project.load("compose.yaml")
    project.up(wait=True)

Importing this imports nothing: the keeper passes through it on its way to `runtime.keeper`, and
every millisecond here is paid by every command.  The names below come when they are first used.
"""

__version__ = "0.1.0"
__all__ = ["AsyncProject", "DownPolicy", "PcomposeError", "Project", "RunOptions", "UpPolicy"]

TYPE_CHECKING = False  # of typing, which costs 11 ms
if TYPE_CHECKING:
    from orchestrator.aio import AsyncProject as AsyncProject
    from orchestrator.engine.oneoff import RunOptions as RunOptions
    from orchestrator.errors import PcomposeError as PcomposeError
    from orchestrator.live import LiveProject as Project
    from orchestrator.plan.policy import DownPolicy as DownPolicy
    from orchestrator.plan.policy import UpPolicy as UpPolicy

_HOMES = {
    "AsyncProject": "aio.AsyncProject", "DownPolicy": "plan.policy.DownPolicy",
    "PcomposeError": "errors.PcomposeError", "Project": "live.LiveProject",
    "RunOptions": "engine.oneoff.RunOptions", "UpPolicy": "plan.policy.UpPolicy",
}  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, _, found = _HOMES[name].rpartition(".")
    return getattr(import_module(f"{__name__}.{module}"), found)
