"""What every key of a Compose file comes to here: no key is dropped silently.

Three tables, which together have every property of our schema exactly once (a test walks it):
what works (`SERVICE`, `NETWORK`, `VOLUME`, `ROOT`), what is accepted and has no effect on Linux
(`WITHOUT_EFFECT`), and what is refused (`REFUSED`).  docs/compose-reference.md is made from them
(`make docs`).  A refused key that asks for nothing (`privileged: false`, an empty list) passes.
"""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.spec.node import Node
from orchestrator.spec.report import Report
from orchestrator.spec.tree import Path, dotted

Keys = dict[str, "Keys | frozenset[object] | None"]
"""Implemented keys: None: every value; a set: these values; a mapping: the keys below.
`*` stands for every key, and a list for each of its items."""

_HINT = "remove the key, or let --lenient warn about it; docs/compose-reference.md has the list"

_TEXT = None
_MOUNT: Keys = {
    "type": frozenset({"bind", "volume", "tmpfs", "image"}), "source": _TEXT, "target": _TEXT,
    "read_only": _TEXT,
    "bind": {"propagation": _TEXT, "create_host_path": _TEXT, "selinux": _TEXT,
             "recursive": _TEXT},
    "volume": {"nocopy": _TEXT, "labels": _TEXT, "subpath": _TEXT},
    "tmpfs": {"size": _TEXT, "mode": _TEXT},
    "image": {"subpath": _TEXT},
}  # fmt: skip
_HOOK: Keys = dict.fromkeys(("command", "user", "privileged", "working_dir", "environment"))
_BUILD: Keys = {
    **dict.fromkeys(
        ("context", "dockerfile", "dockerfile_inline", "args", "labels", "target", "tags",
         "platforms", "additional_contexts", "ssh", "no_cache", "no_cache_filter", "network",
         "extra_hosts", "pull", "cache_from", "cache_to", "shm_size", "ulimits", "privileged",
         "entitlements"), _TEXT),
    "secrets": {"*": dict.fromkeys(("source", "target"))},
    "isolation": frozenset({"default"}), "provenance": frozenset({"false"}),
    "sbom": frozenset({"false"}),
}  # fmt: skip
SERVICE: Keys = {
    **dict.fromkeys(
        ("image", "command", "entrypoint", "working_dir", "user", "group_add", "environment",
         "env_file", "labels", "container_name", "hostname", "domainname", "init", "tty",
         "stdin_open", "attach", "read_only", "restart", "stop_signal", "stop_grace_period",
         "scale", "profiles", "depends_on", "healthcheck", "cap_add", "cap_drop", "cpus",
         "mem_limit", "pids_limit", "shm_size", "oom_score_adj", "ulimits", "tmpfs", "extra_hosts",
         "dns", "dns_opt", "dns_search", "secrets", "configs", "annotations",
         "blkio_config", "cgroup", "cgroup_parent", "cpu_period", "cpu_quota", "cpu_rt_period",
         "cpu_rt_runtime", "cpu_shares", "cpuset", "device_cgroup_rules", "devices", "ipc",
         "mem_reservation", "mem_swappiness", "memswap_limit", "network_mode", "oom_kill_disable",
         "pid", "privileged", "security_opt", "sysctls", "userns_mode", "uts", "extends",
         "label_file", "mac_address", "links", "external_links", "gpus", "platform",
         "volumes_from"), _TEXT),
    "pull_policy": _TEXT, "build": _BUILD,
    "isolation": frozenset({"default"}),
    "pre_start": {"*": {**_HOOK, "image": _TEXT}},
    "post_start": {"*": _HOOK}, "pre_stop": {"*": _HOOK},
    "develop": {"watch": {"*": {
        **dict.fromkeys(("path", "action", "target", "ignore", "include", "initial_sync")),
        "exec": _HOOK}}},
    "ports": {"*": {
        "target": _TEXT, "published": _TEXT, "host_ip": _TEXT,
        "protocol": frozenset({"tcp", "udp"})}},
    "volumes": {"*": _MOUNT},
    "networks": {"*": dict.fromkeys((
        "aliases", "ipv4_address", "ipv6_address", "link_local_ips", "mac_address",
        "interface_name", "driver_opts", "priority", "gw_priority"))},
    "logging": {"driver": frozenset({"json-file", "local"}),
                "options": {"max-size": _TEXT, "max-file": _TEXT}},
    "deploy": {"replicas": _TEXT, "restart_policy": {
        "condition": frozenset({"none", "on-failure", "any", "no", "always", "unless-stopped"}),
        "max_attempts": _TEXT}, "resources": {
        "limits": {"cpus": _TEXT, "memory": _TEXT, "pids": _TEXT},
        "reservations": {"memory": _TEXT, "devices": _TEXT}}},
}  # fmt: skip
NETWORK: Keys = {
    "name": _TEXT, "driver": frozenset({"bridge"}), "driver_opts": _TEXT, "internal": _TEXT,
    "external": _TEXT, "labels": _TEXT, "enable_ipv4": _TEXT, "enable_ipv6": _TEXT,
    "ipam": {"driver": frozenset({"default"}), "config": {"*": dict.fromkeys(
        ("subnet", "ip_range", "gateway", "aux_addresses"))}},
}  # fmt: skip
VOLUME: Keys = {
    "name": _TEXT, "driver": frozenset({"local"}), "driver_opts": _TEXT, "external": _TEXT,
    "labels": _TEXT,
}  # fmt: skip
SECRET: Keys = dict.fromkeys(("name", "file", "environment", "external"))
CONFIG: Keys = {**SECRET, "content": _TEXT}
ROOT: Keys = {
    "name": _TEXT, "include": _TEXT, "services": {"*": SERVICE}, "networks": {"*": NETWORK},
    "volumes": {"*": VOLUME}, "secrets": {"*": SECRET}, "configs": {"*": CONFIG},
    "models": {"*": {}},
}  # fmt: skip

