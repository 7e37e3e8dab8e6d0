"""What is asked of the machine before anything is made: ports, bind sources, names.

A fault found here leaves no half-made resource.  What is asked may change a moment later: the
supervisor meets the same faults again and reports them in the same words.
"""

from __future__ import annotations

import _socket
import errno
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from orchestrator.dataclass import dataclass
from orchestrator.engine import endpoints
from orchestrator.engine.mounting import driver_opts, looks_like_a_file, may_create_source
from orchestrator.engine.places import spot
from orchestrator.errors import NetworkError, PortInUseError, SpecError, UsageError
from orchestrator.linux import procfs
from orchestrator.runtime.spec import PublishedPort
from orchestrator.spec.model import Project, VolumeMount
from orchestrator.state import driveropts, observe
from orchestrator.state.layout import Layout
from orchestrator.state.records import ContainerRecord

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Held:
    """A host port that one of our own containers holds and is about to let go."""

    protocol: str
    port: int


def check_bind_sources(project: Project, services: Iterable[str]) -> None:
    """SpecError with every bind source that is missing and must not be made."""
    problems = []
    for name in services:
        for number, volume in enumerate(project.services[name].volumes):
            message = _source_fault(volume)
            if message is not None:
                where = spot(project, "services", name, "volumes", number)
                problems.append((where, *message))
    if problems:
        raise SpecError(problems[0][1], hint=problems[0][2], problems=tuple(problems))


def _source_fault(volume: VolumeMount) -> tuple[str, str] | None:
    source = volume.source
    if volume.type != "bind" or source is None or os.path.lexists(source):
        return None
    if may_create_source(volume):
        return None
    if not volume.create_host_path:
        return f"bind source {source} does not exist, and create_host_path is false", \
               f"make it: mkdir -p {source}"
    named = source if looks_like_a_file(source) else volume.target
    message = f"bind source {source} does not exist, and {os.path.basename(named)} looks like a " \
              "file, so no directory is made in its place"
    return message, "create the file, or make the directory yourself"


def check_networks(project: Project, services: Iterable[str]) -> None:
    """SpecError with every attribute of the services' networks that cannot be."""
    problems: list[tuple[str, str, str | None]] = []
    for name in services:
        for path, message in endpoints.faults(project.services[name]):
            where = spot(project, "services", name, *path)
            problems.append((where, f"{path[-1]}: {message}", None))
    if problems:
        raise SpecError(problems[0][1], problems=tuple(problems))


def check_volumes(project: Project, keys: Iterable[str]) -> None:
    """SpecError with every volume whose `driver_opts` cannot be carried out on this machine."""
    problems = []
    for key in keys:
        volume = project.volumes.get(key)
        options = driver_opts(volume, project) if volume else {}
        message = _options_fault(options) if options else None
        if message is not None:
            where = spot(project, "volumes", key, "driver_opts")
            problems.append((where, f"volume {key}: {message}", None))
    if problems:
        raise SpecError(problems[0][1], problems=tuple(problems))


def _options_fault(options: Mapping[str, str]) -> str | None:
    try:
        driveropts.mounts(options)
    except ValueError as exc:
        return str(exc)
    if driveropts.is_bind(options):
        device = options["device"]
        return None if os.path.isdir(device) else f"device {device} is no directory that exists"
    fstype = options["type"]
    if fstype in procfs.filesystems() or _has_module(fstype):
        return None
    return f"this kernel has no file system {fstype}"


def _has_module(fstype: str) -> bool:
    """Whether the kernel could load it: a file of that name among its modules."""
    try:
        with open(f"/lib/modules/{os.uname().release}/modules.dep", encoding="utf-8") as file:
            return any(f"/{fstype}.ko" in line.partition(":")[0] for line in file)
    except OSError:
        return False


def check_ports(
    wanted: Iterable[tuple[str, Iterable[PublishedPort]]], *, released: Iterable[Held] = ()
) -> None:
    """PortInUseError where a fixed host port is held by somebody else, or is wanted twice.
    `wanted` are (container name, its ports)."""
    free = set(released)
    seen: dict[tuple[str, int], tuple[str, PublishedPort]] = {}
    for name, ports in wanted:
        for port in ports:
            if port.first == 0 or port.first != port.last or port.or_another:
                continue
            _check_twice(name, port, seen)
            if Held(port.protocol, port.first) not in free:
                _check_free(name, port)


