"""The canonical model: what the files mean once every phase has run.

Frozen values.  All short forms are long, all paths absolute, all variables replaced, all units
converted: seconds as float, sizes as int bytes.  A field that is None was not said (the image or
the default decides later, in `engine.resolve`).  Field names are those of the Compose
specification.  Keys the specification has and this model lacks are refused by `spec.check`
with their place; none is dropped silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.spec.node import Node
from orchestrator.spec.tree import Mark, Marks, Path, nearest

Condition = Literal["service_started", "service_healthy", "service_completed_successfully"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """One entry of `depends_on`."""

    service: str
    condition: Condition = "service_started"
    restart: bool = False
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """`healthcheck`; None means: take the image's, else the default."""

    test: tuple[str, ...] | None = None
    """Starts with NONE, CMD or CMD-SHELL."""
    interval: float | None = None
    timeout: float | None = None
    retries: int | None = None
    start_period: float | None = None
    start_interval: float | None = None
    disable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One published port; ranges have been expanded except `published` ranges to choose from."""

    target: int
    published: str | None = None
    """`8080`, a range `8000-8010` to choose a free one from, or None: ephemeral."""
    host_ip: str | None = None
    protocol: Literal["tcp", "udp"] = "tcp"
    mode: str = "ingress"
    name: str | None = None
    app_protocol: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeMount:
    """One entry of `volumes`."""

    type: Literal["bind", "volume", "tmpfs"]
    source: str | None
    """bind: absolute host path; volume: top-level key, None: anonymous; tmpfs: None."""
    target: str
    read_only: bool = False
    nocopy: bool = False
    create_host_path: bool = True
    propagation: str = "rprivate"
    tmpfs_size: int | None = None
    tmpfs_mode: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceNetwork:
    """One entry of a service's `networks`."""

    network: str
    """Top-level key."""
    aliases: tuple[str, ...] = ()
    ipv4_address: str | None = None
    mac_address: str | None = None
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ulimit:
    """One entry of `ulimits`; -1 is infinity."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    """`logging`: drivers json-file and local, options max-size and max-file."""

    driver: str = "json-file"
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service; None: not said."""

    name: str
    image: str
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    working_dir: str | None = None
    user: str | None = None
    group_add: tuple[str, ...] = ()
    environment: Mapping[str, str | None] = field(default_factory=dict)
    """env_file already merged in; None: named but set nowhere, so not passed on."""
    labels: Mapping[str, str] = field(default_factory=dict)
    container_name: str | None = None
    hostname: str | None = None
    domainname: str | None = None
    init: bool | None = None
    tty: bool = False
    stdin_open: bool = False
    attach: bool = True
    read_only: bool = False
    restart: str = "no"
    """no, always, unless-stopped, on-failure or on-failure:N."""
    stop_signal: str | None = None
    stop_grace_period: float | None = None
    scale: int = 1
    """`scale` or `deploy.replicas`."""
    profiles: tuple[str, ...] = ()
    pull_policy: str | None = None
    depends_on: Mapping[str, Dependency] = field(default_factory=dict)
    healthcheck: Healthcheck | None = None
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    cpus: float | None = None
    mem_limit: int | None = None
    pids_limit: int | None = None
    shm_size: int | None = None
    oom_score_adj: int | None = None
    ulimits: tuple[Ulimit, ...] = ()
    tmpfs: tuple[str, ...] = ()
    """`PATH[:options]`."""
    volumes: tuple[VolumeMount, ...] = ()
    networks: Mapping[str, ServiceNetwork] = field(default_factory=dict)
    """By top-level key, in order of attachment; `default` where nothing is said."""
    ports: tuple[Port, ...] = ()
    expose: tuple[str, ...] = ()
    extra_hosts: tuple[tuple[str, str], ...] = ()
    """(host, ip); ip may be `host-gateway`."""
    dns: tuple[str, ...] = ()
    dns_opt: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    logging: Logging | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IpamPool:
    """One entry of `ipam.config`."""

    subnet: str | None = None
    ip_range: str | None = None
    gateway: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A top-level network."""

    key: str
    name: str
    driver: str | None = None
    internal: bool = False
    external: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    ipam: tuple[IpamPool, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A top-level volume."""

    key: str
    name: str
    driver: str | None = None
    external: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A whole application, ready to be planned."""

    name: str
    working_dir: str
    files: tuple[str, ...]
    """Absolute paths of the Compose files; `-` for standard input."""
    env_files: tuple[str, ...] = ()
    """Files given with --env-file; absolute."""
    services: Mapping[str, Service]
    disabled: Mapping[str, Service] = field(default_factory=dict)
    """Services whose profile is not active."""
    networks: Mapping[str, Network] = field(default_factory=dict)
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    profiles: tuple[str, ...] = ()
    extensions: Mapping[str, object] = field(default_factory=dict)
    """Top-level `x-` keys, for `config`."""
    warnings: tuple[str, ...] = ()
    marks: Marks = field(default_factory=dict)
    """Where each value was written, by its path in the canonical tree."""
    tree: Node | None = field(default=None, compare=False, repr=False)
    """The canonical tree itself, for `dump`; None for a project that was not loaded."""
    incomplete: Mapping[str, tuple[tuple[str, str, str | None], ...]] = field(default_factory=dict)
    """Disabled services that cannot be used as they are (an env file is missing): the problems."""

    def mark(self, *path: str | int) -> Mark | None:
        """Where the value at `path` (or its nearest ancestor) was written."""
        found: Path = path
        return nearest(self.marks, found)

    def where(self, *path: str | int) -> str:
        """`compose.yaml:14` for messages, with the file's name relative to the working directory;
        empty where nothing is known."""
        mark = self.mark(*path)
        if mark is None:
            return ""
        return f"{mark.file.removeprefix(self.working_dir.rstrip('/') + '/')}:{mark.line}"
