"""The model of how a service's image comes to be and how it is worked on: `build` and `develop`.

Frozen values in the words of the Compose specification, as in `model`, which see.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from orchestrator.dataclass import dataclass, field
from orchestrator.spec.parts_model import Grant, Hook, Ulimit

WatchAction = Literal["rebuild", "restart", "sync", "sync+restart", "sync+exec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """`build`; None and empty: not said."""

    context: str | None = None
    """An absolute directory or a URL; None for `build: ""`."""
    dockerfile: str | None = None
    """Relative to the context; None where `dockerfile_inline` is given."""
    dockerfile_inline: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    """Names without a value that the project's environment has none for are left out."""
    labels: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    tags: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    additional_contexts: Mapping[str, str] = field(default_factory=dict)
    """name -> absolute directory, URL, `service:NAME`, `docker-image://REF` or `oci-layout://…`."""
    secrets: tuple[Grant, ...] = ()
    """A secret's id in the build is its `target`, else its `source`."""
    ssh: Mapping[str, str | None] = field(default_factory=dict)
    """id -> absolute path of a key or socket; None: the agent of the caller."""
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    pull: bool = False
    network: str | None = None
    extra_hosts: tuple[tuple[str, str], ...] = ()
    """(host, address), for RUN."""
    shm_size: int | None = None
    """Bytes."""
    ulimits: tuple[Ulimit, ...] = ()
    privileged: bool = False
    entitlements: tuple[str, ...] = ()
    provenance: str | None = None
    sbom: str | None = None
    isolation: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRule:
    """One entry of `develop.watch`."""

    path: str
    """Absolute."""
    action: WatchAction
    target: str | None = None
    ignore: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    initial_sync: bool = False
    exec: Hook | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Develop:
    """`develop`."""

    watch: tuple[WatchRule, ...] = ()
