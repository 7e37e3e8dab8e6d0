"""Do the parts of the project fit together?  One small function per rule, all in `RULES`.

Runs on the whole project, after profiles have been applied; reads the model and the tree only for
places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from orchestrator.spec import ports
from orchestrator.spec.model import MOST_CONTAINERS, Project, Service
from orchestrator.spec.node import Node, find
from orchestrator.spec.report import Report
from orchestrator.spec.suggestion import nearest_name
from orchestrator.spec.tree import Path, dotted

Finding = tuple[Path, str, str | None]
"""(path, message, hint)"""
RESTART_POLICIES = ("no", "always", "unless-stopped", "on-failure")
Rule = Callable[[Project, Node], Iterator[Finding]]


def check(project: Project, root: Node, report: Report) -> None:
    """Adds whatever does not fit to the report, at its place."""
    _apply(RULES, project, root, report)
    for path, message, _ in _optional_dependencies(project, root):
        place = report.place(_nearest(root, path))
        report.warn(f"{place}: {dotted(path)}: {message}")


def check_start(project: Project, root: Node, report: Report) -> None:
    """The same for what the reference refuses only when it makes the containers."""
    _apply(START_RULES, project, root, report)


def _apply(rules: Iterable[Rule], project: Project, root: Node, report: Report) -> None:
    for rule in rules:
        for path, message, hint in rule(project, root):
            report.add(_nearest(root, path), f"{dotted(path)}: {message}", hint=hint)


def _nearest(root: Node, path: Path) -> Node | None:
    for end in range(len(path), 0, -1):
        node = find(root, path[:end])
        if node is not None and node.line:
            return node
    return None


def _near(name: str, known: Iterable[str]) -> str | None:
    near = nearest_name(name, known)
    return f"did you mean `{near}`?" if near else None


def _image(project: Project, root: Node) -> Iterator[Finding]:
    for name, service in project.services.items():
        node = find(root, ("services", name))
        told = node.entries if node else {}
        if not service.image and "build" not in told and "provider" not in told:
            yield ("services", name), "has neither an image nor a build context", "add `image:`"


def _dependencies(project: Project, root: Node) -> Iterator[Finding]:
    known = {**project.services, **project.disabled}
    for name, service in project.services.items():
        for other, dependency in service.depends_on.items():
            if dependency.required and other not in known:
                path = _said_at(root, ("services", name), other)
                yield path, f"no service is called {other}", _near(other, known)


def _said_at(root: Node, service: Path, other: str) -> Path:
    """Where a service says that it depends on another: other attributes imply it too."""
    implied = (*service, "depends_on", other)
    at, told = find(root, implied), find(root, service)
    for key, node in told.entries.items() if told and at else ():
        if key != "depends_on" and at and node.mark == at.mark:
            return (*service, key)
        for index, item in enumerate(node.items):
            if at and item.mark == at.mark:
                return (*service, key, index)
    return implied


def _optional_dependencies(project: Project, root: Node) -> Iterator[Finding]:
    """Nobody declares it: it was left out with its profile, or it is mistyped."""
    known = {**project.services, **project.disabled}
    for name, service in project.services.items():
        for other, dependency in service.depends_on.items():
            if not dependency.required and other not in known:
                path: Path = ("services", name, "depends_on", other)
                yield path, f"no service is called {other}; it is optional, so left out", None


def _cycle(project: Project, root: Node) -> Iterator[Finding]:
    cycle = find_cycle({name: list(s.depends_on) for name, s in project.services.items()})
    if cycle:
        path: Path = ("services", cycle[0], "depends_on", cycle[1])
        yield path, f"services wait for each other: {' -> '.join(cycle)}", None


def find_cycle(graph: Mapping[str, list[str]]) -> list[str] | None:
    """The first circle as a path that ends where it began; names nobody declares are ignored."""
    done: set[str] = set()
    for start in graph:
        way: dict[str, Iterator[str]] = {}
        entering: str | None = start
        while True:
            if entering in way:
                names = list(way)
                return [*names[names.index(entering) :], entering]
            if entering is not None and entering in graph and entering not in done:
                way[entering] = iter(graph[entering])
            if not way:
                break
            last = next(reversed(way))
            entering = next(way[last], None)
            if entering is None:
                done.add(last)
                del way[last]
    return None


def _networks(project: Project, root: Node) -> Iterator[Finding]:
    for name, service in project.services.items():
        for key in service.networks:
            if key not in project.networks and key != "default":  # which normalisation adds
                path: Path = ("services", name, "networks", key)
                hint = _near(key, project.networks) or f"declare it below `networks:`: `{key}:`"
                yield path, f"no network is called {key}", hint


def _volumes(project: Project, root: Node) -> Iterator[Finding]:
    for name, service in project.services.items():
        for index, mount in enumerate(service.volumes):
            key = mount.source
            if mount.type == "volume" and key is not None and key not in project.volumes:
                path: Path = ("services", name, "volumes", index)
                hint = _near(key, project.volumes) or (
                    f"declare it below `volumes:`, or write ./{key} for a directory")  # fmt: skip
                yield path, f"no volume is called {key}", hint


def _granted(project: Project, root: Node) -> Iterator[Finding]:
    for name, service in project.services.items():
        build = service.build.secrets if service.build else ()
        asked: tuple[tuple[Path, Iterable[str], Iterable[str]], ...] = (
            (("secrets",), [g.source for g in service.secrets], project.secrets),
            (("configs",), [g.source for g in service.configs], project.configs),
            (("build", "secrets"), [g.source for g in build], project.secrets),
        )
        for where, sources, known in asked:
            for index, source in enumerate(sources):
                if source not in known:
                    path: Path = ("services", name, *where, index)
                    what = str(where[-1])[:-1]
                    yield path, f"no {what} is called {source}", _near(source, known)
        for key in service.models:
            if key not in project.models:
                path = ("services", name, "models", key)
                yield path, f"no model is called {key}", _near(key, project.models)


def _sources(project: Project, root: Node) -> Iterator[Finding]:
    for key, secret in project.secrets.items():
        if not (secret.external or secret.file or secret.environment):
            hint = "drivers of secrets are of Swarm only" if secret.driver else None
            yield ("secrets", key), "must have `file` or `environment`", hint


def _builds(project: Project, root: Node) -> Iterator[Finding]:
    for name, service in project.services.items():
        build = service.build
        if build is None:
            continue
        path: Path = ("services", name, "build")
        if build.dockerfile and build.dockerfile_inline:
            text = "`dockerfile` and `dockerfile_inline` exclude each other"
            yield (*path, "dockerfile_inline"), text, None
        if build.platforms and service.platform and service.platform not in build.platforms:
            text = f"`build.platforms` lacks the platform of the service, {service.platform}"
            yield (*path, "platforms"), text, None
        for key, context in build.additional_contexts.items():
            other = context.removeprefix("service:")
            if other == context:
                continue
            place = (*path, "additional_contexts", key)
            if other not in project.services:
                yield place, f"no service is called {other}", _near(other, project.services)
            elif project.services[other].build is None:
                yield place, f"service {other} is not built", "give it a `build:`"


def _mount_targets(project: Project, root: Node) -> Iterator[Finding]:
    for name, service in project.services.items():
        targets = [text.partition(":")[0] for text in service.tmpfs]
        places: list[Path] = [("tmpfs", index) for index in range(len(targets))]
        targets += [mount.target for mount in service.volumes]
        places += [("volumes", index) for index in range(len(service.volumes))]
        taken: dict[str, Path] = {}
        for target, place in zip(targets, places, strict=True):
            if target in taken:
                text = f"{target} is already mounted by {dotted(taken[target])}"
                yield ("services", name, *place), text, None
            taken.setdefault(target, place)


def _absolute_targets(project: Project, root: Node) -> Iterator[Finding]:
    for name, service in project.services.items():
        for index, mount in enumerate(service.volumes):
            if not mount.target.startswith("/"):
                path: Path = ("services", name, "volumes", index)
                hint = "a single letter before `:` is read as a drive: use a longer name"
                is_drive = ":" in (mount.target[1:2], (mount.source or "")[1:2])
                text = f"target {mount.target!r} must be an absolute path"
                yield path, text, hint if is_drive else None


def _port_numbers(project: Project, root: Node) -> Iterator[Finding]:
    for name, service in project.services.items():
        for index, port in enumerate(service.ports):
            path: Path = ("services", name, "ports", index)
            if not 0 < port.target <= ports.HIGHEST:
                text = f"{port.target} is not a port from 1 to {ports.HIGHEST}"
                yield (*path, "target"), text, None
            if port.protocol not in ports.PROTOCOLS:
                text = f"must be {', '.join(ports.PROTOCOLS)}, not {port.protocol!r}"
                yield (*path, "protocol"), text, None
            try:
                ports.parse_range(port.published or "0")
            except ValueError as exc:
                yield (*path, "published"), str(exc), None


def _restart(project: Project, root: Node) -> Iterator[Finding]:
    for name, service in project.services.items():
        policy, colon, count = service.restart.partition(":")
        if policy not in RESTART_POLICIES or (
            colon and (policy != "on-failure" or not count.isdecimal())
        ):
            text = f"must be {', '.join(RESTART_POLICIES)} or on-failure:N, not {service.restart!r}"
            near = nearest_name(policy, RESTART_POLICIES)
            hint = f"did you mean `{near}`?" if near else None
            yield ("services", name, "restart"), text, hint


def _host_addresses(project: Project, root: Node) -> Iterator[Finding]:
    for name, service in project.services.items():
        for host, address in service.extra_hosts:
            if address != "host-gateway" and not ports.is_address(address):
                path: Path = ("services", name, "extra_hosts")
                yield path, f"{address!r} is not the address of {host}", "an IP or host-gateway"


def _container_names(project: Project, root: Node) -> Iterator[Finding]:
    for name, service in project.services.items():
        if service.container_name is not None and service.scale > 1:
            path: Path = ("services", name, "container_name")
            text = f"a fixed name cannot be given to {service.scale} containers"
            yield path, text, "remove `container_name` or scale to 1"


def _network_mode(project: Project, root: Node) -> Iterator[Finding]:
    for name in project.services:
        node = root.get("services", name)
        entries = node.entries if node else {}
        mode, networks = entries.get("network_mode"), entries.get("networks")
        if mode is not None and mode.value and networks is not None and networks.entries:
            path: Path = ("services", name, "network_mode")
            yield path, "`network_mode` and `networks` exclude each other", None


_TWICE = (
    ("scale", ("replicas",)), ("cpus", ("resources", "limits", "cpus")),
    ("mem_limit", ("resources", "limits", "memory")),
    ("mem_reservation", ("resources", "reservations", "memory")),
    ("pids_limit", ("resources", "limits", "pids")),
)  # fmt: skip


def _said_twice(project: Project, root: Node) -> Iterator[Finding]:
    for name in project.services:
        node = root.get("services", name)
        for key, below in _TWICE if node else ():
            one = node.get(key) if node else None
            two = node.get("deploy", *below) if node else None
            parent = node.get("deploy", *below[:-1]) if node else None
            if one is None or parent is None or (key == "scale" and two is None):
                continue
            if key != "scale" and not one.value:
                continue  # 0 is not said
            if (two.value if two else 0) != one.value:
                text = f"differs from deploy.{'.'.join(below)}"
                yield ("services", name, key), text, "say it once"


def _watched(project: Project, root: Node) -> Iterator[Finding]:
    for name, service in project.services.items():
        for index, rule in enumerate(service.develop.watch if service.develop else ()):
            if rule.target is None and rule.action not in ("rebuild", "restart"):
                path: Path = ("services", name, "develop", "watch", index)
                yield path, f"action {rule.action} needs a `target` in the container", None


def _static_addresses(project: Project, root: Node) -> Iterator[Finding]:
    for name, service in project.services.items():
        for key, endpoint in service.networks.items():
            for attribute in ("ipv4_address", "ipv6_address"):
                if getattr(endpoint, attribute) and service.scale > 1:
                    path: Path = ("services", name, "networks", key, attribute)
                    yield path, f"one address cannot be given to {service.scale} containers", None


def _start_interval(project: Project, root: Node) -> Iterator[Finding]:
    for name, service in project.services.items():
        health = service.healthcheck
        if health and health.start_interval is not None and not health.start_period:
            path: Path = ("services", name, "healthcheck", "start_interval")
            yield path, "has no effect without `start_period`", "add start_period"


def _healthy_dependencies(project: Project, root: Node) -> Iterator[Finding]:
    for name, service in project.services.items():
        for other, dependency in service.depends_on.items():
            needed = project.services.get(other)
            if dependency.condition == "service_healthy" and needed and _unchecked(needed):
                path: Path = ("services", name, "depends_on", other, "condition")
                yield path, f"{other} has its healthcheck disabled and never becomes healthy", None


def _unchecked(service: Service) -> bool:
    health = service.healthcheck
    return health is not None and (health.disable or health.test == ("NONE",))


def _scale(project: Project, root: Node) -> Iterator[Finding]:
    for name, service in project.services.items():
        if service.scale > MOST_CONTAINERS:
            text = f"{service.scale} containers of one service are more than {MOST_CONTAINERS}"
            said = root.get("services", name, "scale") is not None
            where: Path = ("scale",) if said else ("deploy", "replicas")
            yield ("services", name, *where), text, None


RULES: tuple[Rule, ...] = (
    _image, _builds, _dependencies, _cycle, _networks, _volumes, _granted, _sources,
    _mount_targets, _container_names, _network_mode, _said_twice, _watched,
)  # fmt: skip
START_RULES: tuple[Rule, ...] = (
    _absolute_targets, _port_numbers, _restart, _host_addresses, _static_addresses, _start_interval,
    _healthy_dependencies, _scale,
)  # fmt: skip
