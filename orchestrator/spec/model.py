"""The canonical model: what the files mean once every phase has run.

Frozen values.  All short forms are long, all paths absolute, all variables replaced, all units
converted: seconds as float, sizes as int bytes.  A field that is None was not said (the image or
the default decides later, in `engine.resolve`).  Field names are those of the Compose
specification; every key it has is here.  What does not work yet is refused by `support` when
somebody acts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from orchestrator.dataclass import dataclass, field
from orchestrator.spec.build_model import Build, Develop, WatchRule
from orchestrator.spec.deploy_model import (
    Deploy,
    GenericResource,
    Placement,
    Resources,
    RestartPolicy,
    Rollout,
)
from orchestrator.spec.node import Node
from orchestrator.spec.parts_model import (
    BlockIo,
    Condition,
    CredentialSpec,
    Dependency,
    Device,
    DeviceRate,
    DeviceRequest,
    DeviceWeight,
    Grant,
    Healthcheck,
    Hook,
    Link,
    Logging,
    ModelUse,
    Port,
    Provider,
    ServiceNetwork,
    Ulimit,
    VolumeMount,
    VolumesFrom,
)
from orchestrator.spec.resource_model import Config, IpamPool, Model, Network, Secret, Volume
from orchestrator.spec.tree import Mark, Marks, Path, nearest

__all__ = [
    "BlockIo", "Build", "Condition", "Config", "CredentialSpec", "Dependency", "Deploy", "Develop",
    "Device", "DeviceRate", "DeviceRequest", "DeviceWeight", "GenericResource", "Grant",
    "Healthcheck", "Hook", "IpamPool", "Link", "Logging", "Model", "ModelUse", "Network",
    "Placement", "Port", "Project", "Provider", "Resources", "RestartPolicy", "Rollout", "Secret",
    "Service", "ServiceNetwork", "Ulimit", "Volume", "VolumeMount", "VolumesFrom", "WatchRule",
]  # fmt: skip


MOST_CONTAINERS = 10_000
"""Of one service; more is a mistake that would fill the memory before anything starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service; None: not said."""

    name: str
    image: str
    """Empty where only `build` or `provider` is given."""
    build: Build | None = None
    pull_policy: str | None = None
    platform: str | None = None
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    working_dir: str | None = None
    user: str | None = None
    group_add: tuple[str, ...] = ()
    environment: Mapping[str, str | None] = field(default_factory=dict)
    """env_file already merged in; None: named but set nowhere, so not passed on."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """label_file already merged in."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    container_name: str | None = None
    hostname: str | None = None
    domainname: str | None = None
    init: bool | None = None
    tty: bool = False
    stdin_open: bool = False
    attach: bool = True
    restart: str = "no"
    """no, always, unless-stopped, on-failure or on-failure:N; deploy.restart_policy included."""
    stop_signal: str | None = None
    stop_grace_period: float | None = None
    runtime: str | None = None
    isolation: str | None = None
    scale: int = 1
    """`scale` or `deploy.replicas`."""
    profiles: tuple[str, ...] = ()
    deploy: Deploy | None = None
    """What of it has an effect here is in the fields of the service as well."""
    develop: Develop | None = None
    provider: Provider | None = None
    models: Mapping[str, ModelUse] = field(default_factory=dict)

    depends_on: Mapping[str, Dependency] = field(default_factory=dict)
    """With what follows from links, volumes_from, network_mode, ipc and pid."""
    links: tuple[Link, ...] = ()
    external_links: tuple[Link, ...] = ()
    healthcheck: Healthcheck | None = None
    pre_start: tuple[Hook, ...] = ()
    post_start: tuple[Hook, ...] = ()
    pre_stop: tuple[Hook, ...] = ()

    cpus: float | None = None
    """As the following fields: deploy.resources included; None and 0: no limit."""
    mem_limit: int | None = None
    mem_reservation: int | None = None
    pids_limit: int | None = None
    memswap_limit: int | None = None
    """Memory and swap together; -1: no limit."""
    mem_swappiness: int | None = None
    cpu_shares: int | None = None
    cpu_quota: int | None = None
    """Microseconds, as the three that follow."""
    cpu_period: int | None = None
    cpu_rt_runtime: int | None = None
    cpu_rt_period: int | None = None
    cpu_count: int | None = None
    """Of Windows only, as `cpu_percent`."""
    cpu_percent: float | None = None
    cpuset: str | None = None
    oom_kill_disable: bool = False
    oom_score_adj: int | None = None
    shm_size: int | None = None
    blkio_config: BlockIo | None = None
    cgroup: Literal["host", "private"] | None = None
    cgroup_parent: str | None = None
    ulimits: tuple[Ulimit, ...] = ()
    storage_opt: Mapping[str, str] = field(default_factory=dict)
    device_cgroup_rules: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    gpus: tuple[DeviceRequest, ...] = ()
    """`gpus`, each asking for the capability gpu, and deploy.resources.reservations.devices."""

    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    seccomp_digest: str = ""
    """Of the profile `security_opt` names, once `engine.machine` has read it; so it is part of the
    hash."""
    read_only: bool = False
    userns_mode: str | None = None
    pid: str | None = None
    """host, service:NAME or container:NAME; `ipc` also shareable, private and none."""
    ipc: str | None = None
    uts: str | None = None
    sysctls: Mapping[str, str] = field(default_factory=dict)
    credential_spec: CredentialSpec | None = None
    use_api_socket: bool = False

    network_mode: str | None = None
    """none, host, bridge, service:NAME, container:NAME or a network; `networks` is empty then."""
    networks: Mapping[str, ServiceNetwork] = field(default_factory=dict)
    """By top-level key, in order of attachment; `default` where nothing is said."""
    mac_address: str | None = None
    dns: tuple[str, ...] = ()
    dns_opt: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    extra_hosts: tuple[tuple[str, str], ...] = ()
    """(host, ip); ip may be `host-gateway`."""
    expose: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()

    volumes: tuple[VolumeMount, ...] = ()
    volumes_from: tuple[VolumesFrom, ...] = ()
    tmpfs: tuple[str, ...] = ()
    """`PATH[:options]`."""
    secrets: tuple[Grant, ...] = ()
    configs: tuple[Grant, ...] = ()
    logging: Logging | None = None


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
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    configs: Mapping[str, Config] = field(default_factory=dict)
    models: Mapping[str, Model] = field(default_factory=dict)
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
    seen_from: str = field(default="", compare=False)
    """Messages name files as they are seen from this directory, that of the command."""

    @property
    def reading_dir(self) -> str:
        """`seen_from`, or the project's directory where nobody looks."""
        return self.seen_from or self.working_dir

    def mark(self, *path: str | int) -> Mark | None:
        """Where the value at `path` (or its nearest ancestor) was written."""
        found: Path = path
        return nearest(self.marks, found)

    def where(self, *path: str | int, column: bool = False) -> str:
        """`compose.yaml:14` for messages, with the file's name as seen from `reading_dir`; empty
        where nothing is known."""
        mark = self.mark(*path)
        if mark is None:
            return ""
        file = mark.file.removeprefix(self.reading_dir.rstrip("/") + "/")
        return f"{file}:{mark.line}:{mark.column}" if column else f"{file}:{mark.line}"
