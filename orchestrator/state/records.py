"""What is written down: frozen values to and from JSON, each with a version number.

Records say what was decided; `ContainerStatus` what happened last.  Neither is the truth: a status
that says `running` is believed only while a process of that pid and start time exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import NoneType
from typing import Any, ClassVar, Literal, Self

from orchestrator.dataclass import asdict, dataclass, field, fields

State = Literal["created", "running", "restarting", "exited", "dead"]
Health = Literal["", "starting", "healthy", "unhealthy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    version: ClassVar[int] = 1

    def to_json(self) -> dict[str, Any]:  # JSON has no narrower type
        """Plain data with the version."""
        return {"version": self.version, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The record `to_json` made; keys of a later version are skipped.  TypeError where it is
        not one: a key is missing or a value has another type than ours would have."""
        kinds = _kinds(cls)  # type: ignore[arg-type]  # mypy: type[Self] is no Hashable
        values = {k: v for k, v in data.items() if k in kinds}
        for key, value in values.items():
            if not isinstance(value, kinds[key]) or (value is True or value is False) is not (
                kinds[key] is bool
            ):
                raise TypeError(f"{key} is not as it was written")
        return cls(**values)


@cache
def _kinds(cls: type) -> dict[str, type | tuple[type, ...]]:
    """What JSON gives for each field.  By the text of the annotation: `typing.get_type_hints` of
    all records would cost a no-op `up` a few ms."""
    return {f.name: _KINDS[str(f.type).partition("[")[0]] for f in fields(cls)}


