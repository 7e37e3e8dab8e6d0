"""The ends of a container's networks: veth pairs, addresses, the way out, and the DNS sockets.

One synchronous call puts everything into the network namespace of a container whose PID 1 waits.
Host-side names come from the container's id, so whoever knows the id can remove them: no state.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn, Protocol

from orchestrator.errors import NetworkError
from orchestrator.linux import netlink, syscalls

DNS_ADDRESS = "127.0.0.11"
_DNS_PORT = 53
_BACKLOG = 128
_WAITING = 1 << 20
"""Bytes of queries that may wait while the machine is busy; the usual 208 kB are 300 queries."""
_SO_RCVBUFFORCE = 33
_HOST_ENDS = ("pv", "pr")
"""What the names of a container's interfaces on the host begin with; `pr` goes with its pair."""


class Link(Protocol):
    """One attachment; `runtime.spec.Endpoint` is one.  `address` is IPv4, `address6` IPv6; either
    may be empty."""

    @property
    def bridge(self) -> str: ...
    @property
    def interface(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def prefix(self) -> int: ...
    @property
    def mac(self) -> str: ...
    @property
    def gateway(self) -> str | None: ...
    @property
    def address6(self) -> str: ...
    @property
    def prefix6(self) -> int: ...
    @property
    def gateway6(self) -> str | None: ...
    @property
    def link_local(self) -> Sequence[str]: ...
    @property
    def sysctls(self) -> Sequence[tuple[str, str]]: ...
    @property
    def isolated(self) -> bool: ...


def host_interface(container: str, index: int) -> str:
    """The host's end of the container's link `index` (0 to 99): 15 characters at most."""
    return f"pv{container[:10]}-{index}"


def _host_interfaces(container: str, links: Sequence[Link]) -> list[str]:
    return [host_interface(container, index) for index in range(len(links))]


def attach(
    pid: int, links: Sequence[Link], *, container: str, dns: bool = True, hairpin: bool = False
) -> list[socket.socket]:
    """Give the process `pid`, which is in a fresh network namespace, its loopback and its links;
    with `dns` the result is [UDP socket, TCP listener] on 127.0.0.11:53 in there, non-blocking,
    owned by the caller.  `hairpin`: it may come back to itself by a published port, also where
    bridged frames pass the packet filter (br_netfilter), which then leave where they came in.
    Links of that container that are left from before are replaced.
    NetworkError names what failed; then nothing is left on the host."""
    try:
        with netlink.Netlink() as sock, open(f"/proc/{pid}/ns/net", "rb", buffering=0) as netns:
            try:
                _create_pairs(
                    sock, links, container=container, netns=netns.fileno(), hairpin=hairpin
                )
                return _configure(netns.fileno(), links, dns=dns)
            except BaseException:
                netlink.delete_links(sock, _host_interfaces(container, links))
                raise
    except OSError as exc:
        what = f" {exc.filename}" if exc.filename else ""
        raise NetworkError(
            f"cannot attach container {container[:12]} to its networks:{what}: {exc.strerror}"
        ) from exc


def _create_pairs(
    sock: netlink.Netlink, links: Sequence[Link], *, container: str, netns: int, hairpin: bool
) -> None:
    messages = []
    for index, link in enumerate(links):
        bridge = netlink.get_link(sock, link.bridge)
        messages.append(netlink.create_veth(
            host_interface(container, index), master=bridge.index, mtu=bridge.mtu,
            peer=link.interface, peer_mac=link.mac, peer_netns=netns,
        ))  # fmt: skip
    try:
        sock.run(messages)
    except FileExistsError:
        # A start before this one that nobody could clean up after.
        netlink.delete_links(sock, _host_interfaces(container, links))
        sock.run(messages)
    sock.run([
        netlink.set_port(host_interface(container, index), isolated=link.isolated, hairpin=hairpin)
        for index, link in enumerate(links) if link.isolated or hairpin
    ])  # fmt: skip


def _configure(netns: int, links: Sequence[Link], *, dns: bool) -> list[socket.socket]:
    with _entered(netns):
        with netlink.Netlink() as sock:
            sock.run(_inside(links))
        for link in links:
            _set_parameters(link)
        return _open_dns_sockets() if dns else []


@contextmanager
def inside(pid: int) -> Iterator[None]:
    """The calling thread is in the network namespace of the process meanwhile; OSError where there
    is none."""
    with open(f"/proc/{pid}/ns/net", "rb", buffering=0) as netns, _entered(netns.fileno()):
        yield


@contextmanager
def _entered(netns: int) -> Iterator[None]:
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.setns(netns, syscalls.CLONE_NEWNET)
        try:
            yield
        finally:
            _return(own)
    finally:
        os.close(own)


def _return(own: int) -> None:
    try:
        syscalls.setns(own, syscalls.CLONE_NEWNET)
    except OSError:
        _die()


def _die() -> NoReturn:
    # A thread that stays in a container's namespace would do everything else in there too.  The
    # keeper starts another supervisor.
    os.write(2, b"cannot return from the network namespace of a container\n")
    os._exit(70)


def _inside(links: Sequence[Link]) -> list[netlink.Message]:
    messages = [netlink.set_link("lo", up=True)]
    for link in links:
        messages += _interface(link)
    return messages


def _interface(link: Link) -> Iterator[netlink.Message]:
    index = socket.if_nametoindex(link.interface)
    if not link.address6:
        # Before it goes up, else the address is there already.
        yield netlink.set_link(link.interface, ipv6_address=False)
    else:
        # What containers on the network say about routes is nothing to go by.
        _write(f"/proc/sys/net/ipv6/conf/{link.interface}/accept_ra", "0")
    yield netlink.set_link(link.interface, up=True)
    if link.address:
        yield netlink.add_address(index, link.address, link.prefix)
    if link.address6:
        yield netlink.add_address(index, link.address6, link.prefix6)
    for address in link.link_local:
        yield netlink.add_address(index, address, 64 if ":" in address else 16)
    for gateway in (link.gateway, link.gateway6):
        if gateway is not None:
            yield netlink.add_default_route(gateway, index)


def _set_parameters(link: Link) -> None:
    """Its kernel parameters; /proc/sys/net shows those of the caller's namespace."""
    for name, value in link.sysctls:
        parts = [link.interface if part == "IFNAME" else part for part in name.split(".")]
        _write(f"/proc/sys/{'/'.join(parts)}", value)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _open_dns_sockets() -> list[socket.socket]:
    opened = []
    try:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            sock = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK)
            opened.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((DNS_ADDRESS, _DNS_PORT))
        try:
            opened[0].setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _WAITING)
        except PermissionError:  # in a user namespace: what net.core.rmem_max allows
            opened[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WAITING)
        opened[1].listen(_BACKLOG)
    except BaseException:
        for sock in opened:
            sock.close()
        raise
    return opened


def detach(container: str) -> None:
    """Remove the container's links.  Idempotent; NetworkError where the kernel refuses."""
    detach_all([container])


def detach_all(containers: Iterable[str]) -> None:
    """Remove the links of many containers at once: the kernel then waits for its readers once, not
    once per link.  Those that went with their namespace are no error."""
    try:
        names = host_ends(containers)
        if names:
            with netlink.Netlink() as sock:
                netlink.delete_links(sock, names)
    except OSError as exc:
        raise NetworkError(f"cannot remove links of containers: {exc.strerror}") from exc


def host_ends(containers: Iterable[str]) -> list[str]:
    """The interfaces on this machine that are left of these containers' links."""
    prefixes = tuple(kind + host_interface(id_, 0)[2:-1] for id_ in containers
                     for kind in _HOST_ENDS)  # fmt: skip
    return [name for _, name in socket.if_nameindex() if name.startswith(prefixes)]
