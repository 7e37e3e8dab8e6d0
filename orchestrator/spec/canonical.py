"""Short forms become long forms, lists where things may be only once lose what is repeated.

Takes a tree that the schema accepted; running it again changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.spec import mounts, ports, shapes, values
from orchestrator.spec.node import Node
from orchestrator.spec.report import Report
from orchestrator.spec.shapes import made
from orchestrator.spec.tree import Path, dotted

Rule = Callable[[Node], Node]


def canonical(root: Node, report: Report) -> Node:
    """The whole tree in long form; values that cannot be read go into the report."""
    entries = dict(root.entries)
    entries.pop("version", None)
    for section, rules in _SECTIONS.items():
        node = entries.get(section)
        if node is not None and isinstance(node.value, dict):
            entries[section] = node.copy({
                name: apply(child, rules, (section, name), report)
                for name, child in node.value.items()
            })  # fmt: skip
    return root.copy(entries)


def apply(node: Node, rules: dict[str, Rule], path: Path, report: Report) -> Node:
    """The mapping with each key's rule applied; a ValueError becomes a problem at its place."""
    if not isinstance(node.value, dict):
        return node
    entries: dict[str, Node] = {}
    for key, child in node.value.items():
        rule = rules.get(key)
        if rule is None or child.value is None:
            entries[key] = child
            continue
        try:
            entries[key] = rule(child)
        except ItemErrors as exc:
            for index, item, message in exc.found:
                report.add(item, f"{dotted((*path, key, index))}: {message}")
        except ValueError as exc:
            report.add(child, f"{dotted((*path, key))}: {exc}")
    return node.copy(entries)


class ItemErrors(ValueError):
    """Items of a list that cannot be read: (index, item, why)."""

    def __init__(self, found: list[tuple[int, Node, str]]) -> None:
        super().__init__(found[0][2])
        self.found = found


MOST_ITEMS = 2 * 65536
"""Entries one list may become; every port of both protocols are no more."""


def _each(node: Node, convert: Callable[[Node], list[Node]]) -> list[Node]:
    found: list[Node] = []
    errors: list[tuple[int, Node, str]] = []
    for index, item in enumerate(node.items):
        try:
            found += convert(item)
        except ValueError as exc:
            errors.append((index, item, str(exc)))
        if len(found) > MOST_ITEMS:
            raise ValueError(f"the ranges stand for more than {MOST_ITEMS} entries")
    if errors:
        raise ItemErrors(errors)
    return found


def _ports(node: Node) -> Node:
    items = _each(node, _port)
    return node.copy(shapes.unique(items, [_port_key(item) for item in items]))


def _port(item: Node) -> list[Node]:
    if isinstance(item.value, dict):
        return [_long_port(item)]
    if isinstance(item.value, float):
        raise ValueError(f"{item.value} is not a port (quote it)")
    return [
        made(item, mode="ingress", host_ip=found.host_ip, target=found.target,
             published=found.published, protocol=found.protocol)
        for found in ports.parse_port(str(item.value))
    ]  # fmt: skip


def _long_port(item: Node) -> Node:
    entries = dict(item.entries)
    if "target" not in entries:
        raise ValueError("`target` is missing: the port inside the container")
    for key in ("published", "host_ip"):
        if key in entries and entries[key].value in ("", None):
            del entries[key]
    if "published" in entries:
        entries["published"] = entries["published"].copy(str(entries["published"].value))
    entries.setdefault("mode", item.copy("ingress"))
    entries.setdefault("protocol", item.copy("tcp"))
    return item.copy(entries)


def _port_key(item: Node) -> tuple[object, ...]:
    def value(key: str, default: object) -> object:
        node = item.get(key)
        return default if node is None else node.value

    return (value("host_ip", "0.0.0.0"), value("published", ""), value("target", 0),
            value("protocol", "tcp"))  # fmt: skip


def _volumes(node: Node) -> Node:
    items = _each(node, _volume)
    return node.copy(shapes.unique(items, [_target(item) for item in items]))


def _target(item: Node) -> object:
    target = item.get("target")
    return target.value if target else None


def _volume(item: Node) -> list[Node]:
    if isinstance(item.value, dict):
        target = item.get("target")
        if target is None or not target.value:
            raise ValueError("`target` is missing: the path inside the container")
        kind = item.get("type")
        if kind is not None and kind.value == "bind" and "source" not in item.value:
            raise ValueError("`source` is missing: a bind mount needs a path of the host")
        cleaned = target.copy(mounts.clean(str(target.value)))
        return [item.copy({**item.entries, "target": cleaned, **_mount_parts(item)})]
    mount = mounts.parse_mount(str(item.value))
    is_bind = mount.type == "bind"
    options: dict[str, object] = {}
    if is_bind or mount.selinux or mount.propagation:
        options["bind"] = made(
            item, selinux=mount.selinux, propagation=mount.propagation,
            create_host_path=is_bind or None,
        )  # fmt: skip
    if not is_bind:
        options["volume"] = made(item, nocopy=mount.nocopy or None)
    return [
        made(item, type=mount.type, source=mount.source, target=mount.target,
             read_only=mount.read_only or None, **options)
    ]  # fmt: skip


def _mount_parts(item: Node) -> dict[str, Node]:
    """The sub-mappings of a long mount, in their long form."""
    parts: dict[str, Node] = {}
    labels, size = item.get("volume", "labels"), item.get("tmpfs", "size")
    if labels is not None:
        volume = item.entries["volume"]
        parts["volume"] = volume.copy({**volume.entries, "labels": shapes.pairs(labels)})
    if size is not None:
        tmpfs = item.entries["tmpfs"]
        parts["tmpfs"] = tmpfs.copy({**tmpfs.entries, "size": _size(size)})
    return parts


