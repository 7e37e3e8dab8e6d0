"""Where a service can be reached from this machine: its container's address, or a host port."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.engine.lookup import running_replica
from orchestrator.errors import NetworkError
from orchestrator.state import observe

if TYPE_CHECKING:
    from orchestrator.engine.workspace import Workspace
    from orchestrator.state.observed import ObservedContainer


class Address(NamedTuple):
    """What `socket.create_connection` takes."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def address(workspace: Workspace, service: str, port: int, *, index: int = 0) -> Address:
    """Of a port of a running replica, as somebody on this machine reaches it: its own address
    where the bridge of its network is ours to use, else the host port it is published at.
    NetworkError where there is neither."""
    container = running_replica(workspace, service, index=index)
    own = own_address(workspace, container)
    if own is not None:
        return Address(own, port)
    published = _published(container, port, "tcp")
    if published is not None:
        return published
    raise NetworkError(
        f"{service} cannot be reached from here: it is on no network of this machine, and port "
        f"{port} is not published",
        hint=f'publish it: `ports: ["{port}"]`',
    )


def host_port(
    workspace: Workspace, service: str, port: int, *, protocol: str = "tcp", index: int = 0
) -> Address:
    """Where a port of a running replica is published; NetworkError where it is not."""
    container = running_replica(workspace, service, index=index)
    published = _published(container, port, protocol)
    if published is None:
        known = ", ".join(f"{p['target']}/{p['protocol']}" for p in container.status.ports)
        raise NetworkError(f"{service} does not publish port {port}/{protocol}",
                           hint=f"it publishes {known or 'none'}")  # fmt: skip
    return published


def _published(container: ObservedContainer, port: int, protocol: str) -> Address | None:
    for entry in container.status.ports:
        if (entry["target"], entry["protocol"]) == (port, protocol):
            host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
            return Address(host.get(entry["host_ip"], entry["host_ip"]), int(entry["published"]))
    return None


def own_address(workspace: Workspace, container: ObservedContainer) -> str | None:
    """The container's first address on a bridge that is in our network namespace; that of whose
    network it shares; None."""
    spec = container.record.spec
    network = str(spec.get("namespaces", {}).get("network", "private"))
    if network == "host":
        return "127.0.0.1"
    kind, _, other = network.partition(":")
    if kind == "service":
        return own_address(workspace, running_replica(workspace, other, index=0))
    for endpoint in spec.get("endpoints", ()):
        if observe.interface_exists(endpoint["bridge"]):
            return endpoint["address"] or endpoint["address6"] or None
    return None
