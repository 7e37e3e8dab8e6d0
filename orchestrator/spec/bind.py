"""The canonical tree becomes the model.  Knows every field; decides nothing about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from orchestrator import names
from orchestrator.dataclass import replace
from orchestrator.spec import bind_build, bind_parts, fields
from orchestrator.spec.deploy_model import Deploy
from orchestrator.spec.fields import Misread, Raw, Table, each, made
from orchestrator.spec.model import (
    Config,
    IpamPool,
    Model,
    Network,
    Secret,
    Service,
    ServiceNetwork,
    Volume,
)
from orchestrator.spec.node import Node, find, plain
from orchestrator.spec.parts_model import DeviceRequest
from orchestrator.spec.report import Report
from orchestrator.spec.tree import Path, dotted

T = TypeVar("T")

_SERVICE: Table = {
    **dict.fromkeys(
        ("image", "pull_policy", "platform", "working_dir", "user", "container_name", "hostname",
         "domainname", "restart", "stop_signal", "runtime", "isolation", "cpuset", "cgroup",
         "cgroup_parent", "userns_mode", "pid", "ipc", "uts", "network_mode", "mac_address"),
        fields.said),
    **dict.fromkeys(
        ("group_add", "profiles", "cap_add", "cap_drop", "security_opt", "device_cgroup_rules",
         "tmpfs", "expose", "dns", "dns_opt", "dns_search"), fields.texts),
    **dict.fromkeys(
        ("init", "tty", "stdin_open", "attach", "read_only", "privileged", "oom_kill_disable",
         "use_api_socket"), fields.truth),
    **dict.fromkeys(
        ("cpu_shares", "cpu_quota", "cpu_period", "cpu_rt_runtime", "cpu_rt_period", "cpu_count",
         "oom_score_adj", "pids_limit"), fields.integer),
    **dict.fromkeys(("mem_limit", "mem_reservation", "memswap_limit", "mem_swappiness",
                     "shm_size"), fields.size),
    **dict.fromkeys(("labels", "annotations", "sysctls", "storage_opt"), fields.pairs),
    **dict.fromkeys(("command", "entrypoint"), tuple),
    **dict.fromkeys(("links", "external_links"), bind_parts.links),
    **dict.fromkeys(("pre_start", "post_start", "pre_stop"), each(bind_parts.hook)),
    "secrets": each(bind_parts.secret), "configs": each(bind_parts.grant),
    "cpus": fields.cpus, "cpu_percent": fields.number, "scale": fields.count,
    "stop_grace_period": fields.duration, "environment": fields.variables,
    "build": bind_build.build, "deploy": bind_build.deploy, "develop": bind_build.develop,
    "provider": bind_parts.provider, "models": bind_parts.model_uses,
    "depends_on": bind_parts.dependencies, "healthcheck": bind_parts.health,
    "blkio_config": bind_parts.block_io, "ulimits": bind_parts.ulimits,
    "devices": each(bind_parts.device), "gpus": each(bind_parts.device_request),
    "credential_spec": bind_parts.credential_spec, "networks": bind_parts.networks,
    "extra_hosts": fields.hosts, "ports": each(bind_parts.port),
    "volumes": each(bind_parts.mount), "volumes_from": each(bind_parts.volumes_from),
    "logging": bind_parts.logging,
}  # fmt: skip
_ZERO_IS_NONE = frozenset({
    "cpus", "mem_limit", "mem_reservation", "memswap_limit", "mem_swappiness", "pids_limit",
    "shm_size", "cpu_shares", "cpu_quota", "cpu_period", "cpu_rt_runtime", "cpu_rt_period",
    "cpu_count", "cpu_percent",
})  # fmt: skip
_POOL = made(IpamPool, {
    **dict.fromkeys(("subnet", "ip_range", "gateway"), fields.said), "aux_addresses": fields.pairs,
})  # fmt: skip
_COMMON: Table = {"name": fields.said, "labels": fields.pairs, "external": fields.truth}
_DRIVEN: Table = {**_COMMON, "driver": fields.said, "driver_opts": fields.pairs}
_NETWORK: Table = {
    **_DRIVEN,
    **dict.fromkeys(("internal", "attachable", "enable_ipv4", "enable_ipv6"), fields.truth),
    "ipam": lambda raw: fields.read(
        raw, {"driver": fields.said, "config": each(_POOL), "options": fields.pairs}),
}  # fmt: skip
_FILE: Table = {
    **_COMMON,
    **dict.fromkeys(("file", "environment", "template_driver"), fields.said),
}  # fmt: skip
_SECRET: Table = {**_DRIVEN, **_FILE}
_CONFIG: Table = {**_FILE, "content": fields.text}
_MODEL: Table = {
    "model": fields.text, "name": fields.said, "context_size": fields.integer,
    "runtime_flags": fields.texts,
}  # fmt: skip


class Binder:
    """Binds one project's tree; every value that cannot be read goes into the report."""

    def __init__(
        self, root: Node, report: Report, *, project: str, variables: Mapping[str, str]
    ) -> None:
        self._root = root
        self._report = report
        self._project = project
        self._variables = variables

    def services(self) -> dict[str, Service]:
        return dict(sorted(self._each("services", _service).items()))

    def networks(self) -> dict[str, Network]:
        return self._each("networks", self._network)

    def volumes(self) -> dict[str, Volume]:
        return self._each("volumes", lambda key, raw: Volume(**self._named(key, raw, _DRIVEN)))

    def secrets(self) -> dict[str, Secret]:
        return self._each("secrets", lambda key, raw: Secret(**self._file(key, raw, _SECRET)))

    def configs(self) -> dict[str, Config]:
        return self._each("configs", lambda key, raw: Config(**self._file(key, raw, _CONFIG)))

    def models(self) -> dict[str, Model]:
        return self._each("models", lambda key, raw: Model(key=key, **fields.read(raw, _MODEL)))

    def _each(self, section: str, convert: Callable[[str, Raw], T]) -> dict[str, T]:
        node = self._root.get(section)
        found: dict[str, T] = {}
        for key, child in (node.entries if node else {}).items():
            try:
                found[key] = convert(key, plain(child) or {})  # type: ignore[arg-type]
            except Misread as exc:
                for path, message in exc.found:
                    place = _nearest(child, path)
                    self._report.add(place, f"{dotted((section, key, *path))}: {message}")
        return found

    def _network(self, key: str, raw: Raw) -> Network:
        found = self._named(key, raw, _NETWORK)
        ipam = found.pop("ipam", {})
        return Network(
            **found, ipam=ipam.get("config", ()), ipam_driver=ipam.get("driver"),
            ipam_options=ipam.get("options", {}),
        )  # fmt: skip

    def _named(self, key: str, raw: Raw, table: Table) -> dict[str, Any]:
        found = fields.read(raw, table)
        if not found.get("name"):
            external = found.get("external", False)
            found["name"] = key if external else names.resource_name(self._project, key)
        return {"key": key, **found}

    def _file(self, key: str, raw: Raw, table: Table) -> dict[str, Any]:
        found = self._named(key, raw, table)
        if found.get("environment"):
            found["value"] = self._variables.get(found["environment"])
        return found