def _check_twice(
    name: str, port: PublishedPort,
    seen: dict[tuple[str, int], tuple[str, PublishedPort]],
) -> None:  # fmt: skip
    other = seen.setdefault((port.protocol, port.first), (name, port))
    if other[1] is port or not _overlap(other[1].host_ip, port.host_ip):
        return
    where = f" ({port.origin})" if port.origin else ""
    raise PortInUseError(
        f"port {port.first}/{port.protocol} is published by both {other[0]} and {name}{where}",
        hint="give one of them another port, or a range such as 8000-8010 for replicas",
    )


def _overlap(one: str, other: str) -> bool:
    """Whether two host addresses have one in common; the empty one is every address."""
    if "" in (one, other):
        return True
    if (":" in one) != (":" in other):
        return False
    return one == other or bool({"0.0.0.0", "::"} & {one, other})


def _check_free(name: str, port: PublishedPort) -> None:
    family = _socket.AF_INET6 if ":" in port.host_ip else _socket.AF_INET
    kind = _socket.SOCK_STREAM if port.protocol == "tcp" else _socket.SOCK_DGRAM
    sock = _socket.socket(family, kind | _socket.SOCK_CLOEXEC)
    try:
        if port.protocol == "tcp":  # else a connection in TIME_WAIT would look like a holder
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        if family == _socket.AF_INET6:
            sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
        sock.bind((port.host_ip, port.first))
        if port.protocol == "tcp":  # with SO_REUSEADDR only listen(2) meets another listener
            sock.listen(1)
    except OSError as exc:
        raise _port_fault(name, port, exc) from exc
    finally:
        sock.close()


def _port_fault(name: str, port: PublishedPort, exc: OSError) -> NetworkError:
    shown = f"[{port.host_ip}]" if ":" in port.host_ip else port.host_ip or "0.0.0.0"
    what = f"cannot publish {shown}:{port.first}/{port.protocol} for {name}"
    where = f" ({port.origin})" if port.origin else ""
    if exc.errno == errno.EADDRINUSE:
        return PortInUseError(
            f"{what}: {_holder(port)}{where}",
            hint="end that process, or publish another port",
        )
    if exc.errno == errno.EADDRNOTAVAIL:
        return NetworkError(f"{what}: this machine has no address {port.host_ip}{where}")
    return NetworkError(f"{what}: {exc.strerror}{where}")


def _holder(port: PublishedPort) -> str:
    holder = procfs.port_holder(port.protocol, port.host_ip or "0.0.0.0", port.first)
    if holder is None or not holder[0]:
        return "the port is in use already"
    pid, command = holder
    words = command.split()
    if "orchestrator.supervisor.main" in words and "--project" in words[:-1]:
        return f"the port is held by project {words[words.index('--project') + 1]} (pid {pid})"
    return f"the port is held by pid {pid} ({command})"


def check_names(layout: Layout, project: Project, services: Iterable[str]) -> None:
    """SpecError where a `container_name` is that of a container of anybody else."""
    wanted = {project.services[s].container_name: s for s in services}
    wanted.pop(None, None)
    for record in _named(layout, wanted):
        service = wanted[record.name]
        if record.oneoff or (record.project, record.service) != (project.name, service):
            raise SpecError(
                _is_taken(record), where=spot(project, "services", service, "container_name"),
                hint="choose another name, or leave container_name out",
            )  # fmt: skip


def check_oneoff_name(layout: Layout, name: str) -> None:
    """UsageError for a --name that is none, or is that of another container."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"invalid container name {name!r}",
                         hint="letters, digits, _, . and -, beginning with a letter or digit")
    for record in _named(layout, (name,)):
        raise UsageError(_is_taken(record), hint="choose another name, or remove that container")


def _is_taken(record: ContainerRecord) -> str:
    return f"container name {record.name} is in use by {record.service} of project {record.project}"


def _named(layout: Layout, names: Collection[str | None]) -> Iterator[ContainerRecord]:
    """The containers of the machine that have one of the names."""
    if names:
        for project in observe.projects(layout):
            for container in observe.observe(layout, project).containers:
                if container.record.name in names:
                    yield container.record
