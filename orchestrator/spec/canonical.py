"""Short forms become long forms, so that files can be merged and paths made absolute.

Runs on the tree after every document that is merged in; running it again changes nothing.  Units,
command lines and pairs stay as written: `decode` reads those at the end.
"""

from __future__ import annotations

import re

from orchestrator.spec import fields, masks, mounts, ports, shapes, values
from orchestrator.spec.node import Node
from orchestrator.spec.report import Report
from orchestrator.spec.rules import Rules, apply, each, list_of, map_of, nested
from orchestrator.spec.shapes import made
from orchestrator.spec.tree import Path, dotted

MOST_PORTS = 200_000
"""Of all services together."""


def canonical(root: Node, report: Report, *, interpolated: bool = True) -> Node:
    """The whole tree in long form; values that cannot be read go into the report, or stay as they
    are while they still hold variables (not `interpolated`)."""
    entries = dict(root.entries)
    entries.pop("version", None)
    services = entries.get("services")
    _check_ranges(services, report)
    if services is not None and isinstance(services.value, dict):
        entries["services"] = services.copy({
            name: service(child, ("services", name), report) if interpolated
            else masks.around(lambda node: apply(node, _SERVICE, (), None), child)
            for name, child in services.value.items()
        })  # fmt: skip
    for section in ("networks", "volumes", "secrets", "configs"):
        node = entries.get(section)
        if node is not None and isinstance(node.value, dict):
            entries[section] = node.copy({
                name: _external(child, (section, name), report)
                for name, child in node.value.items()
            })  # fmt: skip
    return root.copy(entries)


def _check_ranges(services: Node | None, report: Report) -> None:
    """A range is short to write: what all of them stand for is added up before it is made."""
    count = 0
    for child in services.entries.values() if services else ():
        for item in (child.get("ports") or child).items:
            if isinstance(item.value, str) and "-" in item.value:
                count += ports.length(item.value)
                if count > MOST_PORTS:
                    report.add(item, f"ranges of ports stand for more than {MOST_PORTS} ports")
                    report.check()


def service(node: Node, path: Path, report: Report) -> Node:
    """One service in long form."""
    return apply(node, _SERVICE, path, report)


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


def _ports(node: Node) -> Node:
    return node.copy(each(node, _port))


def _port(item: Node) -> list[Node]:
    if isinstance(item.value, dict):
        target = item.value.get("target")
        if target is None or target.value is None:
            raise ValueError("`target` is missing: the port inside the container")
        return [item]
    if isinstance(item.value, float):
        raise ValueError(f"{item.value} is not a port (quote it)")
    return [
        made(item, mode="ingress", host_ip=found.host_ip, target=found.target,
             published=found.published, protocol=found.protocol)
        for found in ports.parse_port(str(item.value))
    ]  # fmt: skip


def _volumes(node: Node) -> Node:
    return node.copy(each(node, lambda item: [_volume(item)]))


def _volume(item: Node) -> Node:
    if isinstance(item.value, dict):
        target, kind = item.get("target"), item.get("type")
        if target is None or not target.value:
            raise ValueError("`target` is missing: the path inside the container")
        if kind is not None and kind.value == "bind" and "source" not in item.value:
            raise ValueError("`source` is missing: a bind mount needs a path of the host")
        return item
    text = str(item.value)
    mount = mounts.parse_mount(text)
    is_bind = mount.type == "bind"
    options: dict[str, object] = {}
    if is_bind or mount.selinux or mount.propagation:
        options["bind"] = made(
            item, selinux=mount.selinux, propagation=mount.propagation,
            create_host_path=is_bind or None,
        )  # fmt: skip
    if not is_bind and len(text) > 2:  # so few letters have no options at all
        options["volume"] = made(item, nocopy=mount.nocopy or None)
    return made(
        item, type=mount.type, source=mount.source, target=mount.target,
        read_only=mount.read_only or None, **options,
    )  # fmt: skip


def _device(item: Node) -> Node:
    if not isinstance(item.value, str):
        if "target" not in item.entries:
            raise ValueError("has no target")
        return item
    parts = item.value.split(":")
    if len(parts) > 3 or not parts[0]:
        raise ValueError(f"{item.value!r} is not of the form HOST[:CONTAINER[:PERMISSIONS]]")
    target = parts[1] if len(parts) > 1 else parts[0]
    return made(item, source=parts[0], target=target, permissions=(*parts, "rwm", "rwm", "rwm")[2])


def _gpus(node: Node) -> Node:
    if not isinstance(node.value, str):
        return node
    if node.value != "all":
        raise ValueError(f"must be `all` or a list of devices, not {node.value!r}")
    return node.copy([made(node, count="all")])


def _dns(node: Node) -> Node:
    found = shapes.listed(node)
    return found.copy([item for item in found.items if item.value != ""])


def _env_file(node: Node) -> Node:
    return node.copy([
        item if isinstance(item.value, dict) else made(item, path=item, required=True)
        for item in shapes.listed(node).items
    ])  # fmt: skip


def _dependencies(node: Node) -> Node:
    found = shapes.dependencies(node)
    return found.copy({
        name: child.copy({"required": child.copy(True), **child.entries})
        for name, child in found.entries.items()
    })  # fmt: skip


def _ssh(node: Node) -> Node:
    """A list may have `ID: PATH` as well, the form in which the reference prints it."""
    found = shapes.listed(node)
    if isinstance(found.value, list):
        found = found.copy([
            item.copy(re.sub("^([^=]*?): ", r"\1=", item.value))
            if isinstance(item.value, str) else item for item in found.value
        ])  # fmt: skip
    found = shapes.pairs(found)
    wrong = next((key for key in found.entries if "=" in key), None)
    if wrong:
        raise ValueError(f"{wrong!r} cannot be the id of a key")
    return found.copy({
        key: child.copy("") if child.value is None else child
        for key, child in found.entries.items()
    })  # fmt: skip


def _build(node: Node) -> Node:
    return nested(_BUILD)(shapes.below(node, "context"))


def _truth_text(node: Node) -> Node:
    return node.copy(values.format_scalar(node.value))


def _integer(node: Node) -> Node:
    return node.copy(fields.integer(node.value)) if isinstance(node.value, str) else node


_grants = list_of(lambda item: shapes.below(item, "source"))
_ULIMITS = map_of(
    lambda node: nested(dict.fromkeys(("soft", "hard"), _integer))(node)
    if isinstance(node.value, dict) else _integer(node)
)  # fmt: skip
_BUILD: Rules = {
    "additional_contexts": shapes.pairs, "secrets": _grants, "ssh": _ssh, "ulimits": _ULIMITS,
    **dict.fromkeys(("provenance", "sbom"), _truth_text),
}  # fmt: skip
_WATCH = nested({"ignore": shapes.listed, "include": shapes.listed})
_SERVICE: Rules = {
    **dict.fromkeys(("networks", "models"), shapes.names),
    **dict.fromkeys(("secrets", "configs"), _grants),
    "build": _build, "depends_on": _dependencies, "develop": nested({"watch": list_of(_WATCH)}),
    "devices": list_of(_device), "dns": _dns, "env_file": _env_file,
    "extends": lambda node: shapes.below(node, "service"), "gpus": _gpus,
    "label_file": shapes.listed, "ports": _ports, "ulimits": _ULIMITS, "volumes": _volumes,
}  # fmt: skip
