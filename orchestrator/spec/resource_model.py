"""The model of what services share: networks, volumes, secrets, configs and models.

Frozen values in the words of the Compose specification, as in `model`, which see.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.dataclass import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class IpamPool:
    """One entry of `ipam.config`."""

    subnet: str | None = None
    ip_range: str | None = None
    gateway: str | None = None
    aux_addresses: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A top-level network."""

    key: str
    name: str
    driver: str | None = None
    driver_opts: Mapping[str, str] = field(default_factory=dict)
    internal: bool = False
    external: bool = False
    attachable: bool = False
    enable_ipv4: bool | None = None
    enable_ipv6: bool | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    ipam: tuple[IpamPool, ...] = ()
    ipam_driver: str | None = None
    ipam_options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A top-level volume."""

    key: str
    name: str
    driver: str | None = None
    driver_opts: Mapping[str, str] = field(default_factory=dict)
    external: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A top-level secret: exactly one of `file`, `environment` and `external` is given."""

    key: str
    name: str
    file: str | None = None
    """Absolute."""
    environment: str | None = None
    value: str | None = field(default=None, repr=False)
    """What the variable `environment` held when the files were read; None: it was not set."""
    external: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    driver: str | None = None
    driver_opts: Mapping[str, str] = field(default_factory=dict)
    template_driver: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A top-level config: exactly one of `file`, `content`, `environment`, `external` is given."""

    key: str
    name: str
    file: str | None = None
    """Absolute."""
    content: str | None = None
    environment: str | None = None
    value: str | None = field(default=None, repr=False)
    """What the variable `environment` held when the files were read; None: it was not set."""
    external: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    template_driver: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A top-level model."""

    key: str
    model: str
    """A reference of an OCI artifact."""
    name: str | None = None
    context_size: int | None = None
    """Tokens."""
    runtime_flags: tuple[str, ...] = ()
