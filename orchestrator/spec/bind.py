"""The canonical tree becomes the model.  Knows every field; decides nothing about it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from orchestrator import names
from orchestrator.spec import ports, values
from orchestrator.spec.model import (
    Dependency,
    Healthcheck,
    IpamPool,
    Logging,
    Network,
    Port,
    Service,
    ServiceNetwork,
    Ulimit,
    Volume,
    VolumeMount,
)
from orchestrator.spec.node import Node, plain
from orchestrator.spec.report import Report
from orchestrator.spec.tree import dotted

T = TypeVar("T")
Raw = Mapping[str, Any]
"""A mapping of the canonical tree: shapes are those the schema and `canonical` left."""

_SAME = (
    "image", "working_dir", "user", "container_name", "hostname", "domainname", "init",
    "stop_signal", "pull_policy",
)  # fmt: skip
_LISTS = (
    "group_add", "profiles", "cap_add", "cap_drop", "tmpfs", "expose", "dns", "dns_opt",
    "dns_search",
)  # fmt: skip
_TRUTHS = ("tty", "stdin_open", "read_only")


class Binder:
    """Binds one project's tree; every value that cannot be read goes into the report."""

    def __init__(self, root: Node, report: Report, *, project: str) -> None:
        self._root = root
        self._report = report
        self._project = project

    def services(self) -> dict[str, Service]:
        return {
            name: self._service(name, node)
            for name, node in sorted(self._section("services").items())
        }

    def networks(self) -> dict[str, Network]:
        return {key: self._network(key, node) for key, node in self._section("networks").items()}

    def volumes(self) -> dict[str, Volume]:
        return {key: self._volume(key, node) for key, node in self._section("volumes").items()}

    def _section(self, name: str) -> dict[str, Node]:
        node = self._root.get(name)
        return node.entries if node else {}

    def _read(self, convert: Callable[[], T], default: T, node: Node, *path: str) -> T:
        """`convert()`, or the default and a problem at the place of `path` below `node`."""
        try:
            return convert()
        except (ValueError, OverflowError, TypeError) as exc:
            place = node.get(*path[2:]) or node
            self._report.add(place, f"{dotted(path)}: {exc}")
            return default

    def _service(self, name: str, node: Node) -> Service:
        raw: Raw = plain(node)  # type: ignore[assignment]
        path = ("services", name)
        fields: dict[str, Any] = {key: raw[key] for key in _SAME if raw.get(key) is not None}
        fields.update({key: tuple(raw[key]) for key in _LISTS if raw.get(key)})
        fields.update({key: _truth(raw[key]) for key in _TRUTHS if key in raw})
        for key in ("command", "entrypoint"):
            if raw.get(key) is not None:
                fields[key] = tuple(raw[key])
        for key, convert in _CONVERTED.items():
            if raw.get(key) is not None:
                value = raw[key]
                fields[key] = self._read(lambda c=convert, v=value: c(v), None, node, *path, key)  # type: ignore[misc]
        fields.update(self._limits(raw, node, path))
        fields["environment"] = raw.get("environment") or {}
        none: dict[str, ServiceNetwork] = {}
        fields["networks"] = self._read(lambda: _networks(raw), none, node, *path, "networks")
        if not fields.get("shm_size"):
            fields.pop("shm_size", None)
        fields = {key: value for key, value in fields.items() if value is not None}
        return Service(name=name, **{"image": "", **fields})

    def _limits(self, raw: Raw, node: Node, path: tuple[str, str]) -> dict[str, Any]:
        deploy: Raw = raw.get("deploy") or {}
        limits: Raw = (deploy.get("resources") or {}).get("limits") or {}
        scale = raw.get("scale", deploy.get("replicas", 1))
        fields = {
            "cpus": limits.get("cpus", raw.get("cpus")),
            "mem_limit": limits.get("memory", raw.get("mem_limit")),
            "pids_limit": limits.get("pids", raw.get("pids_limit")),
            "scale": scale if scale is not None else 1,
        }
        for key, convert in (("cpus", _cpus), ("mem_limit", int), ("pids_limit", int),
                             ("scale", _count)):  # fmt: skip
            if fields[key] is not None:
                value = fields[key]
                fields[key] = self._read(lambda c=convert, v=value: c(v), None, node, *path, key)  # type: ignore[misc]
        for key in ("cpus", "mem_limit", "pids_limit"):
            if fields[key] is not None and fields[key] <= 0:
                fields[key] = None  # 0 and -1: no limit
        return fields

    def _network(self, key: str, node: Node) -> Network:
        raw: Raw = plain(node) or {}  # type: ignore[assignment]
        pools = (raw.get("ipam") or {}).get("config") or ()
        return Network(
            key=key, name=self._name(key, raw), driver=raw.get("driver"),
            internal=_truth(raw.get("internal", False)),
            external=_truth(raw.get("external", False)), labels=raw.get("labels") or {},
            ipam=tuple(
                IpamPool(subnet=pool.get("subnet"), ip_range=pool.get("ip_range"),
                         gateway=pool.get("gateway"))
                for pool in pools
            ),
        )  # fmt: skip

    def _volume(self, key: str, node: Node) -> Volume:
        raw: Raw = plain(node) or {}  # type: ignore[assignment]
        return Volume(
            key=key, name=self._name(key, raw), driver=raw.get("driver"),
            external=_truth(raw.get("external", False)), labels=raw.get("labels") or {},
        )  # fmt: skip

    def _name(self, key: str, raw: Raw) -> str:
        if raw.get("name"):
            return str(raw["name"])
        external = _truth(raw.get("external", False))
        return key if external else names.resource_name(self._project, key)