def _command(node: Node) -> Node:
    if not isinstance(node.value, str):
        return node
    return node.copy([node.copy(word) for word in values.split_command(node.value)])


def _test(node: Node) -> Node:
    if isinstance(node.value, str):
        return node.copy([node.copy("CMD-SHELL"), node])
    return node


def _size(node: Node) -> Node:
    if isinstance(node.value, float):
        return node.copy(0)  # the reference drops a number with a fraction and no unit
    return node.copy(values.parse_size(node.value))


def _number(node: Node) -> Node:
    if isinstance(node.value, str):
        return node.copy(values.parse_number(node.value))
    return node


def _integer(node: Node) -> Node:
    return node.copy(values.parse_integer(node.value)) if isinstance(node.value, str) else node


def _duration(node: Node) -> Node:
    """Checked here, kept as text: `bind` and `dump` read it each in their way."""
    values.parse_duration(str(node.value))
    return node


def _environment(node: Node) -> Node:
    found = shapes.pairs(node)
    for name, child in found.entries.items():
        if name != name.rstrip():
            raise ValueError(f"variable {name!r} has a blank before `=`")
        if not name or "=" in name or "\0" in str(child.value):
            raise ValueError(f"{name!r} cannot be the name of a variable")
    return found


def _labels(node: Node) -> Node:
    found = shapes.pairs(node)
    return found.copy({
        key: child.copy("") if child.value is None else child
        for key, child in found.entries.items()
    })  # fmt: skip


def _dependencies(node: Node) -> Node:
    found = shapes.dependencies(node)
    return found.copy({
        name: child.copy({"required": child.copy(True), **child.entries})
        for name, child in found.entries.items()
    })  # fmt: skip


def _pull_policy(node: Node) -> Node:
    return node.copy("missing") if node.value == "if_not_present" else node


def _expose(node: Node) -> Node:
    items = shapes.texts(node).items
    return node.copy(shapes.unique(items, [item.value for item in items]))


def _dns(node: Node) -> Node:
    found = shapes.listed(node)
    return shapes.unique_texts(found.copy([item for item in found.items if item.value != ""]))


def _env_file(node: Node) -> Node:
    items = [
        item if isinstance(item.value, dict) else made(item, path=item, required=True)
        for item in shapes.listed(node).items
    ]
    return node.copy(shapes.unique(items, [item.entries["path"].value for item in items]))


def _grants(node: Node) -> Node:
    return node.copy([shapes.below(item, "source") for item in node.items])


def _hosts(node: Node) -> Node:
    return node.copy(_each(shapes.hosts(node), _host))


def _host(item: Node) -> list[Node]:
    text = str(item.value)
    host, separator, address = text.partition("=")
    if not separator:
        host, separator, address = text.partition(":")
    if not host or not separator:
        raise ValueError(f"{text!r} is not of the form HOST=ADDRESS")
    bare = [part.strip() for part in address.split(",")]
    return [
        item.copy(f"{host}={a[1:-1] if a.startswith('[') and a.endswith(']') else a}") for a in bare
    ]


def _build(node: Node) -> Node:
    found = shapes.below(node, "context")
    rules: dict[str, Rule] = {
        "args": shapes.pairs, "labels": _labels, "secrets": _grants, "extra_hosts": _hosts,
        "additional_contexts": shapes.pairs,
    }  # fmt: skip
    return _nested(rules)(found)


def _nested(rules: dict[str, Rule]) -> Rule:
    def convert(node: Node) -> Node:
        return node.copy({
            key: rules[key](child) if key in rules and child.value is not None else child
            for key, child in node.entries.items()
        })  # fmt: skip

    return convert



_HEALTH: dict[str, Rule] = {
    "test": _test, "interval": _duration, "timeout": _duration, "start_period": _duration,
    "start_interval": _duration,
}  # fmt: skip
_LIMITS = _nested({"memory": _size, "cpus": _number, "pids": _integer})
_DEPLOY: dict[str, Rule] = {
    "labels": _labels,
    "resources": _nested({"limits": _LIMITS, "reservations": _LIMITS}),
}
_SERVICE: dict[str, Rule] = {
    **dict.fromkeys(("annotations", "labels"), _labels),
    **dict.fromkeys(("command", "entrypoint"), _command),
    **dict.fromkeys(("dns", "dns_search"), _dns),
    **dict.fromkeys(("cap_add", "cap_drop", "dns_opt", "links", "profiles"), shapes.unique_texts),
    **dict.fromkeys(("mem_limit", "mem_reservation", "memswap_limit", "shm_size"), _size),
    **dict.fromkeys(("networks", "models"), shapes.names),
    **dict.fromkeys(("secrets", "configs"), _grants),
    "build": _build, "depends_on": _dependencies, "deploy": _nested(_DEPLOY),
    "env_file": _env_file, "environment": _environment, "expose": _expose,
    "extends": lambda node: shapes.below(node, "service"), "extra_hosts": _hosts,
    "group_add": shapes.texts, "healthcheck": _nested(_HEALTH), "label_file": shapes.listed,
    "logging": _nested({"options": shapes.texts}), "ports": _ports, "pull_policy": _pull_policy,
    "stop_grace_period": _duration, "sysctls": shapes.pairs,
    "tmpfs": lambda node: shapes.unique_texts(shapes.listed(node)), "volumes": _volumes,
}  # fmt: skip
_RESOURCE: dict[str, Rule] = {"labels": _labels, "driver_opts": shapes.texts}
_SECTIONS: dict[str, dict[str, Rule]] = {
    "services": _SERVICE, "networks": _RESOURCE, "volumes": _RESOURCE, "secrets": _RESOURCE,
    "configs": _RESOURCE,
}  # fmt: skip
