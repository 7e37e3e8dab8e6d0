"""Services: names, published ports, bridges and terminals of a project's containers.

Puts `network/` together per container: what is bound, what is served, what the keeper holds so that
the next supervisor can go on.  A container's things are released when its process has ended.
"""

from __future__ import annotations

import os
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from orchestrator.errors import NetworkError, StateError
from orchestrator.linux import fds
from orchestrator.network import dns, endpoint, files, waiting
from orchestrator.network.nametable import NameTable
from orchestrator.network.ports import Publisher
from orchestrator.runtime import isolation
from orchestrator.state import observe, store
from orchestrator.state.records import ContainerRecord, NetworkRecord
from orchestrator.supervisor import bridges, faults, peers
from orchestrator.supervisor.impairments import Impairments
from orchestrator.supervisor.misses import Misses
from orchestrator.supervisor.neighbours import Neighbours
from orchestrator.supervisor.redirects import Redirects

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from orchestrator.runtime.spec import ContainerSpec, Endpoint
    from orchestrator.state.records import ContainerStatus
    from orchestrator.supervisor.project import Project

_DNS, _PORTS, _TTY = "dns/", "ports/", "tty/"
_COMPANY = 0.02
"""Seconds for others to come along whose links are to go too; nobody waits for it."""


class Services:
    """What runs for the containers of one project."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._table = NameTable(Neighbours(project.layout, project.name, project.boot_id),
                                is_fit=self._is_fit)  # fmt: skip
        self.misses = Misses(project, self._table)
        self.redirects = Redirects(project)
        self.impairments = Impairments(project)
        self._sockets: dict[str, list[socket.socket]] = {}
        """container -> its DNS sockets"""
        self._publishers: dict[str, Publisher] = {}
        self._terminals: dict[str, int] = {}
        """container -> master of its pty, where the keeper reads it"""
        self._scopes: dict[str, list[anyio.CancelScope]] = {}
        self._detaching: set[str] = set()

    # -- networks

    def create_network(self, record: NetworkRecord) -> str | None:
        """Make the bridge; a reason to warn or None.  On failure nothing is left of it."""
        return bridges.create(self._project.layout, record)

    async def remove_network(self, record: NetworkRecord) -> None:
        """Remove the bridge, its rules and its record."""
        ids, self._detaching = self._detaching, set()
        remove = partial(bridges.remove, self._project.layout, record, containers=ids)
        await self._project.in_thread(remove)

    def is_used(self, network: str) -> bool:
        """Whether a container of another project has it (an `external` network there)."""
        layout = self._project.layout
        for name in observe.projects(layout):
            if name == self._project.name:
                continue
            for id_ in observe.container_ids(layout, name):
                try:
                    path = layout.container_record(name, id_)
                    record = store.read_record(path, ContainerRecord)
                except StateError:
                    continue
                if record is not None and network in record.networks.values():
                    return True
        return False

    def _ensure_bridges(self, spec: ContainerSpec) -> None:
        """After a reboot the records are there and the bridges are not."""
        for one in spec.endpoints:
            if observe.interface_exists(one.bridge):
                continue
            record = store.read_record(
                self._project.layout.network_record(one.network), NetworkRecord
            )
            if record is None:
                raise NetworkError(f"cannot start {spec.name}: network {one.network} is gone",
                                   hint="`up` makes it again")
            self.create_network(record)

    # -- one container

    def files(self, spec: ContainerSpec) -> dict[str, str]:
        """What is bound over /etc/hosts, /etc/resolv.conf and /etc/hostname: name -> text.  With
        the network of another comes what that has there."""
        network = spec.namespaces.network
        if network == "host":
            return _files_of_host(spec)
        if not isolation.is_own(network):
            record, _ = peers.find(self._project, spec, "network", network)
            run_dir = self._project.layout.container_run(record.project, record.id)
            return {name: _text(f"{run_dir}/{name}") for name in ("hosts", "resolv.conf")} | {
                "hostname": files.hostname_file(spec.hostname)}  # fmt: skip
        gateway = next((e.gateway for e in spec.endpoints if e.gateway), None)
        hosts = files.hosts_file(
            hostname=spec.hostname or os.uname().nodename, domainname=spec.domainname,
            extra_hosts=spec.hosts, gateway=gateway,
            addresses=[a for e in spec.endpoints for a in addresses_of(e)],
        )  # fmt: skip
        servers = [endpoint.DNS_ADDRESS] if spec.endpoints else list(_upstreams(spec)())
        return {
            "hosts": hosts,
            "resolv.conf": files.resolv_conf(
                nameservers=servers, search=spec.dns_search or _host_search(),
                options=spec.dns_opt,
            ),
            "hostname": files.hostname_file(spec.hostname or os.uname().nodename),
        }  # fmt: skip

    def publish(self, spec: ContainerSpec) -> list[dict[str, Any]]:
        """Bind its host ports before anything runs: {host_ip, published, target, protocol} of
        each.  PortInUseError."""
        self._ensure_bridges(spec)
        if not spec.ports:
            return []
        _target(spec)
        publisher = Publisher(container=spec.name)
        try:
            for port in spec.ports:
                publisher.bind(port)
        except BaseException:
            publisher.close()
            raise
        self._publishers[spec.id] = publisher
        return [bound.to_json() for bound in publisher.bound]

    def attach(self, spec: ContainerSpec, pid: int) -> None:
        """Interfaces, DNS and names for a process that waits; from here on it is served."""
        sockets: list[socket.socket] = []
        if isolation.is_own(spec.namespaces.network):
            sockets = endpoint.attach(pid, spec.endpoints, container=spec.id,
                                      dns=bool(spec.endpoints), hairpin=bool(spec.ports))
        self._serve(spec, sockets)
        self.store_again(spec.id)
        self.impairments.renew()

    def _serve(self, spec: ContainerSpec, sockets: list[socket.socket]) -> None:
        self._table.set(
            spec.id, {e.network: (e.names, addresses_of(e)) for e in spec.endpoints},
            name=spec.name, links=spec.links,
            healthy_only=[e.network for e in spec.endpoints if e.healthy_names],
        )
        if sockets:
            self._sockets[spec.id] = sockets
            self._beside(spec.id, lambda: dns.serve(
                sockets, container=spec.id, table=self._table, upstreams=_upstreams(spec),
                missed=lambda name: self.misses.count(spec.id, name),
            ))  # fmt: skip
        publisher = self._publishers.get(spec.id)
        if publisher is not None:
            address = _target(spec)
            self._beside(spec.id, lambda: publisher.serve(address))
            self.redirects.put(spec, publisher.bound)

    def _is_fit(self, id_: str) -> bool:
        lane = self._project.lanes.get(id_)
        return lane is None or lane.status.health not in ("starting", "unhealthy")

    def keep_terminal(self, id_: str, master: int) -> None:
        """Hold a copy of a pty's master: the container is hung up when the last one closes."""
        self._terminals[id_] = master
        self._store(_TTY + id_, [master])

    def terminal(self, id_: str) -> list[int]:
        """The master of a container's pty, ours; nothing where it has none."""
        return [self._terminals[id_]] if id_ in self._terminals else []

    def release(self, id_: str) -> None:
        """The process has ended (or never began): close and forget what was for it."""
        for scope in self._scopes.pop(id_, ()):
            scope.cancel()
        self._table.remove(id_)
        self.misses.forget(id_)
        self.redirects.remove(id_)
        self.impairments.release(id_)
        sockets = self._sockets.pop(id_, [])
        waiting.close(sockets)
        publisher = self._publishers.pop(id_, None)
        if publisher is not None:
            publisher.close()
        master = self._terminals.pop(id_, None)
        if master is not None:
            os.close(master)
        for prefix, was_there in ((_DNS, sockets), (_PORTS, publisher), (_TTY, master is not None)):
            if was_there:
                self._project.link.tell({"op": "unstore", "name": prefix + id_})

    def detach(self, id_: str) -> None:
        """Remove host ends of its links that have not gone with the namespace; soon, together
        with those of others or with their network: the kernel waits once for all."""
        if not self._detaching:
            self._project.group.start_soon(self._detach_soon)
        self._detaching.add(id_)

    async def _detach_soon(self) -> None:
        await anyio.sleep(_COMPANY)
        await self.detached()

    async def detached(self) -> None:
        """Do now what `detach` has put off."""
        ids, self._detaching = self._detaching, set()
        try:
            if ids:
                await self._project.in_thread(endpoint.detach_all, ids)
        except NetworkError as exc:
            faults.note(exc.message)

    # -- from one supervisor, or keeper, to the next

    def store_again(self, id_: str) -> None:
        """Give the keeper what it holds for the next supervisor."""
        publisher = self._publishers.get(id_)
        listeners = publisher.sockets if publisher is not None else []
        self._store(_DNS + id_, [sock.fileno() for sock in self._sockets.get(id_, ())])
        self._store(_PORTS + id_, [sock.fileno() for sock in listeners])
        self._store(_TTY + id_, self.terminal(id_))

    def _store(self, name: str, descriptors: Sequence[int]) -> None:
        for start in range(0, len(descriptors), fds.MAX_FDS):
            self._project.link.tell({"op": "store", "name": name, "also": start > 0},
                                    descriptors[start : start + fds.MAX_FDS])  # fmt: skip

    def adopt(
        self, spec: ContainerSpec, status: ContainerStatus, stored: dict[str, list[int]]
    ) -> None:
        """Go on serving a running container with what another supervisor has left; takes its
        descriptors out of `stored`."""
        sockets = [_socket(fd) for fd in stored.pop(_DNS + spec.id, [])]
        listeners = [_socket(fd) for fd in stored.pop(_PORTS + spec.id, [])]
        for fd in stored.pop(_TTY + spec.id, [])[:1]:
            self._terminals[spec.id] = fd
        if status.ports:
            publisher = Publisher(container=spec.name)
            publisher.adopt(listeners, status.ports)
            self._publishers[spec.id] = publisher
        self._serve(spec, sockets)
        if spec.endpoints and not sockets:
            faults.note(f"{spec.name}: its DNS sockets are lost, names do not resolve in it")

    def _beside(self, id_: str, serve: Callable[[], Awaitable[None]]) -> None:
        scope = anyio.CancelScope()
        self._scopes.setdefault(id_, []).append(scope)
        self._project.group.start_soon(self._guarded, scope, id_, serve)

    async def _guarded(
        self, scope: anyio.CancelScope, id_: str, serve: Callable[[], Awaitable[None]]
    ) -> None:
        with scope:
            try:
                await serve()
            except Exception as exc:
                if not scope.cancel_called:  # else its sockets were closed under it
                    faults.report(exc, doing=f"serving container {id_[:12]}")


