"""What projects share on a machine: networks, volumes, secrets and configs; a part of the facade.

As `orchestrator.api`, of which it is the half that needs no project: everything is imported when
it is first needed, errors are those of `orchestrator.errors`, and nothing prints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from orchestrator.engine.networks import NetworkRow
    from orchestrator.engine.volumes import VolumeRow
    from orchestrator.state.material import Stored


def stored(section: Literal["secrets", "configs"]) -> list[Stored]:
    """The secrets or configs that this user keeps for `external: true`, by name."""
    from orchestrator.engine import material

    return material.entries(section)


def create_stored(section: Literal["secrets", "configs"], name: str, data: bytes) -> None:
    """Keep a secret or config; StateError where the name is taken."""
    from orchestrator.engine import material

    material.create(section, name, data)


def remove_stored(section: Literal["secrets", "configs"], name: str) -> bool:
    """Forget a secret or config; False where there was none."""
    from orchestrator.engine import material

    return material.remove(section, name)


def networks() -> list[NetworkRow]:
    """All networks of this user, by name."""
    from orchestrator.engine import networks

    return networks.rows()


def chosen_networks(names: Sequence[str]) -> list[NetworkRow]:
    """The named networks; NetworkError where one is not there."""
    from orchestrator.engine import networks

    return networks.chosen(names)


def create_network(
    name: str, *, internal: bool = False, ipv6: bool = False, subnets: Sequence[str] = (),
    gateways: Sequence[str] = (), ranges: Sequence[str] = (),
    labels: Mapping[str, str] | None = None, options: Mapping[str, str] | None = None,
) -> str | None:  # fmt: skip
    """Make a network for `external: true`; `gateways` and `ranges` belong to the subnets in order.
    A warning, or None."""
    from itertools import zip_longest

    from orchestrator.engine import networks
    from orchestrator.spec.model import IpamPool, Network

    pools = tuple(
        IpamPool(subnet=subnet, gateway=gateway, ip_range=inner)
        for subnet, gateway, inner in zip_longest(subnets, gateways, ranges)
    )
    return networks.create(Network(
        key=name, name=name, internal=internal, enable_ipv6=ipv6, ipam=pools,
        labels=labels or {}, driver_opts=options or {},
    ))  # fmt: skip


def remove_network(name: str) -> None:
    """Remove a network; NetworkError while a container is on it."""
    from orchestrator.engine import networks

    networks.remove(name)


def prunable_networks() -> list[NetworkRow]:
    """Networks that no container is on."""
    from orchestrator.engine import networks

    return networks.prunable()


def prune_networks(found: Sequence[NetworkRow]) -> list[str]:
    """Remove those that still no container is on; names."""
    from orchestrator.engine import networks

    return networks.prune(found)


def volumes() -> list[VolumeRow]:
    """All volumes of this user, by name."""
    from orchestrator.engine import volumes

    return volumes.rows()


def chosen_volumes(names: Sequence[str]) -> list[VolumeRow]:
    """The named volumes; StateError where one is not there."""
    from orchestrator.engine import volumes

    return volumes.chosen(names)


def create_volume(
    name: str, *, labels: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
) -> None:
    """Make a volume for `external: true`; `options` are `driver_opts`: type, device, o."""
    from orchestrator.engine import volumes

    volumes.create(name, labels=labels or {}, options=options or {})


def remove_volume(name: str) -> None:
    """Remove a volume with its data; StateError while a container has it."""
    from orchestrator.engine import volumes

    volumes.remove(name)


def prunable_volumes(*, named: bool = False) -> list[VolumeRow]:
    """Volumes that no container has: anonymous ones, or all of them."""
    from orchestrator.engine import volumes

    return volumes.prunable(named=named)


def prune_volumes(found: Sequence[VolumeRow]) -> tuple[list[str], int]:
    """Remove those that still no container has; (names, bytes)."""
    from orchestrator.engine import volumes

    return volumes.prune(found)
