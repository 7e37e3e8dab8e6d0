"""The values of the long form are read: command lines into words, pairs into mappings, sizes into
bytes, modes into bits; durations are checked.

Runs once, when all files are merged.  What cannot be read goes into the report.
"""

from __future__ import annotations

from orchestrator.spec import fields, shapes, values
from orchestrator.spec.fields import Misread
from orchestrator.spec.node import Node
from orchestrator.spec.report import Report
from orchestrator.spec.rules import Rules, apply, each, list_of, map_of, nested


def decode(root: Node, report: Report) -> Node:
    """The whole tree as `bind` and `printed` take it."""
    entries = dict(root.entries)
    for section, rules in _SECTIONS.items():
        node = entries.get(section)
        if node is not None and isinstance(node.value, dict):
            entries[section] = node.copy({
                name: apply(child, rules, (section, name), report)
                for name, child in node.value.items()
            })  # fmt: skip
    return root.copy(entries)


def _command(node: Node) -> Node:
    if not isinstance(node.value, str):
        return node
    return node.copy([node.copy(word) for word in values.split_command(node.value)])


def _test(node: Node) -> Node:
    if isinstance(node.value, str):
        return node.copy([node.copy("CMD-SHELL"), node])
    return node


def _size(node: Node) -> Node:
    return node.copy(fields.size(node.value))


def _number(node: Node) -> Node:
    return node.copy(values.parse_number(node.value)) if isinstance(node.value, str) else node


def _integer(node: Node) -> Node:
    return node.copy(fields.integer(node.value))


def _truth(node: Node) -> Node:
    return node.copy(fields.truth(node.value))


def _text(node: Node) -> Node:
    return node.copy(fields.text(node.value))


def _duration(node: Node) -> Node:
    """Checked here, kept as text: `bind` and `printed` read it each in their way."""
    values.parse_duration(str(node.value))
    return node


def _environment(node: Node) -> Node:
    found = shapes.pairs(node)
    for name, child in found.entries.items():
        text = ""
        if name != name.rstrip():
            text = f"variable {name!r} has a blank before `=`"
        elif not name or "=" in name or "\0" in str(child.value):
            text = f"{name!r} cannot be the name of a variable"
        if text:
            raise Misread([((_index(node, name),), text)])
    return found


def _index(node: Node, name: str) -> str | int:
    """Where the pair `name` is in a list or mapping of pairs."""
    starts = [str(item.value).partition("=")[0] for item in node.items]
    return starts.index(name) if name in starts else name


def _labels(node: Node) -> Node:
    return _without_nulls(_pairs(node))


def _pairs(node: Node) -> Node:
    """An item of a list that is empty, as one of `${NOTHING}` is, says nothing."""
    found = shapes.pairs(node)
    if "" not in found.entries:
        return found
    if found.entries[""].value:
        raise Misread([((_index(node, ""),), "a name is missing before `=`")])
    return found.copy({name: child for name, child in found.entries.items() if name})


def _options(node: Node) -> Node:
    return _without_nulls(shapes.texts(node))


def _without_nulls(node: Node) -> Node:
    return node.copy({
        key: child.copy("") if child.value is None else child
        for key, child in node.entries.items()
    })  # fmt: skip


def _pull_policy(node: Node) -> Node:
    return node.copy("missing") if node.value == "if_not_present" else node


def _grant(item: Node) -> Node:
    mode = item.get("mode")
    if mode is None or mode.value is None:
        return item
    try:
        bits = fields.mode(mode.value)
    except ValueError as exc:
        raise Misread([(("mode",), str(exc))]) from None
    return item.copy({**item.entries, "mode": mode.copy(bits)})


def _request(item: Node) -> Node:
    entries = dict(item.entries)
    count = entries.get("count")
    if count is not None and count.value is not None:
        number = -1 if count.value == "all" else fields.integer(count.value)
        entries["count"] = count.copy(number)
    if "options" in entries:
        entries["options"] = _labels(entries["options"])
    return item.copy(entries)


def _provided(node: Node) -> Node:
    """Options of a provider: every value is a list of texts."""
    return node.copy({
        key: shapes.texts(child if isinstance(child.value, list) else child.copy([child]))
        for key, child in node.entries.items()
    })  # fmt: skip


def _hosts(node: Node) -> Node:
    return node.copy(each(shapes.hosts(node), _host))


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


def _port(item: Node) -> Node:
    entries = {
        key: child for key, child in item.entries.items()
        if not (key in ("published", "host_ip") and child.value in ("", None))
    }  # fmt: skip
    if "published" in entries:
        entries["published"] = _text(entries["published"])
    entries["target"] = _integer(entries["target"])
    return item.copy(entries)


