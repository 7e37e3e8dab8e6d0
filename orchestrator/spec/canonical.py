"""Short forms become long forms, lists where things may be only once lose what is repeated.

Takes a tree that the schema accepted; running it again changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.spec import fields, mounts, ports, shapes, values
from orchestrator.spec.fields import Misread
from orchestrator.spec.node import Node, find
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
                name: _canonical(child, rules, (section, name), report)
                for name, child in node.value.items()
            })  # fmt: skip
    return root.copy(entries)


def _canonical(node: Node, rules: dict[str, Rule], path: Path, report: Report) -> Node:
    if path[0] != "services":
        node = _external(node, path, report)
    return apply(node, rules, path, report)


def _external(node: Node, path: Path, report: Report) -> Node:
    """The old `external: {name: N}` becomes `name` beside `external: true`."""
    external = node.get("external")
    if external is None or not isinstance(external.value, dict):
        return node
    entries = {**node.entries, "external": external.copy(True)}
    said = external.value.get("name")
    if said is not None:
        own = entries.setdefault("name", said)
        if own.value != said.value:
            report.add(own, f"{dotted(path)}: name and external.name conflict; only use name")
        report.warn(f"{dotted(path)}: external.name is deprecated. Please set name and external: "
                    "true")  # fmt: skip
    return node.copy(entries)


def apply(node: Node, rules: dict[str, Rule], path: Path, report: Report) -> Node:
    """The mapping with each key's rule applied; what cannot be read becomes problems at their
    places."""
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
        except Misread as exc:
            for below, message in exc.found:
                place = find(child, below) or child
                report.add(place, f"{dotted((*path, key, *below))}: {message}")
        except ValueError as exc:
            report.add(child, f"{dotted((*path, key))}: {exc}")
    return node.copy(entries)


MOST_ITEMS = 2 * 65536
"""Entries one list may become; every port of both protocols are no more."""


def _each(node: Node, convert: Callable[[Node], list[Node]]) -> list[Node]:
    found: list[Node] = []
    errors: list[tuple[Path, str]] = []
    for index, item in enumerate(node.items):
        try:
            found += convert(item)
        except Misread as exc:
            errors += [((index, *path), message) for path, message in exc.found]
        except ValueError as exc:
            errors.append(((index,), str(exc)))
        if len(found) > MOST_ITEMS:
            raise ValueError(f"the ranges stand for more than {MOST_ITEMS} entries")
    if errors:
        raise Misread(errors)
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
    """By target: a later entry takes the place of an earlier one."""
    found: dict[object, Node] = {}
    for item in _each(node, lambda item: [_grant(item)]):
        target = item.get("target") or item.get("source") or item
        found[target.value if isinstance(target.value, str) else id(item)] = item
    return node.copy(list(found.values()))


def _grant(item: Node) -> Node:
    found = shapes.below(item, "source")
    mode = found.get("mode")
    if mode is None or mode.value is None:
        return found
    try:
        bits = fields.mode(mode.value)
    except ValueError as exc:
        raise Misread([(("mode",), str(exc))]) from None
    return found.copy({**found.entries, "mode": mode.copy(bits)})


def _device(item: Node) -> Node:
    if not isinstance(item.value, str):
        return item
    parts = item.value.split(":")
    if len(parts) > 3 or not parts[0]:
        raise ValueError(f"{item.value!r} is not of the form HOST[:CONTAINER[:PERMISSIONS]]")
    target = parts[1] if len(parts) > 1 else parts[0]
    return made(item, source=parts[0], target=target, permissions=(*parts, "rwm", "rwm", "rwm")[2])


def _gpus(node: Node) -> Node:
    items = [made(node, count="all")] if isinstance(node.value, str) else node.items
    return node.copy(_each(node.copy(items), lambda item: [_request(item)]))


def _request(item: Node) -> Node:
    entries = dict(item.entries)
    count, ids = entries.get("count"), entries.get("device_ids")
    if count is not None and ids is not None:
        raise ValueError("`count` and `device_ids` exclude each other")
    if count is None and ids is None:
        count = item.copy("all")
    if count is not None:
        number = -1 if count.value == "all" else fields.integer(count.value)
        entries["count"] = count.copy(number)
    if "options" in entries:
        entries["options"] = shapes.pairs(entries["options"])
    return item.copy(entries)


def _ssh(node: Node) -> Node:
    found = shapes.pairs(shapes.listed(node))
    return found.copy({
        key: child.copy("") if child.value is None else child
        for key, child in found.entries.items()
    })  # fmt: skip


def _truth_text(node: Node) -> Node:
    return node.copy(values.format_scalar(node.value))


def _options(node: Node) -> Node:
    """Of a provider: every value is a list of texts."""
    return node.copy({
        key: shapes.texts(child if isinstance(child.value, list) else child.copy([child]))
        for key, child in node.entries.items()
    })  # fmt: skip


def _hosts(node: Node) -> Node:
    found = _each(shapes.hosts(node), _host)
    return node.copy(list({item.value: item for item in found}.values()))


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
    return _nested(_BUILD)(shapes.below(node, "context"))


def _nested(rules: dict[str, Rule]) -> Rule:
    def convert(node: Node) -> Node:
        entries: dict[str, Node] = {}
        errors: list[tuple[Path, str]] = []
        for key, child in node.entries.items():
            rule = rules.get(key)
            try:
                entries[key] = child if rule is None or child.value is None else rule(child)
            except Misread as exc:
                errors += [((key, *path), message) for path, message in exc.found]
            except ValueError as exc:
                errors.append(((key,), str(exc)))
        if errors:
            raise Misread(errors)
        return node.copy(entries)

    return convert


def _list_of(rule: Rule) -> Rule:
    return lambda node: node.copy(_each(node, lambda item: [rule(item)]))


def _map_of(rule: Rule) -> Rule:
    """For each entry of a mapping whose keys are the user's."""
    return lambda node: _nested(dict.fromkeys(node.entries, rule))(node)


