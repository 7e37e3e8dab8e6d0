"""ContainerSpec: everything a container is, resolved; frozen, JSON-able, stored in its record.

`engine.resolve` makes it from a service, an image's configuration and addresses; the supervisor
keeps and restarts containers from it alone, years after the Compose file was edited or deleted.
Paths are absolute host paths unless they are called `target`.  Sizes are bytes, times seconds.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from orchestrator.dataclass import asdict, dataclass, field, fields, is_dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rootfs:
    """The overlay root: `lowers` from top to bottom; `upper` and `work` are on one file system."""

    lowers: tuple[str, ...]
    upper: str
    work: str
    target: str
    """An existing empty directory; the overlay is mounted there inside the container's own mount
    namespace only, so nothing is ever mounted for the host to see."""
    host_usr: bool = False
    """The reserved image `pcompose/host`: a second overlay puts the machine's /usr at /usr."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A mount below the root; made in the order of target depth."""

    type: Literal["bind", "volume", "tmpfs", "image"]
    target: str
    source: str | None = None
    """bind: host path; volume: the volume's data directory; tmpfs, image: None."""
    layers: tuple[str, ...] = ()
    """image: unpacked lower directories, top first; always read-only."""
    subpath: str = ""
    """volume, image: what is mounted lies here below, which no link leads out of."""
    read_only: bool = False
    populate: bool = False
    """volume: copy the image's content at `target` into the volume if the volume is empty."""
    create_source: bool = False
    """bind: make a missing source directory, owned by the user who ran the command."""
    propagation: str = "rprivate"
    """private, slave, shared or unbindable, with an r for all mounts below."""
    recursive: Literal["enabled", "disabled", "writable", "readonly"] = "enabled"
    """bind: whether mounts below the source come along, and whether they are read-only with it;
    `readonly` is `enabled` for whoever wants to be sure."""
    options: tuple[str, ...] = ()
    """tmpfs: `size=…`, `mode=…`, `noexec`, …"""
    origin: str = ""
    """`compose.yaml:14`, for errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A secret or a config: a file that the container gets, read-only, on a tmpfs."""

    source: str
    """Host path of its content."""
    target: str
    mode: int = 0o444
    uid: int | None = None
    """None: the user of the container; so with `gid`."""
    gid: int | None = None
    origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One attachment to a network."""

    network: str
    """Full name, `p_default`."""
    key: str
    bridge: str
    """The interface of the network on the host."""
    interface: str
    """eth0, eth1, …"""
    address: str
    """IPv4 without prefix, or empty."""
    prefix: int
    mac: str
    gateway: str | None
    """Set on one endpoint at most, and on none where all networks are internal."""
    address6: str = ""
    """IPv6 without prefix; this one or `address` may be empty."""
    prefix6: int = 0
    gateway6: str | None = None
    link_local: tuple[str, ...] = ()
    """Further addresses, of 169.254.0.0/16 and fe80::/10."""
    sysctls: tuple[tuple[str, str], ...] = ()
    """Parameters of the interface: (`net.ipv4.conf.IFNAME.log_martians`, value)."""
    isolated: bool = False
    """No other container on the network can be reached, only what is routed."""
    healthy_names: bool = False
    """Its names stand for healthy replicas, as long as there are any."""
    names: tuple[str, ...]
    """What peers on this network may call the container: service, container name, aliases, short
    id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPort:
    """A host port that leads to a container port."""

    target: int
    protocol: Literal["tcp", "udp"]
    host_ip: str
    """`0.0.0.0`, `::` or a chosen address; empty: every address, IPv4 and IPv6."""
    first: int
    last: int
    """The host port is chosen from first to last; 0, 0 is ephemeral."""
    or_another: bool = False
    """Where all of these are taken, any other will do."""
    origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """A probe; `test` starts with CMD or CMD-SHELL."""

    test: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0
    retries: int = 3
    start_period: float = 0.0
    start_interval: float = 5.0
    origin: str = ""
    """Where the file says `healthcheck`, or which image does."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Where each of the numbers was said; those that are not here are defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A command that belongs to a start or a stop; `pre_start` ones run in a container of their
    own, whose root is `lowers`, the others in the container itself."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    """pre_start: all of it; else what is added to the container's own."""
    user: str = ""
    """Empty: that of the container."""
    cwd: str = ""
    privileged: bool = False
    image: str = ""
    image_id: str = ""
    lowers: tuple[str, ...] = ()
    host_usr: bool = False
    origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Limits; None: no limit.  Times are microseconds, sizes bytes."""

    memory: int | None = None
    memory_reservation: int | None = None
    """What is left to it when memory is short."""
    memory_swap: int | None = None
    """Memory and swap together; -1: no limit of swap; None: twice the memory."""
    memory_swappiness: int | None = None
    oom_kill_disable: bool = False
    cpus: float | None = None
    """The same as a quota; `cpu_quota` wins."""
    cpu_shares: int | None = None
    cpu_period: int | None = None
    cpu_quota: int | None = None
    cpu_rt_period: int | None = None
    cpu_rt_runtime: int | None = None
    cpuset: str | None = None
    """`0-2,4`"""
    pids: int | None = None
    block: BlockIo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockIo:
    """Limits of block devices: (path of the device, number)."""

    weight: int | None = None
    """10 to 1000."""
    weight_device: tuple[tuple[str, int], ...] = ()
    read_bps: tuple[tuple[str, int], ...] = ()
    write_bps: tuple[tuple[str, int], ...] = ()
    read_iops: tuple[tuple[str, int], ...] = ()
    write_iops: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespaces:
    """Whose namespaces the container is in: `private`, `host`, or another container's, which has to
    run when this one starts: `service:NAME` of the project, or `container:NAME` by name or id."""

    pid: str = "private"
    ipc: str = "private"
    """Also `none`: of its own, and without /dev/shm."""
    network: str = "private"
    """`private` without endpoints has a loopback interface only."""
    uts: str = "private"
    cgroup: str = "private"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device node of the host, or a directory of them."""

    source: str
    target: str
    permissions: str = "rwm"
    """Some of r, w and m (mknod)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RootHook:
    """A program of the host that works on the container's file system before its root is entered
    (a createContainer hook of the OCI runtime specification)."""

    path: str
    args: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """One container, self-contained."""

    id: str
    name: str
    project: str
    service: str
    index: int
    """Replica number; 0 for a one-off."""
    oneoff: bool = False
    remove_on_exit: bool = False
    """`run --rm`."""
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: str = "/"
    create_cwd: bool = True
    user: str = ""
    """`name|uid[:group|gid]`, looked up in the container's own /etc/passwd; empty: root."""
    group_add: tuple[str, ...] = ()
    hostname: str
    domainname: str = ""
    rootfs: Rootfs
    mounts: tuple[Mount, ...] = ()
    files: tuple[File, ...] = ()
    """Secrets and configs."""
    read_only: bool = False
    shm_size: int = 64 << 20
    init: bool = False
    tty: bool = False
    stdin_open: bool = False
    capabilities: tuple[str, ...] = ()
    """Names as in capabilities(7), `CAP_CHOWN`; the bounding, permitted and effective set."""
    privileged: bool = False
    """All devices, and /proc and /sys as the host has them; the rest of what the word means
    (capabilities, seccomp) is said by the other fields."""
    seccomp: bool = True
    """The default filter, or `seccomp_profile`."""
    seccomp_profile: str = ""
    """JSON in the form of Docker or OCI."""
    no_new_privileges: bool = False
    apparmor: str = ""
    """The profile; empty: as the keeper."""
    selinux_label: str = ""
    masked_paths: bool = True
    """Whether /proc and /sys have their masked and read-only paths."""
    namespaces: Namespaces = Namespaces()
    sysctls: tuple[tuple[str, str], ...] = ()
    """(`net.core.somaxconn`, value)"""
    devices: tuple[Device, ...] = ()
    device_rules: tuple[str, ...] = ()
    """`c 188:* rwm`: nodes the container may make and use."""
    root_hooks: tuple[RootHook, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    rlimits: tuple[tuple[str, int, int], ...] = ()
    """(`nofile`, soft, hard); -1 is infinity."""
    oom_score_adj: int | None = None
    resources: Resources = Resources()
    cgroup_parent: str = ""
    """Below our place in each tree; empty: directly there."""
    endpoints: tuple[Endpoint, ...] = ()
    hosts: tuple[tuple[str, str], ...] = ()
    """extra_hosts as (name, address); address may be `host-gateway`."""
    links: tuple[tuple[str, str], ...] = ()
    """(alias, name): what it alone may call others."""
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_opt: tuple[str, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
    stop_signal: str = "SIGTERM"
    stop_grace_period: float = 10.0
    restart: Literal["no", "always", "on-failure", "unless-stopped"] = "no"
    restart_retries: int = 0
    """on-failure:N; 0: no end."""
    healthcheck: Healthcheck | None = None
    pre_start: tuple[Hook, ...] = ()
    post_start: tuple[Hook, ...] = ()
    pre_stop: tuple[Hook, ...] = ()
    log_max_size: int = 20 << 20
    log_max_files: int = 3
    labels: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""
    """`compose.yaml:3`, where the service is declared."""
    command_origin: str = ""
    """Where its command is written."""

    def to_json(self) -> dict[str, Any]:  # JSON has no narrower type
        """Plain data for records and the control socket."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> ContainerSpec:
        """The spec that `to_json` made, also after a round through JSON text."""
        value = decode(ContainerSpec, data)
        assert isinstance(value, ContainerSpec)
        return value


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def decode(hint: Any, data: Any) -> Any:  # walks types, which have no type
    """Rebuild a value of the annotated type from JSON data: dataclasses, tuples, mappings, unions
    with None; a key the class does not know (written by a later version) is skipped."""
    if data is None:
        return None
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        inner = next(a for a in typing.get_args(hint) if a is not type(None))
        return decode(inner, data)
    if origin is tuple:
        args = typing.get_args(hint)
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(decode(args[0], item) for item in data)
        return tuple(decode(a, item) for a, item in zip(args, data, strict=True))
    if isinstance(hint, type) and is_dataclass(hint):
        hints = _hints(hint)
        known = {f.name for f in fields(hint)}
        return hint(**{k: decode(hints[k], v) for k, v in data.items() if k in known})
    return data
