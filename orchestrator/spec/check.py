"""Do the parts of the project fit together?  One small function per rule, all in `RULES`.

Runs on the whole project, after profiles have been applied; reads the model and the tree only for
places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from orchestrator.spec import ports
from orchestrator.spec.model import Project, Service
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
    for name, service in project.services.items():
        for other, dependency in service.depends_on.items():
            path: Path = ("services", name, "depends_on", other)
            if other in project.disabled and dependency.required:
                profiles = ", ".join(project.disabled[other].profiles)
                hint = f"add --profile {project.disabled[other].profiles[0]}, or `required: false`"
                yield path, f"needs {other}, which is only in profile {profiles}", hint
            elif other not in project.services and other not in project.disabled:
                known = {**project.services, **project.disabled}
                yield path, f"no service is called {other}", _near(other, known)


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
            if key not in project.networks:
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


def _granted(section: str) -> Rule:
    def rule(project: Project, root: Node) -> Iterator[Finding]:
        declared = root.get(section)
        known = declared.entries if declared else {}
        for name in project.services:
            node = root.get("services", name, section)
            for index, item in enumerate(node.items if node else ()):
                source = item.get("source")
                if source is not None and source.value not in known:
                    path: Path = ("services", name, section, index)
                    hint = _near(str(source.value), known)
                    yield path, f"no {section[:-1]} is called {source.value}", hint

    return rule


def _sources(section: str, keys: tuple[str, ...]) -> Rule:
    """Exactly one of the keys says where a content comes from."""

    def rule(project: Project, root: Node) -> Iterator[Finding]:
        node = root.get(section)
        for name, declared in (node.entries if node else {}).items():
            said = [key for key in keys if key in declared.entries]
            external = declared.get("external")
            if len(said) > 1:
                yield (section, name), f"{' and '.join(said)} exclude each other", "keep one"
            elif not said and not (external and external.value) and not declared.get("driver"):
                yield (section, name), "nothing says what it contains", f"one of {', '.join(keys)}"

    return rule


def _mount_targets(project: Project, root: Node) -> Iterator[Finding]:
    for name, service in project.services.items():
        taken = {text.partition(":")[0]: index for index, text in enumerate(service.tmpfs)}
        for index, mount in enumerate(service.volumes):
            path: Path = ("services", name, "volumes", index)
            if mount.target in taken:
                yield path, f"{mount.target} is already mounted by tmpfs", None


def _absolute_targets(project: Project, root: Node) -> Iterator[Finding]:
    for name, service in project.services.items():
        for index, mount in enumerate(service.volumes):
            if not mount.target.startswith("/"):
                path: Path = ("services", name, "volumes", index)
                hint = "a single letter before `:` is read as a drive: use a longer name"
                is_drive = ":" in (mount.target[1:2], (mount.source or "")[1:2])
                text = f"target {mount.target!r} must be an absolute path"
                yield path, text, hint if is_drive else None


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
    seen: dict[str, str] = {}
    for name, service in project.services.items():
        fixed = service.container_name
        if fixed is None:
            continue
        path: Path = ("services", name, "container_name")
        if fixed in seen:
            yield path, f"{fixed} is already the name of service {seen[fixed]}", None
        seen[fixed] = name
        if service.scale > 1:
            text = f"a fixed name cannot be given to {service.scale} containers"
            yield path, text, "remove `container_name` or scale to 1"


def _network_mode(project: Project, root: Node) -> Iterator[Finding]:
    for name in project.services:
        node = root.get("services", name)
        entries = node.entries if node else {}
        if "network_mode" in entries and "networks" in entries and entries["networks"].entries:
            path: Path = ("services", name, "network_mode")
            yield path, "`network_mode` and `networks` exclude each other", None


_TWICE = (
    ("scale", ("replicas",)), ("cpus", ("resources", "limits", "cpus")),
    ("mem_limit", ("resources", "limits", "memory")),
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
            if two is not None and _number(one) == _number(two):
                continue
            yield ("services", name, key), f"differs from deploy.{'.'.join(below)}", "say it once"


def _number(node: Node) -> object:
    try:
        return float(str(node.value))
    except ValueError:
        return str(node.value)


def _static_addresses(project: Project, root: Node) -> Iterator[Finding]:
    for name, service in project.services.items():
        for key, endpoint in service.networks.items():
            if endpoint.ipv4_address and service.scale > 1:
                path: Path = ("services", name, "networks", key, "ipv4_address")
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


def _external_volumes(project: Project, root: Node) -> Iterator[Finding]:
    for key, volume in project.volumes.items():
        node = root.get("volumes", key)
        for other in ("driver", "driver_opts", "labels") if volume.external and node else ():
            if node is not None and other in node.entries:
                text = "an external volume has no settings but its name"
                yield ("volumes", key, other), text, None


RULES: tuple[Rule, ...] = (
    _image, _dependencies, _cycle, _networks, _volumes, _granted("secrets"), _granted("configs"),
    _sources("secrets", ("file", "environment")),
    _sources("configs", ("file", "environment", "content")),
    _mount_targets, _container_names, _network_mode, _said_twice, _external_volumes,
)  # fmt: skip
START_RULES: tuple[Rule, ...] = (
    _absolute_targets, _restart, _host_addresses, _static_addresses, _start_interval,
    _healthy_dependencies,
)  # fmt: skip