_KINDS: dict[str, type | tuple[type, ...]] = {
    "str": str, "State": str, "Health": str, "bool": bool, "int": int, "float": (int, float),
    "int | None": (int, NoneType), "list": list, "dict": dict,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectRecord(_Record):
    """Where a project came from, so that `ls` and `down -p` need no Compose file."""

    name: str
    working_dir: str
    config_files: list[str]
    environment_files: list[str] = field(default_factory=list)
    networks: dict[str, str] = field(default_factory=dict)
    """Key -> name of the networks made for this project (not external ones)."""
    volumes: dict[str, str] = field(default_factory=dict)
    """Key -> name of the declared volumes (not external ones)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRecord(_Record):
    """A container as it was decided; never rewritten: a change makes a new container."""

    id: str
    name: str
    project: str
    service: str
    index: int
    """Replica number; 0 for a one-off."""
    oneoff: bool
    created_at: float
    """Seconds since the epoch; also orders two generations of one replica."""
    config_hash: str
    config: dict[str, Any]
    """The canonical service as `spec.hashing.config_tree` gave it; `plan.explain` compares it."""
    image: str
    """As written in the file."""
    image_id: str
    """`sha256:…` of the image's configuration; empty for images without one."""
    labels: dict[str, str]
    depends_on: dict[str, dict[str, Any]] = field(default_factory=dict)
    """service -> {condition, restart, required}; for `stop` and `down` without a file."""
    anonymous_volumes: dict[str, str] = field(default_factory=dict)
    """target -> volume name; these live and die with the container unless inherited."""
    volume_labels: dict[str, dict[str, str]] = field(default_factory=dict)
    """target -> labels of the anonymous volume that is made for it."""
    named_volumes: dict[str, str] = field(default_factory=dict)
    """target -> volume name."""
    networks: dict[str, str] = field(default_factory=dict)
    """key -> network name."""
    spec: dict[str, Any]
    """`ContainerSpec.to_json()`; `state` does not look inside."""

    def volumes(self) -> list[str]:
        """Names of the volumes that are mounted in it."""
        return [*self.named_volumes.values(), *self.anonymous_volumes.values()]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStatus(_Record):
    """What happened last; rewritten whole at each change, by the supervisor only.

    The keeper writes `exit.json` ({pid, start_time, exit_code, oom_killed, time}) beside it when a
    container exits, so that nothing is forgotten while no supervisor lives."""

    state: State
    pid: int = 0
    start_time: int = 0
    """Field 22 of /proc/PID/stat; with `boot_id` it makes the pid unique."""
    boot_id: str = ""
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int | None = None
    """As a shell says it: 128+N for signal N; None where it could not be known."""
    error: str = ""
    """Why the last start failed."""
    oom_killed: bool = False
    paused: bool = False
    """Of a running one: its processes are frozen."""
    health: Health = ""
    failing_streak: int = 0
    first_probe_at: float = 0.0
    """When the first probe since the start had ended."""
    healthy_at: float = 0.0
    """When the first one since the start had passed."""
    probes: list[dict[str, Any]] = field(default_factory=list)
    """The last five: {start, end, exit_code, output}."""
    restarts: int = 0
    stopped_by_user: bool = False
    """`unless-stopped` and `always` are not obeyed after `stop`."""
    ports: list[dict[str, Any]] = field(default_factory=list)
    """{host_ip, published, target, protocol} as really bound."""


    @property
    def shown_state(self) -> str:
        """The state as people say it: `paused` besides the others."""
        return "paused" if self.paused and self.state == "running" else self.state


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One subnet of a network."""

    subnet: str
    """`ADDRESS/PREFIX`"""
    gateway: str
    ip_range: str = ""
    """Where containers get their addresses; empty: anywhere in it."""
    reserved: tuple[str, ...] = ()
    """Addresses of others."""

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.subnet

    def to_json(self) -> dict[str, Any]:  # JSON has no narrower type
        """The entry of `NetworkRecord.pools`."""
        return {"subnet": self.subnet, "gateway": self.gateway, "ip_range": self.ip_range,
                "reserved": list(self.reserved)}


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRecord(_Record):
    """A bridge network, known to the whole machine by its name."""

    name: str
    key: str
    project: str
    """The project that made it."""
    bridge: str
    """Interface name."""
    subnet: str
    gateway: str
    internal: bool
    config_hash: str
    """Empty from the moment the network is decided on until its bridge is made: what an
    interrupted command leaves is made again."""
    config: dict[str, Any]
    labels: dict[str, str]
    leases: dict[str, str] = field(default_factory=dict)
    """`project/service/index` (or container id of a one-off) -> IPv4 address."""
    leases6: dict[str, str] = field(default_factory=dict)
    """As `leases`, IPv6."""
    pools: list[dict[str, Any]] = field(default_factory=list)
    """Every subnet, of both families: {subnet, gateway, ip_range, reserved: [address]}; the first
    IPv4 one is `subnet` and `gateway` too, which are empty where there is none."""
    options: dict[str, str] = field(default_factory=dict)
    """`driver_opts`."""

    def all_pools(self) -> list[Pool]:
        """The subnets as values."""
        if not self.pools:
            return [Pool(subnet=self.subnet, gateway=self.gateway)] if self.subnet else []
        return [
            Pool(subnet=pool["subnet"], gateway=pool["gateway"],
                 ip_range=pool.get("ip_range", ""), reserved=tuple(pool.get("reserved", ())))
            for pool in self.pools
        ]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRecord(_Record):
    """A named or anonymous volume, known to the whole machine by its name."""

    name: str
    key: str
    project: str
    anonymous: bool
    created_at: float
    config_hash: str
    labels: dict[str, str]
    options: dict[str, str] = field(default_factory=dict)
    """`driver_opts`: what is mounted at its data directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord(_Record):
    """How long a project lives, where that was said; the supervisor brings it down then."""

    stamp: str
    """Another one with every change."""
    boot_id: str
    until: float = 0.0
    """Seconds since the epoch; 0: no matter."""
    holders: list[list[int]]
    """[pid, start time] of processes: it lives as long as one of them.  Where there was one once
    and none is left, nothing holds it."""
    is_held: bool = False
    """Whether there was one."""
    idle: float = 0.0
    """Seconds without use, while nobody holds it; 0: no matter."""
    volumes: bool = False
    """Remove its volumes too, and kill instead of stopping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRecord(_Record):
    """What the volumes and containers of a project had in them."""

    name: str
    project: str
    created_at: float
    volumes: dict[str, list[str]]
    """Key of a named volume, or `SERVICE/INDEX:TARGET` of an anonymous one -> its layers, the
    uppermost first."""
    containers: dict[str, str]
    """`SERVICE/INDEX` -> the layer with a copy of what the container had written."""