def addresses_of(end: Endpoint) -> list[str]:
    """Its IPv4 and IPv6 address, as far as it has them."""
    return [address for address in (end.address, end.address6) if address]


def _target(spec: ContainerSpec) -> str:
    """Where published ports lead: the network with the gateway, else the first."""
    ends = sorted(spec.endpoints, key=lambda e: e.gateway is None and e.gateway6 is None)
    if not ends:
        raise NetworkError(f"cannot publish ports of {spec.name}: it has no network")
    return addresses_of(ends[0])[0]


def _upstreams(spec: ContainerSpec) -> Callable[[], Sequence[str]]:
    """Whom its resolver asks for other names: nobody where all its networks are internal."""
    if spec.endpoints and all(e.gateway is None and e.gateway6 is None for e in spec.endpoints):
        return tuple
    return (lambda: spec.dns) if spec.dns else dns.host_upstreams


def _host_search() -> list[str]:
    return files.search_domains(_text("/etc/resolv.conf"))


def _files_of_host(spec: ContainerSpec) -> dict[str, str]:
    """With the machine's own network go its names, and what the file adds."""
    extra = "".join(f"{'127.0.0.1' if address == 'host-gateway' else address}\t{name}\n"
                    for name, address in spec.hosts)  # fmt: skip
    resolv_conf = _text("/etc/resolv.conf")
    if spec.dns or spec.dns_search or spec.dns_opt:
        resolv_conf = files.resolv_conf(
            nameservers=spec.dns or files.nameservers(resolv_conf),
            search=spec.dns_search or files.search_domains(resolv_conf), options=spec.dns_opt)
    return {"hosts": _text("/etc/hosts") + extra, "resolv.conf": resolv_conf,
            "hostname": files.hostname_file(spec.hostname or os.uname().nodename)}


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _socket(fd: int) -> socket.socket:
    """A kept descriptor as a socket again; it owns the descriptor."""
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    return sock
