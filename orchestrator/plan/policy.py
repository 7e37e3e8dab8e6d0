"""What the user asked for beside the files: frozen options of planning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from orchestrator.dataclass import dataclass, field

Recreate = Literal["diverged", "force", "never"]
Ports = Literal["fixed", "auto", "none"]
Build = Literal["missing", "always", "never"]
Pull = Literal["", "always", "missing", "never", "build"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How long the project is to live; None: no matter.  Times are seconds."""

    ttl: float | None = None
    """From now on; 0: what was said before does not count any more."""
    holder: int | None = None
    """The pid of a process: as long as it, and others who hold the project, live."""
    idle: float | None = None
    """So long after its last use; with a holder, after that one's end."""
    volumes: bool = False
    """Its volumes go with it, and no container is given time to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpPolicy:
    """Options of `up`, `create`, `run` and `plan`."""

    services: tuple[str, ...] = ()
    """Named on the command line; empty: all."""
    with_dependencies: bool = True
    """False: --no-deps."""
    recreate: Recreate = "diverged"
    recreate_dependencies: Recreate = "diverged"
    scale: Mapping[str, int] = field(default_factory=dict)
    ports: Ports = "fixed"
    """Of the host: as the files say; another one where that is taken; none at all."""
    remove_orphans: bool = False
    ignore_orphans: bool = False
    renew_anonymous_volumes: bool = False
    renew_volumes: tuple[str, ...] = ()
    """Volumes to be made again, and with them every container that has one."""
    all_resources: bool = False
    """Also the networks and volumes that no service uses."""
    separator: str = "-"
    """Between the parts of a container's name; `_` with --compatibility."""
    start: bool = True
    """False: --no-start."""
    build: Build = "missing"
    """Which images are built before: those that are not there, all (--build), none."""
    pull: Pull = ""
    """Which images are pulled before, whatever the services say; empty: what they say."""
    timeout: float | None = None
    """Seconds to stop a container that is replaced."""
    terms: Terms | None = None
    """None: as it was, for ever where nothing was said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownPolicy:
    """Options of `down`, `stop` and `rm`."""

    services: tuple[str, ...] = ()
    timeout: float | None = None
    volumes: bool = False
    remove_orphans: bool = False
