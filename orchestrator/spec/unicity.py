"""Lists in which a thing may be only once: a later value takes the place of the earlier one.

The key of an item differs by list: text before `=`, target of a mount, port and protocol.  Works
on trees in any mixture of short and long forms, before and after `canonical`.  Pure.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.spec import mounts
from orchestrator.spec.node import Node

Key = Callable[[Node], object]


def unique(root: Node) -> Node:
    """The tree with every list of the table once per key."""
    entries = dict(root.entries)
    services, networks = entries.get("services"), entries.get("networks")
    if services is not None:
        entries["services"] = _each(services, _service)
    if networks is not None:
        entries["networks"] = _each(networks, lambda node: _lists(node, _LABELS))
    return root.copy(entries)


def service(node: Node) -> Node:
    """The same for one service."""
    return _service(node)


def _each(section: Node, convert: Callable[[Node], Node]) -> Node:
    if not isinstance(section.value, dict):
        return section
    return section.copy({key: convert(child) for key, child in section.value.items()})


def _service(node: Node) -> Node:
    found = _lists(node, _SERVICE)
    changed: dict[str, Node] = {}
    for part, table in (("build", _BUILD), ("deploy", _LABELS)):
        child = found.get(part)
        if child is not None and isinstance(child.value, dict):
            changed[part] = _lists(child, table)
    networks = found.get("networks")
    if networks is not None and isinstance(networks.value, dict):
        changed["networks"] = _each(networks, lambda child: _lists(child, _ENDPOINT))
    return found.copy({**found.entries, **changed}) if changed else found


def _lists(node: Node, table: dict[str, Key]) -> Node:
    changed: dict[str, Node] = {}
    for name, child in node.entries.items():
        key = table.get(name)
        if key is not None and isinstance(child.value, list) and len(child.value) > 1:
            kept: dict[object, Node] = {}
            for item in child.value:
                mine = key(item)
                kept[mine] = item.over(kept[mine]) if mine in kept else item
            if len(kept) < len(child.value):
                changed[name] = child.copy(list(kept.values()))
    return node.copy({**node.entries, **changed}) if changed else node


def _text(node: Node | None) -> str:
    return "" if node is None or node.value is None else str(node.value)


def _name(item: Node) -> object:
    value = item.value
    return value.partition("=")[0] if isinstance(value, str) else id(item)


def _value(item: Node) -> object:
    return str(item.value)


def _env_file(item: Node) -> object:
    return item.value if isinstance(item.value, str) else _text(item.get("path"))


def _mount(item: Node) -> object:
    if isinstance(item.value, str):
        try:
            return mounts.parse_mount(item.value).target
        except ValueError:
            return id(item)
    target = item.get("target")
    return id(item) if target is None else mounts.clean(_text(target))


def _device(item: Node) -> object:
    if isinstance(item.value, str):
        source, _, rest = item.value.partition(":")
        return rest.partition(":")[0] or source
    return _text(item.get("target"))


def _grant(directory: str) -> Key:
    def key(item: Node) -> object:
        if isinstance(item.value, str):
            return f"{directory}/{item.value}"
        target = _text(item.get("target"))
        return target or f"{directory}/{_text(item.get('source'))}"

    return key


def _port(item: Node) -> object:
    """Short forms by their text; a published port as a number is the one as text."""
    if not isinstance(item.value, dict):
        return str(item.value)
    published = item.get("published")
    address = item.get("host_ip")
    return (
        "0.0.0.0" if address is None else address.value,
        _text(published),
        _text(item.get("target")), _text(item.get("protocol")) or "tcp",
    )  # fmt: skip


_SERVICE: dict[str, Key] = {
    **dict.fromkeys(
        ("annotations", "cap_add", "cap_drop", "dns", "dns_opt", "dns_search", "environment",
         "labels", "links", "profiles", "sysctls", "tmpfs"), _name),
    "configs": _grant(""), "devices": _device, "env_file": _env_file, "expose": _value,
    "ports": _port, "secrets": _grant("/run/secrets"), "volumes": _mount,
}  # fmt: skip
_LABELS: dict[str, Key] = {"labels": _name}
_BUILD: dict[str, Key] = dict.fromkeys(("additional_contexts", "args", "labels", "tags"), _name)
_ENDPOINT: dict[str, Key] = dict.fromkeys(("aliases", "link_local_ips"), _name)
