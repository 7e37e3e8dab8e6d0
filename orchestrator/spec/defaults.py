"""What a long form that leaves something out means, and what follows from other attributes.

`fill` runs on the tree of each set of files (the project's, each included one), `normalise` once
on the whole.  Takes and gives trees in the long form.  Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.spec import mounts
from orchestrator.spec.node import Node, Scalar
from orchestrator.spec.rules import Rule, Rules, list_of, nested
from orchestrator.spec.shapes import made


def fill(root: Node) -> Node:
    """Defaults inside the values of services."""
    return _with_services(root, lambda node: _FILL(node))


def normalise(root: Node, variables: Mapping[str, str]) -> Node:
    """The default network where somebody uses it, dependencies that follow from links and shared
    namespaces, Dockerfile names, cleaned targets of mounts."""
    root = _with_services(root, lambda node: _service(node, variables))
    services = root.get("services")
    used = any("default" in (n.get("networks") or n).entries for n in _entries(services))
    networks = root.get("networks")
    if used and (networks is None or "default" not in networks.entries):
        base = networks or root.copy({})
        added = {**base.entries, "default": Node(None, "", 0, 0)}
        root = root.copy({**root.entries, "networks": base.copy(added)})
    return root


def _entries(section: Node | None) -> list[Node]:
    return list(section.entries.values()) if section else []


def _with_services(root: Node, convert: Rule) -> Node:
    services = root.get("services")
    if services is None or not services.entries:
        return root
    changed = {name: convert(node) for name, node in services.entries.items()}
    return root.copy({**root.entries, "services": services.copy(changed)})


def _missing(*, or_empty: bool = False, **values: Scalar) -> Rule:
    """A rule that adds what a mapping does not have, or has as an empty text."""

    def convert(node: Node) -> Node:
        if not isinstance(node.value, dict):
            return node
        said = {key for key, child in node.value.items() if not (or_empty and child.value == "")}
        added = {key: node.copy(value) for key, value in values.items() if key not in said}
        return node.copy({**node.value, **added}) if added else node

    return convert


def _secret(node: Node) -> Node:
    source = node.get("source")
    if source is None or "target" in node.entries:
        return node
    return node.copy({**node.entries, "target": source.copy(f"/run/secrets/{source.value}")})


def _request(node: Node) -> Node:
    if "count" in node.entries or "device_ids" in node.entries:
        return node
    return node.copy({**node.entries, "count": node.copy("all")})


_SERVICE: Rules = {
    "build": _missing(context="."),
    "secrets": list_of(_secret),
    "ports": list_of(_missing(or_empty=True, mode="ingress", protocol="tcp")),
    "gpus": list_of(_request),
    "deploy": nested({"resources": nested({"reservations": nested(
        {"devices": list_of(_request)})})}),
}  # fmt: skip
_FILL = nested(_SERVICE)


def _service(node: Node, variables: Mapping[str, str]) -> Node:
    if not isinstance(node.value, dict):
        return node
    entries = dict(node.value)
    networks = entries.get("networks")
    if not (networks and networks.value) and not _said(entries, "network_mode", "provider"):
        entries["networks"] = node.copy({"default": node.copy(None)})
    elif networks is not None and not networks.value:
        del entries["networks"]
    if "build" in entries:
        entries["build"] = _build(entries["build"], variables)
    if "volumes" in entries:
        entries["volumes"] = list_of(_clean)(entries["volumes"])
    dependencies = _dependencies(node, entries)
    if dependencies.entries:
        entries["depends_on"] = dependencies
    return node.copy(entries)


def _said(entries: Mapping[str, Node], *keys: str) -> bool:
    return any(key in entries and entries[key].value for key in keys)


def _build(node: Node, variables: Mapping[str, str]) -> Node:
    if not isinstance(node.value, dict):
        return node
    entries = dict(node.value)
    if not _said(entries, "dockerfile", "dockerfile_inline"):
        entries["dockerfile"] = node.copy("Dockerfile")
    args = entries.get("args")
    if args is not None:
        entries["args"] = _resolved(args, variables)
    return node.copy(entries)


def _resolved(args: Node, variables: Mapping[str, str]) -> Node:
    """Build arguments without a value take the variable's; without a variable they are gone."""
    if isinstance(args.value, dict):
        found = {
            key: child.copy(variables[key]) if child.value is None else child
            for key, child in args.value.items() if child.value is not None or key in variables
        }  # fmt: skip
        return args.copy(found)
    items = []
    for item in args.items:
        name = str(item.value)
        if "=" in name:
            items.append(item)
        elif name in variables:
            items.append(item.copy(f"{name}={variables[name]}"))
    return args.copy(items)


def _clean(item: Node) -> Node:
    target = item.get("target")
    if target is None or not isinstance(target.value, str):
        return item
    return item.copy({**item.entries, "target": target.copy(mounts.clean(target.value))})


def _dependencies(node: Node, entries: Mapping[str, Node]) -> Node:
    """`depends_on` with what follows from other attributes; what is written there stays."""
    said = entries.get("depends_on") or node.copy({})
    found = dict(said.entries)
    for key in ("network_mode", "ipc", "pid", "uts", "cgroup"):
        mode = entries.get(key)
        if mode is not None and isinstance(mode.value, str) and mode.value.startswith("service:"):
            _add(found, mode, mode.value.removeprefix("service:"), restart=True)
    for item in _items(entries, "volumes_from"):
        name = str(item.value)
        if not name.startswith("container:"):
            _add(found, item, name.partition(":")[0], restart=False)
    for item in _items(entries, "links"):
        _add(found, item, str(item.value).partition(":")[0], restart=True)
    return said.copy(found)


def _items(entries: Mapping[str, Node], key: str) -> list[Node]:
    return entries[key].items if key in entries else []


def _add(found: dict[str, Node], at: Node, service: str, *, restart: bool) -> None:
    if service not in found:
        found[service] = made(at, condition="service_started", restart=restart, required=True)
