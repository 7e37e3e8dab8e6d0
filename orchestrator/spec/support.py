"""What does not work yet, refused by name with its place: no key is dropped silently.

A key that asks for nothing (`privileged: false`, an empty list) passes.
"""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.spec.node import Node
from orchestrator.spec.report import Report
from orchestrator.spec.tree import Path, dotted

Keys = dict[str, "Keys | frozenset[object] | None"]
"""Implemented keys: None: every value; a set: these values; a mapping: the keys below.
`*` stands for every key, and a list for each of its items."""

_HINT = "remove the key, or let --lenient warn about it; docs/compose-keys.md has the list"

_TEXT = None
_MOUNT: Keys = {
    "type": frozenset({"bind", "volume", "tmpfs"}), "source": _TEXT, "target": _TEXT,
    "read_only": _TEXT, "consistency": _TEXT,
    "bind": {"propagation": _TEXT, "create_host_path": _TEXT, "selinux": _TEXT,
             "recursive": frozenset({"enabled"})},
    "volume": {"nocopy": _TEXT},
    "tmpfs": {"size": _TEXT, "mode": _TEXT},
    "image": {},
}  # fmt: skip
SERVICE: Keys = {
    **dict.fromkeys(
        ("image", "command", "entrypoint", "working_dir", "user", "group_add", "environment",
         "env_file", "labels", "container_name", "hostname", "domainname", "init", "tty",
         "stdin_open", "attach", "read_only", "restart", "stop_signal", "stop_grace_period",
         "scale", "profiles", "depends_on", "healthcheck", "cap_add", "cap_drop", "cpus",
         "mem_limit", "pids_limit", "shm_size", "oom_score_adj", "ulimits", "tmpfs", "expose",
         "extra_hosts", "dns", "dns_opt", "dns_search"), _TEXT),
    "pull_policy": frozenset({"missing", "never"}),
    "ports": {"*": {
        "target": _TEXT, "published": _TEXT, "host_ip": _TEXT, "mode": _TEXT, "name": _TEXT,
        "app_protocol": _TEXT, "protocol": frozenset({"tcp", "udp"})}},
    "volumes": {"*": _MOUNT},
    "networks": {"*": dict.fromkeys(("aliases", "ipv4_address", "mac_address", "priority"))},
    "logging": {"driver": frozenset({"json-file", "local"}),
                "options": {"max-size": _TEXT, "max-file": _TEXT}},
    "deploy": {"replicas": _TEXT, "resources": {
        "limits": {"cpus": _TEXT, "memory": _TEXT, "pids": _TEXT}}},
}  # fmt: skip
NETWORK: Keys = {
    "name": _TEXT, "driver": frozenset({"bridge"}), "internal": _TEXT, "external": _TEXT,
    "labels": _TEXT, "enable_ipv4": frozenset({True}),
    "ipam": {"driver": frozenset({"default"}),
             "config": {"*": dict.fromkeys(("subnet", "ip_range", "gateway"))}},
}  # fmt: skip
VOLUME: Keys = {
    "name": _TEXT, "driver": frozenset({"local"}), "external": _TEXT, "labels": _TEXT,
}  # fmt: skip
_ROOT: Keys = {
    "name": _TEXT, "services": {"*": SERVICE}, "networks": {"*": NETWORK},
    "volumes": {"*": VOLUME}, "secrets": {}, "configs": {}, "models": {},
}  # fmt: skip


def check(root: Node, report: Report) -> None:
    """Every key that does not work yet becomes a problem."""
    for path, node, value in _refused(root, _ROOT, ()):
        what = f"{value} is not supported yet" if value else "not supported yet"
        report.add(node, f"{dotted(path)}: {what}", hint=_HINT)


def _refused(node: Node, keys: Keys, path: Path) -> Iterator[tuple[Path, Node, str]]:
    for part, child in _children(node):
        if isinstance(part, str) and part.startswith("x-") and "*" not in keys:
            continue
        if _asks_nothing(child):
            continue
        wanted = keys.get("*", keys.get(str(part), False))
        if wanted is False:
            yield (*path, part), child, ""
        elif isinstance(wanted, frozenset):
            if child.value not in wanted:
                yield (*path, part), child, str(child.value)
        elif wanted is not None:
            yield from _refused(child, wanted, (*path, part))  # type: ignore[arg-type]


def _children(node: Node) -> list[tuple[str | int, Node]]:
    if isinstance(node.value, dict):
        return list(node.value.items())
    return list(enumerate(node.items))


def _asks_nothing(node: Node) -> bool:
    return node.value is None or node.value is False or node.value in ({}, [], "")
