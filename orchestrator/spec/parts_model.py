"""The model of a service's parts: mounts, ports, probes, devices, what one attribute of it holds.

Frozen values in the words of the Compose specification, as in `model`, which see.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from orchestrator.dataclass import dataclass, field

Condition = Literal["service_started", "service_healthy", "service_completed_successfully"]
MountType = Literal["bind", "volume", "tmpfs", "image", "npipe", "cluster"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """One entry of `depends_on`, said or following from another attribute."""

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
class Hook:
    """One entry of `pre_start`, `post_start`, `pre_stop`, or `develop.watch[].exec`."""

    command: tuple[str, ...] | None = None
    user: str | None = None
    privileged: bool = False
    working_dir: str | None = None
    environment: Mapping[str, str | None] = field(default_factory=dict)
    image: str | None = None
    """`pre_start` only; None: the image of the service."""
    per_replica: bool = False
    """`pre_start` only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One published port; ranges have been expanded except `published` ranges to choose from."""

    target: int
    published: str | None = None
    """`8080`, a range `8000-8010` to choose a free one from, or None: ephemeral."""
    host_ip: str | None = None
    protocol: Literal["tcp", "udp", "sctp"] = "tcp"
    or_another: bool = False
    """`up --ports auto`: where `published` is taken, any other will do."""
    mode: str = "ingress"
    name: str | None = None
    app_protocol: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeMount:
    """One entry of `volumes`."""

    type: MountType
    source: str | None
    """bind: absolute host path; volume: top-level key, None: anonymous; image: a reference;
    tmpfs: None."""
    target: str
    read_only: bool = False
    consistency: str | None = None
    """Without effect on Linux."""
    propagation: str = "rprivate"
    create_host_path: bool = True
    recursive: Literal["enabled", "disabled", "writable", "readonly"] = "enabled"
    selinux: Literal["z", "Z"] | None = None
    nocopy: bool = False
    subpath: str | None = None
    """Of a volume or an image: the directory in it that is mounted."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of the anonymous volume that is made."""
    tmpfs_size: int | None = None
    """Bytes."""
    tmpfs_mode: int | None = None
    digest: str = ""
    """Of the image that is mounted, once `engine.images` has found it; so it is part of the
    hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceNetwork:
    """One entry of a service's `networks`."""

    network: str
    """Top-level key."""
    aliases: tuple[str, ...] = ()
    ipv4_address: str | None = None
    ipv6_address: str | None = None
    link_local_ips: tuple[str, ...] = ()
    mac_address: str | None = None
    interface_name: str | None = None
    driver_opts: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    gw_priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One entry of `links` or `external_links`."""

    target: str
    """A service, or a container of another project."""
    alias: str
    """The name it gets; `target` where none is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumesFrom:
    """One entry of `volumes_from`; exactly one of service and container is given."""

    service: str | None = None
    container: str | None = None
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One entry of a service's `secrets` or `configs`, or of `build.secrets`."""

    source: str
    """Top-level key."""
    target: str | None = None
    """As written, so perhaps relative; None: by default."""
    uid: str | None = None
    gid: str | None = None
    mode: int | None = None
    """Permission bits."""
    digest: str = ""
    """Of the content, once `engine.material` has read it; so it is part of the hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ulimit:
    """One entry of `ulimits`; -1 is infinity."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    """`logging`."""

    driver: str = "json-file"
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One entry of `devices`."""

    source: str
    """A path of the host, or a CDI name `vendor/class=name`."""
    target: str
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRequest:
    """One entry of `gpus` or `deploy.resources.reservations.devices`."""

    capabilities: tuple[str, ...] = ()
    driver: str | None = None
    count: int | None = None
    """-1: all; None where `device_ids` says which."""
    device_ids: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceWeight:
    """One entry of `blkio_config.weight_device`."""

    path: str
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRate:
    """One entry of `blkio_config.device_read_bps` and the like; bytes or operations a second."""

    path: str
    rate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockIo:
    """`blkio_config`."""

    weight: int | None = None
    weight_device: tuple[DeviceWeight, ...] = ()
    device_read_bps: tuple[DeviceRate, ...] = ()
    device_read_iops: tuple[DeviceRate, ...] = ()
    device_write_bps: tuple[DeviceRate, ...] = ()
    device_write_iops: tuple[DeviceRate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialSpec:
    """`credential_spec`: of Windows only."""

    config: str | None = None
    file: str | None = None
    registry: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """`provider`: a program that stands in for the containers."""

    type: str
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUse:
    """One entry of a service's `models`."""

    model: str
    """Top-level key."""
    endpoint_var: str
    model_var: str
