"""The model of `deploy`: what a cluster is asked for.

On one machine replicas, limits, reservations of memory and devices, and the restart policy have an
effect; `bind` has put those into the fields of the service, where the engine finds them.  Frozen
values, as in `model`, which see.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.dataclass import dataclass, field
from orchestrator.spec.parts_model import DeviceRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """`update_config` or `rollback_config`; durations in seconds."""

    parallelism: int | None = None
    delay: float | None = None
    failure_action: str | None = None
    monitor: float | None = None
    max_failure_ratio: float | None = None
    order: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """`restart_policy`; durations in seconds."""

    condition: str | None = None
    """none, on-failure or any."""
    delay: float | None = None
    max_attempts: int | None = None
    window: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """`placement`."""

    constraints: tuple[str, ...] = ()
    spread: tuple[str, ...] = ()
    """Of `preferences`: the labels to spread over."""
    max_replicas_per_node: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenericResource:
    """`discrete_resource_spec` of one entry of `generic_resources`."""

    kind: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """`limits` or `reservations`."""

    cpus: float | None = None
    memory: int | None = None
    """Bytes."""
    pids: int | None = None
    devices: tuple[DeviceRequest, ...] = ()
    generic_resources: tuple[GenericResource, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy:
    """`deploy`."""

    mode: str | None = None
    replicas: int | None = None
    endpoint_mode: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of the service, not of its containers."""
    limits: Resources = field(default_factory=Resources)
    reservations: Resources = field(default_factory=Resources)
    restart_policy: RestartPolicy | None = None
    update_config: Rollout | None = None
    rollback_config: Rollout | None = None
    placement: Placement | None = None
