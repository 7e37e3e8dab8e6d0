"""From a network's record to its bridge, and back: forwarding, addresses, rules, the record.

For whoever makes or removes a network: the supervisor of a project, or `pcompose network`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import NetworkError
from orchestrator.network import bridge, bridgeopts, forwarding
from orchestrator.state import observe, store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.state.layout import Layout
    from orchestrator.state.records import NetworkRecord


def create(layout: Layout, record: NetworkRecord) -> str | None:
    """Make the bridge and settle the record; a reason to warn or None.  On failure nothing is left
    of it."""
    was_there = bridge.bridge_exists(record.bridge)
    try:
        if not record.internal:
            has_ipv6 = any(pool.is_ipv6 for pool in record.all_pools())
            forwarding.enable(_marker(layout), ipv6=has_ipv6)
        options = bridgeopts.parse(record.options)
        warning = bridge.create_bridge(
            record.bridge, [(pool.gateway, pool.subnet) for pool in record.all_pools()],
            internal=record.internal, masquerade=options.masquerade, mtu=options.mtu,
        )  # fmt: skip
        store.settle_network(layout, record)
        return warning
    except NetworkError:
        if not was_there:
            bridge.remove_bridge(record.bridge, subnet=_subnets(record))
        raise


def remove(layout: Layout, record: NetworkRecord, *, containers: Iterable[str] = ()) -> None:
    """Remove the bridge, its rules and the record, and what is left of these containers' links; and
    with the last network, forwarding."""
    bridge.remove_bridge(record.bridge, subnet=_subnets(record), containers=containers)
    store.forget_network(layout, record.name)
    if not any(True for _ in observe.networks(layout)):
        forwarding.restore(_marker(layout))


def _subnets(record: NetworkRecord) -> str:
    return ", ".join(pool.subnet for pool in record.all_pools())


def _marker(layout: Layout) -> str:
    return f"{layout.networks()}/.forwarding"
