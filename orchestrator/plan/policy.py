"""What the user asked for beside the files: frozen options of planning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Recreate = Literal["diverged", "force", "never"]
Ports = Literal["fixed", "auto", "none"]
Build = Literal["missing", "always", "never"]


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
    timeout: float | None = None
    """Seconds to stop a container that is replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownPolicy:
    """Options of `down`, `stop` and `rm`."""

    services: tuple[str, ...] = ()
    timeout: float | None = None
    volumes: bool = False
    remove_orphans: bool = False