def _truth(value: object) -> bool:
    return values.parse_boolean(value) if isinstance(value, str) else bool(value)


def _cpus(value: object) -> float:
    number = float(values.parse_number(value)) if isinstance(value, str) else float(value)  # type: ignore[arg-type]
    if not 0 <= number < 100_000 or math.isnan(number):
        raise ValueError(f"{value} is not a number of processors")
    return number


def _count(value: object) -> int:
    number = values.parse_integer(str(value))
    if number < 0:
        raise ValueError("a service cannot have fewer than 0 containers")
    return number


def _dependencies(raw: Raw) -> dict[str, Dependency]:
    return {
        service: Dependency(
            service=service, condition=entry["condition"],
            restart=_truth(entry.get("restart", False)),
            required=_truth(entry.get("required", True)),
        )
        for service, entry in raw.items()
    }  # fmt: skip


def _health(raw: Raw) -> Healthcheck:
    def seconds(key: str) -> float | None:
        return values.parse_duration(raw[key]) if raw.get(key) is not None else None

    test = tuple(raw["test"]) if raw.get("test") else None
    if test and test[0] not in ("NONE", "CMD", "CMD-SHELL"):
        raise ValueError(f"`test` must begin with CMD, CMD-SHELL or NONE, not {test[0]!r}")
    retries = raw.get("retries")
    return Healthcheck(
        test=test, interval=seconds("interval"), timeout=seconds("timeout"),
        retries=None if retries is None else values.parse_integer(str(retries)),
        start_period=seconds("start_period"), start_interval=seconds("start_interval"),
        disable=_truth(raw.get("disable", False)),
    )  # fmt: skip


def _ulimits(raw: Raw) -> tuple[Ulimit, ...]:
    found = []
    for name, value in sorted(raw.items()):
        pair = value if isinstance(value, dict) else {"soft": value, "hard": value}
        soft, hard = (values.parse_integer(str(pair[key])) for key in ("soft", "hard"))
        found.append(Ulimit(name=name, soft=soft, hard=hard))
    return tuple(found)


def _mounts(raw: list[Raw]) -> tuple[VolumeMount, ...]:
    return tuple(_mount(item) for item in raw)


def _mount(raw: Raw) -> VolumeMount:
    bind, volume, tmpfs = (raw.get(key) or {} for key in ("bind", "volume", "tmpfs"))
    return VolumeMount(
        type=raw["type"], source=raw.get("source") or None, target=raw["target"],
        read_only=_truth(raw.get("read_only", False)),
        nocopy=_truth(volume.get("nocopy", False)),
        create_host_path=_truth(bind.get("create_host_path", True)),
        propagation=bind.get("propagation") or "rprivate",
        tmpfs_size=tmpfs.get("size") or None, tmpfs_mode=_mode(tmpfs.get("mode")),
    )  # fmt: skip


def _mode(value: object) -> int | None:
    if value is None or isinstance(value, int):
        return value
    raise ValueError(f"mode {value!r} must be a number, such as 0755 without quotes")


def _ports(raw: list[Raw]) -> tuple[Port, ...]:
    return tuple(_port(item) for item in raw)


def _port(raw: Raw) -> Port:
    published = raw.get("published")
    if published is not None:
        ports.parse_range(published)
    target = values.parse_integer(str(raw["target"]))
    if not 0 < target <= ports.HIGHEST:
        raise ValueError(f"{target} is not a port from 1 to {ports.HIGHEST}")
    host_ip = raw.get("host_ip")
    if host_ip is not None and not ports.is_address(host_ip):
        raise ValueError(f"{host_ip!r} is not an IP address")
    return Port(
        target=target, published=published, host_ip=host_ip, protocol=raw["protocol"],
        mode=raw["mode"], name=raw.get("name"), app_protocol=raw.get("app_protocol"),
    )  # fmt: skip


def _networks(raw: Raw) -> dict[str, ServiceNetwork]:
    if not raw.get("networks"):
        return {} if raw.get("network_mode") or raw.get("provider") else {
            "default": ServiceNetwork(network="default")}  # fmt: skip
    found = [
        ServiceNetwork(
            network=key, aliases=tuple((entry or {}).get("aliases") or ()),
            ipv4_address=(entry or {}).get("ipv4_address"),
            mac_address=(entry or {}).get("mac_address"),
            priority=int((entry or {}).get("priority") or 0),
        )
        for key, entry in raw["networks"].items()
    ]  # fmt: skip
    found.sort(key=lambda entry: (-entry.priority, entry.network))
    return {entry.network: entry for entry in found}


def _extra_hosts(raw: list[str]) -> tuple[tuple[str, str], ...]:
    pairs = [entry.partition("=") for entry in sorted(raw)]
    return tuple((host, address) for host, _, address in pairs)


def _logging(raw: Raw) -> Logging:
    options = {key: value for key, value in (raw.get("options") or {}).items() if value is not None}
    return Logging(driver=raw.get("driver") or "json-file", options=options)


_CONVERTED: dict[str, Callable[[Any], Any]] = {  # the shapes are those of the canonical tree
    "attach": _truth, "depends_on": _dependencies, "extra_hosts": _extra_hosts,
    "healthcheck": _health, "labels": dict, "logging": _logging, "oom_score_adj": int,
    "ports": _ports, "restart": str, "shm_size": int,
    "stop_grace_period": values.parse_duration, "ulimits": _ulimits, "volumes": _mounts,
}  # fmt: skip