def _bits(node: Node) -> Node:
    if isinstance(node.value, int):
        return node
    raise ValueError(f"{node.value!r} must be a number, such as 0755 without quotes")


_MOUNT = nested({
    "read_only": _truth,
    "bind": nested({"create_host_path": _truth}),
    "volume": nested({"labels": _labels, "nocopy": _truth}),
    "tmpfs": nested({"size": _size, "mode": _bits}),
})  # fmt: skip
_grants = list_of(_grant)
_HEALTH: Rules = {
    "test": _test, "retries": _integer, "disable": _truth,
    **dict.fromkeys(("interval", "timeout", "start_period", "start_interval"), _duration),
}  # fmt: skip
_BUILD: Rules = {
    "args": _pairs, "labels": _labels, "secrets": _grants, "extra_hosts": _hosts,
    "shm_size": _size, "no_cache_filter": shapes.listed,
    **dict.fromkeys(("no_cache", "pull", "privileged"), _truth),
}  # fmt: skip
_RESOURCES = nested({
    "memory": _size, "cpus": _number, "pids": _integer, "devices": list_of(_request),
})  # fmt: skip
_ROLLOUT = nested({
    "delay": _duration, "monitor": _duration, "parallelism": _integer, "max_failure_ratio": _number,
})  # fmt: skip
_DEPLOY: Rules = {
    "labels": _labels, "replicas": _integer,
    "resources": nested({"limits": _RESOURCES, "reservations": _RESOURCES}),
    "update_config": _ROLLOUT, "rollback_config": _ROLLOUT,
    "restart_policy": nested({"delay": _duration, "window": _duration, "max_attempts": _integer}),
    "placement": nested({"max_replicas_per_node": _integer}),
}  # fmt: skip
_HOOK = nested({"command": _command, "environment": _environment, "privileged": _truth})
_RATES = list_of(nested({"rate": _size}))
_BLOCK_IO: Rules = {
    "weight": _integer, "weight_device": list_of(nested({"weight": _integer})),
    **dict.fromkeys(("device_read_bps", "device_read_iops", "device_write_bps",
                     "device_write_iops"), _RATES),
}  # fmt: skip
_ENDPOINT = nested({
    "driver_opts": _options, **dict.fromkeys(("priority", "gw_priority"), _integer),
})  # fmt: skip
_SERVICE: Rules = {
    **dict.fromkeys(("annotations", "labels"), _labels),
    **dict.fromkeys(("command", "entrypoint"), _command),
    **dict.fromkeys(
        ("mem_limit", "mem_reservation", "memswap_limit", "mem_swappiness", "shm_size"), _size),
    **dict.fromkeys(("secrets", "configs"), _grants),
    **dict.fromkeys(("pre_start", "post_start", "pre_stop"), list_of(_HOOK)),
    **dict.fromkeys(
        ("init", "attach", "tty", "stdin_open", "read_only", "privileged", "oom_kill_disable",
         "use_api_socket"), _truth),
    **dict.fromkeys(
        ("cpu_count", "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime", "cpu_shares",
         "oom_score_adj", "pids_limit", "scale"), _integer),
    **dict.fromkeys(("cpus", "cpu_percent"), _number),
    **dict.fromkeys(("dns_search", "tmpfs"), shapes.listed),
    **dict.fromkeys(("expose", "group_add"), list_of(shapes.whole_text)),
    "blkio_config": nested(_BLOCK_IO), "build": nested(_BUILD),
    "depends_on": map_of(nested({"required": _truth, "restart": _truth})),
    "deploy": nested(_DEPLOY), "develop": nested({"watch": list_of(nested({"exec": _HOOK}))}),
    "environment": _environment, "extra_hosts": _hosts, "gpus": list_of(_request),
    "healthcheck": nested(_HEALTH), "logging": nested({"options": _options}),
    "networks": map_of(_ENDPOINT), "ports": list_of(_port),
    "provider": nested({"options": _provided}), "pull_policy": _pull_policy,
    "stop_grace_period": _duration, "storage_opt": _options, "sysctls": _labels,
    "volumes": list_of(_MOUNT),
}  # fmt: skip
_RESOURCE: Rules = {"labels": _labels, "driver_opts": _options, "external": _truth}
_NETWORK: Rules = {
    **_RESOURCE,
    **dict.fromkeys(("internal", "attachable", "enable_ipv4", "enable_ipv6"), _truth),
}  # fmt: skip
_SECTIONS: dict[str, Rules] = {
    "services": _SERVICE, "networks": _NETWORK, "volumes": _RESOURCE, "secrets": _RESOURCE,
    "configs": _RESOURCE,
}  # fmt: skip
