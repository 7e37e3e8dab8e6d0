"""What is asked of a build, and the collaborators it gets: values and the seams of the area.

Knows neither Compose files nor where things are kept; `engine` fills these in.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from orchestrator.dataclass import dataclass, field
from orchestrator.errors import BuildError
from orchestrator.events import Sink

if TYPE_CHECKING:
    from orchestrator.image.steps import Step
    from orchestrator.image.store import Image, ImageStore
    from orchestrator.runtime.spec import File, Mount


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """One image to be built."""

    name: str
    """What progress calls it."""
    dockerfile: str
    """Its text."""
    file: str
    """Its name for messages."""
    slot: str
    """What identifies the build between two runs, for explanations only."""
    context: str | None = None
    """A directory; None: there is none."""
    ignore: str | None = None
    """The text of its .dockerignore; None: there is none."""
    ignore_file: str = ".dockerignore"
    contexts: Mapping[str, str] = field(default_factory=dict)
    """Named contexts that are directories."""
    images: Mapping[str, Image] = field(default_factory=dict)
    """Named contexts that are images."""
    args: Mapping[str, str] = field(default_factory=dict)
    own_args: tuple[str, ...] = ()
    """Those that are meant for this build alone: one that no ARG takes is worth a warning."""
    target: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    platform: str = ""
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    network: str = "default"
    hosts: tuple[tuple[str, str], ...] = ()
    shm_size: int = 64 << 20
    rlimits: tuple[tuple[str, int, int], ...] = ()
    entitlements: frozenset[str] = frozenset()
    """`network.host`, `security.insecure`."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """id -> file."""
    ssh: Mapping[str, str] = field(default_factory=dict)
    """id -> socket of an agent."""
    date: int | None = None
    """SOURCE_DATE_EPOCH."""
    explain: bool = False
    inline_cache: bool = False
    """The image says itself which steps it was made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """A command in a container of its own."""

    title: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: str
    user: str
    lowers: tuple[str, ...]
    """Top first."""
    upper: str
    scratch: str
    """An empty directory beside it, for the run only."""
    host_usr: bool = False
    mounts: tuple[Mount, ...] = ()
    files: tuple[File, ...] = ()
    network: str = "default"
    is_insecure: bool = False
    """All capabilities and no filter of system calls."""
    hosts: tuple[tuple[str, str], ...] = ()
    shm_size: int = 64 << 20
    rlimits: tuple[tuple[str, int, int], ...] = ()


Output = Callable[[bytes], None]


class Runner(Protocol):
    """Runs a command to its end."""

    def __call__(self, request: RunRequest, *, output: Output, cancel: threading.Event) -> int:
        """Its exit code; `output` gets what it writes.  LaunchError where it cannot be started;
        once `cancel` is set it is killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drivers:
    """What a build works with."""

    store: ImageStore
    find_image: Callable[[str, str], Image]
    """By name and platform (empty: one that runs here).  ImageNotFoundError with what there is."""
    run: Runner
    sink: Sink
    gate: threading.Semaphore
    """Limits how many steps are executed at a time."""
    cancel: threading.Event
    """Set when the build is given up."""
    fetch_cache: Callable[[], bool] = lambda: False
    """Called when a step is not in the cache; true: it may be now."""
    used: dict[str, Step] = field(default_factory=dict)
    """Filled by the build: the steps it was made of, by key."""


class CancelledError(BuildError):
    """Another stage failed, or the user gave up: not told, it is no reason itself."""