def _nearest(node: Node, path: Path) -> Node:
    for end in range(len(path), 0, -1):
        found = find(node, path[:end])
        if found is not None and found.line:
            return found
    return node


def _service(name: str, raw: Raw) -> Service:
    found = fields.read(raw, _SERVICE)
    deploy: Deploy | None = found.get("deploy")
    if deploy is not None:
        _deployed(found, deploy)
    found["gpus"] = (
        *(_for_graphics(request) for request in found.get("gpus", ())),
        *(deploy.reservations.devices if deploy else ()),
    )
    for key in _ZERO_IS_NONE:
        if not found.get(key, 1):
            del found[key]
    for key in ("cpus", "mem_limit", "pids_limit"):
        if found.get(key, 0) < 0:
            del found[key]  # -1: no limit
    if not found.get("networks"):
        alone = raw.get("network_mode") not in (None, "", "bridge") or raw.get("provider")
        found["networks"] = {} if alone else {"default": ServiceNetwork(network="default")}
    found = {key: value for key, value in found.items() if value is not None}
    return Service(name=name, **{"image": "", **found})


def _deployed(found: dict[str, Any], deploy: Deploy) -> None:
    """What `deploy` says of one machine goes over the fields of the service."""
    limits = deploy.limits
    effective = {
        "cpus": limits.cpus, "mem_limit": limits.memory, "pids_limit": limits.pids,
        "mem_reservation": deploy.reservations.memory,
    }  # fmt: skip
    found.update({key: value for key, value in effective.items() if value})
    if deploy.replicas is not None:
        found.setdefault("scale", deploy.replicas)
    policy = deploy.restart_policy
    if policy is not None:
        condition = {"none": "no", "any": "always"}.get(policy.condition or "any", policy.condition)
        retries = f":{policy.max_attempts}" if policy.max_attempts else ""
        found["restart"] = condition + retries if condition == "on-failure" else condition


def _for_graphics(request: DeviceRequest) -> DeviceRequest:
    if "gpu" in request.capabilities:
        return request
    return replace(request, capabilities=(*request.capabilities, "gpu"))