_HEALTH: dict[str, Rule] = {
    "test": _test, "interval": _duration, "timeout": _duration, "start_period": _duration,
    "start_interval": _duration,
}  # fmt: skip
_ULIMITS = _map_of(
    lambda node: _nested(dict.fromkeys(("soft", "hard"), _integer))(node)
    if isinstance(node.value, dict) else _integer(node)
)  # fmt: skip
_BUILD: dict[str, Rule] = {
    "args": shapes.pairs, "labels": _labels, "secrets": _grants, "extra_hosts": _hosts,
    "additional_contexts": shapes.pairs, "ssh": _ssh, "shm_size": _size, "ulimits": _ULIMITS,
    "no_cache_filter": shapes.listed, "provenance": _truth_text, "sbom": _truth_text,
    "tags": shapes.unique_texts,
}  # fmt: skip
_RESOURCES = _nested({
    "memory": _size, "cpus": _number, "pids": _integer, "devices": _list_of(_request),
})  # fmt: skip
_ROLLOUT = _nested({
    "delay": _duration, "monitor": _duration, "parallelism": _integer, "max_failure_ratio": _number,
})  # fmt: skip
_DEPLOY: dict[str, Rule] = {
    "labels": _labels, "replicas": _integer,
    "resources": _nested({"limits": _RESOURCES, "reservations": _RESOURCES}),
    "update_config": _ROLLOUT, "rollback_config": _ROLLOUT,
    "restart_policy": _nested(
        {"delay": _duration, "window": _duration, "max_attempts": _integer}),
    "placement": _nested({"max_replicas_per_node": _integer}),
}  # fmt: skip
_HOOK = _nested({"command": _command, "environment": _environment})
_WATCH = _nested({"ignore": shapes.listed, "include": shapes.listed, "exec": _HOOK})
_RATES = _list_of(_nested({"rate": _size}))
_BLOCK_IO: dict[str, Rule] = {
    "weight": _integer, "weight_device": _list_of(_nested({"weight": _integer})),
    **dict.fromkeys(("device_read_bps", "device_read_iops", "device_write_bps",
                     "device_write_iops"), _RATES),
}  # fmt: skip
_ENDPOINT = _nested({
    "driver_opts": shapes.texts, "aliases": shapes.unique_texts,
    "link_local_ips": shapes.unique_texts,
})  # fmt: skip


def _endpoints(node: Node) -> Node:
    return _map_of(_ENDPOINT)(shapes.names(node))


_SERVICE: dict[str, Rule] = {
    **dict.fromkeys(("annotations", "labels"), _labels),
    **dict.fromkeys(("command", "entrypoint"), _command),
    **dict.fromkeys(("dns", "dns_search"), _dns),
    **dict.fromkeys(("cap_add", "cap_drop", "dns_opt", "links", "profiles"), shapes.unique_texts),
    **dict.fromkeys(
        ("mem_limit", "mem_reservation", "memswap_limit", "mem_swappiness", "shm_size"), _size),
    **dict.fromkeys(("secrets", "configs"), _grants),
    **dict.fromkeys(("pre_start", "post_start", "pre_stop"), _list_of(_HOOK)),
    "blkio_config": _nested(_BLOCK_IO), "build": _build, "depends_on": _dependencies,
    "deploy": _nested(_DEPLOY), "develop": _nested({"watch": _list_of(_WATCH)}),
    "devices": _list_of(_device), "env_file": _env_file, "environment": _environment,
    "expose": _expose, "extra_hosts": _hosts, "gpus": _gpus, "group_add": shapes.texts,
    "healthcheck": _nested(_HEALTH), "label_file": shapes.listed,
    "logging": _nested({"options": shapes.texts}), "models": shapes.names,
    "networks": _endpoints, "ports": _ports, "provider": _nested({"options": _options}),
    "pull_policy": _pull_policy, "stop_grace_period": _duration, "storage_opt": shapes.texts,
    "sysctls": shapes.pairs, "tmpfs": lambda node: shapes.unique_texts(shapes.listed(node)),
    "ulimits": _ULIMITS, "volumes": _volumes,
}  # fmt: skip
_RESOURCE: dict[str, Rule] = {"labels": _labels, "driver_opts": shapes.texts}
_SECTIONS: dict[str, dict[str, Rule]] = {
    "services": _SERVICE, "networks": _RESOURCE, "volumes": _RESOURCE, "secrets": _RESOURCE,
    "configs": _RESOURCE,
}  # fmt: skip
