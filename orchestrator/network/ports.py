"""Published ports: the host's sockets, bound before anything else is made, and who is in the way.

Sockets may be handed in again by whoever held them while the supervisor was away.  What flows
through them is the affair of `proxy`.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

from orchestrator.dataclass import dataclass, replace
from orchestrator.errors import NetworkError, PortInUseError
from orchestrator.linux import procfs
from orchestrator.network import hostports, waiting

_BACKLOG = 4096
_TRIES = 16
"""For an ephemeral port that must be free in both families."""
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


class Port(Protocol):
    """What is asked for; `runtime.spec.PublishedPort` is one."""

    @property
    def target(self) -> int: ...
    @property
    def protocol(self) -> Literal["tcp", "udp"]: ...
    @property
    def host_ip(self) -> str: ...
    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...
    @property
    def or_another(self) -> bool: ...
    @property
    def origin(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One socket of the host and the container port behind it; the socket is non-blocking, and a
    TCP one listens."""

    host_ip: str
    published: int
    target: int
    protocol: Literal["tcp", "udp"]
    socket: socket.socket

    def to_json(self) -> dict[str, Any]:  # the shape of ContainerStatus.ports
        """The entry of `ContainerStatus.ports`."""
        return {"host_ip": self.host_ip, "published": self.published, "target": self.target,
                "protocol": self.protocol}


class Publisher:
    """The published ports of one container."""

    def __init__(self, *, container: str) -> None:
        self._container = container
        """The name, for messages."""
        self.bound: list[Bound] = []
        self._inside: list[Bound] = []
        """The same of our own network, where that is not the host's: for a program that is in the
        user's namespaces as we are."""

    @property
    def sockets(self) -> list[socket.socket]:
        """What to keep over a restart of the supervisor; `adopt` takes them back."""
        return [b.socket for b in self.bound]

    def bind(self, port: Port) -> list[Bound]:
        """Bind `port`; TCP sockets listen at once.  A `host_ip` that is empty means every address:
        0.0.0.0, and [::] where there is IPv6.  PortInUseError where somebody holds the port or the
        whole range, NetworkError where the address is not ours or the port not allowed; then none
        is bound."""
        added = _choose(port, self._container)
        self.bound += added
        self._inside += _of_own_network(added)
        return added

    def adopt(self, sockets: Iterable[socket.socket], ports: Iterable[Mapping[str, Any]]) -> None:
        """Take back `sockets` that were bound as `ports` (`ContainerStatus.ports`) says; sockets
        that fit none are closed."""
        known = {(p["protocol"], p["host_ip"], p["published"]): p["target"] for p in ports}
        for sock in sockets:
            host_ip, published = sock.getsockname()[:2]
            protocol: Literal["tcp", "udp"] = "udp" if sock.type == socket.SOCK_DGRAM else "tcp"
            target = known.get((protocol, host_ip, published))
            if target is None:
                sock.close()
                continue
            sock.setblocking(False)
            self.bound.append(Bound(host_ip=host_ip, published=published, target=target,
                                    protocol=protocol, socket=sock))  # fmt: skip
        self._inside += _of_own_network(self.bound)

    async def serve(self, address: str) -> None:
        """Pass everything on to the container at `address` until cancelled."""
        from orchestrator.network import proxy

        await proxy.serve([*self.bound, *self._inside], address=address)

    def close(self) -> None:
        """Let go of all ports.  Idempotent."""
        waiting.close([bound.socket for bound in (*self.bound, *self._inside)])
        self.bound.clear()
        self._inside.clear()


def _choose(port: Port, container: str) -> list[Bound]:
    if not port.first:
        return _ephemeral(port, container)
    for number in range(port.first, port.last + 1):
        try:
            return _bind_all(port, number)
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE and number == port.last and port.or_another:
                return _ephemeral(port, container)
            if exc.errno != errno.EADDRINUSE or number == port.last:
                raise _failure(port, number, container, exc) from exc
    raise NetworkError(f"cannot publish {port.first}-{port.last} of {container}: empty range")