_SWARM = "of Swarm; one machine has nothing to do for it"
_WINDOWS = "of Windows"
_METADATA = "for readers; `config` shows it"
WITHOUT_EFFECT: dict[str, str] = {
    "version": "obsolete since Compose 1.27; a warning says so",
    "services.*.cpu_count": _WINDOWS,
    "services.*.cpu_percent": _WINDOWS,
    "services.*.credential_spec": _WINDOWS,
    "services.*.pull_refresh_after": "no version of Compose reads it; `pull_policy: every_…` does",
    "services.*.ports.*.app_protocol": _METADATA,
    "services.*.ports.*.mode": _SWARM,
    "services.*.ports.*.name": _METADATA,
    "services.*.build.secrets.*.uid": "RUN --mount=type=secret says it",
    "services.*.build.secrets.*.gid": "RUN --mount=type=secret says it",
    "services.*.build.secrets.*.mode": "RUN --mount=type=secret says it",
    "services.*.volumes.*.consistency": "of Docker Desktop on macOS",
    "services.*.expose": "containers of a network reach every port of each other",
    "services.*.deploy.mode": _SWARM,
    "services.*.deploy.restart_policy.delay": "pauses grow from 0.1 s, as with docker compose",
    "services.*.deploy.restart_policy.window": "a run of 10 s counts, as with docker compose",
    "services.*.deploy.endpoint_mode": _SWARM,
    "services.*.deploy.labels": "labels of a Swarm service, not of its containers",
    "services.*.deploy.update_config": _SWARM,
    "services.*.deploy.rollback_config": _SWARM,
    "services.*.deploy.placement": _SWARM,
    "services.*.deploy.resources.reservations.cpus": _SWARM,
    "services.*.deploy.resources.reservations.generic_resources": _SWARM,
    "networks.*.attachable": _SWARM,
    "networks.*.ipam.options": "of other IPAM drivers; there is one here",
    "secrets.*.labels": _SWARM,
    "configs.*.labels": _SWARM,
}
"""Keys that are read, checked, merged and shown, and change nothing on Linux: why."""

_LATER = ""
_STORE = "there are no drivers: use file, environment, content or external"
REFUSED: dict[str, str] = {
    **{f"services.*.{key}": _LATER for key in (
        "models", "provider", "storage_opt", "pre_start.*.per_replica")},
    "services.*.use_api_socket": "there is no engine whose socket could be given",
    "services.*.runtime": "there is one runtime here, our own",
    **{f"secrets.*.{key}": _STORE for key in ("driver", "driver_opts", "template_driver")},
    "configs.*.template_driver": _STORE,
    **{f"models.*.{key}": _LATER for key in ("name", "model", "context_size", "runtime_flags")},
}  # fmt: skip
"""Keys that stop whoever acts on the file: what to do instead, or nothing where that is still to
come."""


_VALUES = {"npipe": "a pipe of Windows", "cluster": "a volume of Swarm"}


def check(root: Node, report: Report) -> None:
    """Every key that is refused becomes a problem."""
    for path, pattern, node, value in _refused(root, ROOT, (), ()):
        if ".".join(pattern) in WITHOUT_EFFECT:
            continue
        what = f"{value} is not supported yet" if value else "not supported yet"
        why = REFUSED.get(".".join(pattern)) or _VALUES.get(value)
        report.add(node, f"{dotted(path)}: {what}{f': {why}' if why else ''}", hint=_HINT)


Refused = tuple[Path, tuple[str, ...], Node, str]
"""(path, path with `*`, node, the value where only some are refused)"""


def _refused(
    node: Node, keys: Keys, path: Path, pattern: tuple[str, ...]
) -> Iterator[Refused]:
    any_key = "*" in keys
    for part, child in _children(node):
        if isinstance(part, str) and part.startswith("x-") and not any_key:
            continue
        if _asks_nothing(child):
            continue
        name = "*" if any_key else str(part)
        wanted = keys.get(name, False)
        here = (*path, part), (*pattern, name)
        if wanted is False:
            yield *here, child, ""
        elif isinstance(wanted, frozenset):
            if child.value not in wanted:
                yield *here, child, str(child.value)
        elif wanted is not None:
            yield from _refused(child, wanted, *here)  # type: ignore[arg-type]


def _children(node: Node) -> list[tuple[str | int, Node]]:
    if isinstance(node.value, dict):
        return list(node.value.items())
    return list(enumerate(node.items))


def _asks_nothing(node: Node) -> bool:
    return node.value is None or node.value is False or node.value in ({}, [], "")