def _ephemeral(port: Port, container: str) -> list[Bound]:
    for tries_left in reversed(range(_TRIES)):
        try:
            return _bind_all(port, 0)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE or not tries_left:
                raise _failure(port, 0, container, exc) from exc
    raise AssertionError("the last try returns or raises")


def _bind_all(port: Port, number: int) -> list[Bound]:
    """One socket, or one for each family; all or none."""
    first = _bind(port, port.host_ip or "0.0.0.0", number)
    if port.host_ip:
        return [first]
    try:
        return [first, _bind(port, "::", first.published)]
    except OSError as exc:
        if exc.errno in _NO_IPV6:
            return [first]
        first.socket.close()
        raise


def _bind(port: Port, host_ip: str, number: int) -> Bound:
    family, kind = _kind(host_ip, port.protocol)
    sock = hostports.make_socket(family, kind)
    _listen(sock, host_ip, number)
    return Bound(host_ip=host_ip, published=sock.getsockname()[1], target=port.target,
                 protocol=port.protocol, socket=sock)


def _of_own_network(bound: Iterable[Bound]) -> list[Bound]:
    """The same ports once more; without those whose address our own network has not, or whose port
    is taken in it."""
    found: list[Bound] = []
    if not hostports.is_elsewhere():
        return found
    for one in bound:
        family, kind = _kind(one.host_ip, one.protocol)
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
        try:
            _listen(sock, one.host_ip, one.published)
        except OSError:
            continue
        found.append(replace(one, socket=sock))
    return found


def _kind(host_ip: str, protocol: str) -> tuple[socket.AddressFamily, socket.SocketKind]:
    family = socket.AF_INET6 if ":" in host_ip else socket.AF_INET
    return family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM


def _listen(sock: socket.socket, host_ip: str, number: int) -> None:
    """Bind it, and listen with one of TCP; closed where that does not work.  OSError."""
    try:
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        is_tcp = sock.type == socket.SOCK_STREAM
        if is_tcp:
            # Connections of the last container that still linger are not in the way.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host_ip, number))
        if is_tcp:
            sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise


def _failure(port: Port, number: int, container: str, exc: OSError) -> NetworkError:
    shown = f"[{port.host_ip}]" if ":" in port.host_ip else port.host_ip or "0.0.0.0"
    single = port.first == port.last
    numbers = str(number) if single else f"{port.first}-{port.last}"
    origin = f" ({port.origin})" if port.origin else ""
    what = f"cannot publish {shown}:{numbers}/{port.protocol} for {container}"
    if exc.errno == errno.EADDRINUSE:
        if not single:
            return PortInUseError(f"{what}: every port of the range is in use{origin}",
                                  hint="publish a larger range, or free one of its ports")
        return PortInUseError(f"{what}: {_holder(port, number)}{origin}",
                              hint="end that process, or publish another port")
    if exc.errno == errno.EADDRNOTAVAIL:
        return NetworkError(f"{what}: this machine has no address {port.host_ip}{origin}")
    if exc.errno == errno.EACCES:
        return NetworkError(f"{what}: ports below net.ipv4.ip_unprivileged_port_start need "
                            f"CAP_NET_BIND_SERVICE{origin}", hint="publish a higher port")
    return NetworkError(f"{what}: {exc.strerror}{origin}")


def _holder(port: Port, number: int) -> str:
    addresses: Sequence[str] = [port.host_ip] if port.host_ip else ["0.0.0.0", "::"]
    for address in addresses:
        found = procfs.port_holder(port.protocol, address, number)
        if found is not None and found[0]:
            pid, command = found
            words = command.split()
            if "orchestrator.supervisor.main" in words and "--project" in words[:-1]:
                project = words[words.index("--project") + 1]
                return f"the port is held by project {project} (pid {pid})"
            return f"the port is held by pid {pid} ({command})"
    return "the port is in use already"
