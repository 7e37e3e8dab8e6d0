"""The project as `config` shows it: order of keys, units as text, what is left out.

Works on the canonical tree, so keys pcompose does not carry out yet are shown as well.  Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from orchestrator.dataclass import dataclass
from orchestrator.spec import values
from orchestrator.spec.model import Project
from orchestrator.spec.node import Node, plain

Data = Any
"""JSON data: shapes are those the schema and `canonical` left."""


class Keyed(dict[str, Data]):
    """A mapping whose keys are the user's; sorted where it is written, each format in its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How the project is shown."""

    as_json: bool
    all_resources: bool = False
    """Also networks, volumes, secrets and configs that nobody uses."""
    is_normal: bool = True
    """With names and the default network where nothing is written."""
    is_raw: bool = False
    """Without interpolation: the tree as it is."""


def printed(project: Project, shown: Shown) -> dict[str, Data]:
    """The whole project as ordered plain data, `$` not yet doubled."""
    root = project.tree or Node({}, "", 0, 0)
    found: dict[str, Data] = {"name": project.name}
    services = Keyed({name: _service(project, name, shown) for name in project.services})
    found["services"] = services
    for section in _SINGULAR:
        entries = _section(project, root, section, services, shown)
        if entries and not (section == "models" and shown.as_json):
            found[section] = entries
    found.update((key, _dated(_keyed(value))) for key, value in sorted(project.extensions.items()))
    return dict(sorted(found.items())) if shown.as_json else found


def raw(project: Project, shown: Shown) -> dict[str, Data]:
    """The tree itself with its keys sorted; templates and values are as they were written."""
    found: dict[str, Data] = plain(project.tree) if project.tree else {}  # type: ignore[assignment]
    found["name"] = project.name
    for section in ("networks", "volumes", "secrets", "configs") if shown.is_normal else ():
        if found.get(section):
            found[section] = {
                key: _named(dict(entry or {}), key, project.name)
                for key, entry in found[section].items()
            }  # fmt: skip
    keyed: dict[str, Data] = _keyed(found)
    return keyed


def _keyed(value: Data) -> Data:
    """All keys in an extension are the user's."""
    if isinstance(value, dict):
        return Keyed({key: _keyed(child) for key, child in value.items()})
    return [_keyed(child) for child in value] if isinstance(value, list) else value


class Date(str):
    """A date, RFC 3339: YAML has it without quotes."""

    __slots__ = ()


_DATE = re.compile(
    r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?) (?:(\+0000 UTC)|([-+]\d\d)(\d\d) [-+]\d{4})"
)


def _dated(value: Data) -> Data:
    """In an extension a date is one (RFC 3339), not the text that `yaml` makes of it for fields."""
    if isinstance(value, dict):
        return Keyed({key: _dated(child) for key, child in value.items()})
    if isinstance(value, list):
        return [_dated(child) for child in value]
    found = _DATE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    zone = "Z" if found[3] else f"{found[4]}:{found[5]}"
    return Date(f"{found[1]}T{found[2]}{zone}")


def _service(project: Project, name: str, shown: Shown) -> dict[str, Data]:
    node = project.tree.get("services", name) if project.tree else None
    raw: dict[str, Data] = plain(node) if node else {}  # type: ignore[assignment]
    raw = dict(raw or {})
    if project.services[name].scale != 1 or "scale" in raw:
        _with_scale(raw, project.services[name].scale)
    fields = _struct(raw, "service", keep=_POINTERS)
    return _as_json(fields) if shown.as_json else fields


def _as_json(fields: dict[str, Data]) -> dict[str, Data]:
    """What the reference's JSON has and its YAML has not, and the other way round."""
    fields = {key: fields.get(key) for key in _ORDER["service"]
              if key in fields or key in ("command", "entrypoint")}  # fmt: skip
    for key in ("resources", "placement") if "deploy" in fields else ():
        fields["deploy"].setdefault(key, {})
    for rule in fields.get("develop", {}).get("watch", ()):
        rule.setdefault("exec", {}).setdefault("command", None)
    if "blkio_config" in fields:
        fields["blkio_config"] = _capitalised(fields["blkio_config"])
    for limits in (fields.get("ulimits", {}), fields.get("build", {}).get("ulimits", {})):
        for limit in limits.values():
            for key in ("soft", "hard") if isinstance(limit, dict) else ():
                if not limit[key]:
                    del limit[key]
    return fields


def _capitalised(raw: dict[str, Data]) -> dict[str, Data]:
    """The reference's JSON has these keys so."""
    return {
        key: [{k.capitalize(): v for k, v in item.items()} for item in value]
        if isinstance(value, list) else value
        for key, value in raw.items()
    }  # fmt: skip


def _with_scale(raw: dict[str, Data], scale: int) -> None:
    if "scale" in raw or "replicas" not in (raw.get("deploy") or {}):
        raw["scale"] = scale
    deploy = raw.get("deploy")
    if deploy is not None and ("scale" in raw or "replicas" in deploy):
        raw["deploy"] = {**deploy, "replicas": scale}


_KEPT_OF_DEPLOY = (
    "replicas", "update_config", "rollback_config", "restart_policy",
)
_POINTERS = frozenset({
    "init", "attach", "scale", "command", "entrypoint", "healthcheck", "deploy", "develop",
    "logging", "build", "blkio_config", "credential_spec", "provider",
})  # fmt: skip


def _section(
    project: Project, root: Node, section: str, services: dict[str, Data], shown: Shown
) -> dict[str, Data]:
    node = root.get(section)
    raw: dict[str, Data] = plain(node) if node else {}  # type: ignore[assignment]
    used = _used(services, section)
    found = Keyed()
    for key in raw or ():
        if key not in used and not shown.all_resources:
            continue
        entry = dict(raw[key] or {})
        if section != "models" and shown.is_normal:
            entry = _named(entry, key, project.name)
        fields = _struct(entry, _SINGULAR[section], keep=_SAID)
        if section == "networks" and shown.as_json:
            fields.setdefault("ipam", {})
            fields = {key: fields[key] for key in _ORDER["network"] if key in fields}
        found[key] = fields
    return found


_SAID = frozenset({"enable_ipv4", "enable_ipv6", "content"})
_SINGULAR = {"networks": "network", "volumes": "volume", "secrets": "file", "configs": "file",
             "models": "model"}  # fmt: skip


def _named(entry: dict[str, Data], key: str, project: str) -> dict[str, Data]:
    external = entry.get("external")
    if isinstance(external, dict):
        entry = {**entry, "name": entry.get("name") or external.get("name"), "external": True}
    if not entry.get("name"):
        entry["name"] = key if external else f"{project}_{key}"
    return entry


def _used(services: dict[str, Data], section: str) -> set[str]:
    used: set[str] = set()
    for service in services.values():
        if section == "volumes":
            used |= {m["source"] for m in service.get("volumes", ())
                     if m["type"] == "volume" and "source" in m}  # fmt: skip
        elif section in ("secrets", "configs"):
            build = service.get("build", {}) if section == "secrets" else {}
            items = [*service.get(section, ()), *build.get(section, ())]
            used |= {item["source"] for item in items}
        else:
            used |= set(service.get(section) or ())
    return used


def _struct(raw: dict[str, Data], kind: str, *, keep: frozenset[str]) -> dict[str, Data]:
    """The mapping with its keys in the order of `kind`, each printed, zero values left out."""
    order = _ORDER.get(kind)
    found: dict[str, Data] = {}
    for key in order if order is not None else sorted(raw):
        if key not in raw:
            continue
        convert = _PRINT.get((kind, key))
        value = convert(raw[key]) if convert and raw[key] is not None else raw[key]
        if not _is_zero(value) or (key in keep and value is not None):
            found[key] = value
    extensions = [key for key in sorted(raw) if key.startswith("x-")] if order else []
    found.update((key, _keyed(raw[key])) for key in extensions)
    return found


def _is_zero(value: Data) -> bool:
    return value is None or value is False or value in ("", [], {}, 0)


def _mode(value: Data) -> str:
    return f"0{value:o}"


def _ssh(value: Data) -> list[Data]:
    return [f"{key}={path}" if path else key for key, path in sorted(value.items())]


def _size(value: Data) -> str:
    return str(value) if value else ""


def _duration(value: Data) -> str:
    return values.format_duration(values.parse_duration(str(value)))


def _number(value: Data) -> Data:
    return int(value) if isinstance(value, float) and value == int(value) else value


def _kind(kind: str, *keep: str) -> Callable[[Data], Data]:
    return lambda raw: _struct(raw, kind, keep=frozenset(keep))


def _each(kind: str, **always: Data) -> Callable[[Data], Data]:
    """A list of them; `always` are the values of keys that are printed in any case."""
    keep = frozenset(always)
    return lambda raw: [
        _struct({**always, **item}, kind, keep=keep) if isinstance(item, dict) else item
        for item in raw
    ]


def _hook(raw: Data) -> Data:
    """The schema wants a command of it, be it empty."""
    shown = _struct(raw, "hook", keep=frozenset({"command"}))
    return {"command": None, **shown} if raw.get("command") is None else shown


def _map_of(kind: str, *keep: str) -> Callable[[Data], Data]:
    def convert(raw: Data) -> Data:
        return Keyed({
            key: _struct(raw[key], kind, keep=frozenset(keep)) if raw[key] else raw[key]
            for key in raw
        })  # fmt: skip

    return convert


def _mounts(raw: Data) -> Data:
    return [_mount(item) for item in raw]


def _mount(item: Data) -> Data:
    fields = _struct(item, "mount", keep=frozenset())
    for key in ("bind", "volume", "tmpfs", "image"):
        if item.get(key) is not None:
            fields[key] = _struct(item[key], key, keep=frozenset())
    return {key: fields[key] for key in _ORDER["mount"] if key in fields}


def _sorted(raw: Data) -> Data:
    return Keyed(raw) if isinstance(raw, dict) else sorted(raw)


def _ulimits(raw: Data) -> Data:
    """A single limit of 0 is shown as the pair it is, as the reference does."""
    return Keyed({key: _ulimit(raw[key]) for key in raw})


def _ulimit(raw: Data) -> Data:
    pair = raw if isinstance(raw, dict) else {"soft": raw, "hard": raw}
    is_single = not isinstance(raw, dict) and raw != 0
    return raw if is_single else {key: pair[key] for key in ("soft", "hard")}


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_ROLLOUT = "parallelism delay failure_action monitor max_failure_ratio order"
_ORDER: dict[str, tuple[str, ...]] = {
    "service": _words(
        "profiles annotations attach build develop blkio_config cap_add cap_drop cgroup_parent "
        "cgroup cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpus "
        "cpuset cpu_shares command configs container_name credential_spec depends_on deploy "
        "device_cgroup_rules devices dns dns_opt dns_search domainname entrypoint provider "
        "environment env_file expose extends external_links extra_hosts group_add gpus hostname "
        "healthcheck image init ipc isolation labels label_file links logging mem_limit "
        "mem_reservation memswap_limit mem_swappiness mac_address models network_mode networks "
        "oom_kill_disable oom_score_adj pid pids_limit platform ports privileged pull_policy "
        "read_only restart runtime scale secrets security_opt shm_size stdin_open "
        "stop_grace_period stop_signal storage_opt sysctls tmpfs tty ulimits use_api_socket user "
        "userns_mode uts volumes volumes_from working_dir pre_start post_start pre_stop"
    ),
    "build": _words(
        "context dockerfile dockerfile_inline entitlements args provenance sbom ssh labels "
        "cache_from cache_to no_cache no_cache_filter additional_contexts pull extra_hosts "
        "isolation network target secrets shm_size tags ulimits platforms privileged"
    ),
    "deploy": _words(
        "mode replicas labels update_config rollback_config resources restart_policy placement "
        "endpoint_mode"
    ),
    "resources": _words("limits reservations"),
    "limits": _words("cpus memory pids devices generic_resources"),
    "restart_policy": _words("condition delay max_attempts window"),
    "placement": _words("constraints preferences max_replicas_per_node"),
    "rollout": _words(_ROLLOUT),
    "healthcheck": _words("test timeout interval retries start_period start_interval disable"),
    "hook": _words("command image user privileged working_dir environment per_replica"),
    "watch": _words("path action target exec include ignore initial_sync"),
    "port": _words("name mode host_ip target published protocol app_protocol"),
    "device": _words("source target permissions"),
    "request": _words("capabilities driver count device_ids options"),
    "endpoint": _words(
        "aliases driver_opts gw_priority interface_name ipv4_address ipv6_address link_local_ips "
        "mac_address priority"
    ),
    "develop": _words("watch"),
    "block_io": _words(
        "weight weight_device device_read_bps device_read_iops device_write_bps device_write_iops"
    ),
    "weight": _words("path weight"),
    "rate": _words("path rate"),
    "credentials": _words("config file registry"),
    "provider": _words("type options"),
    "model_use": _words("endpoint_var model_var"),
    "resource": _words("discrete_resource_spec"),
    "discrete": _words("kind value"),
    "preference": _words("spread"),
    "mount": _words("type source target read_only consistency bind volume tmpfs image"),
    "bind": _words("selinux propagation create_host_path recursive"),
    "tmpfs": _words("size mode"),
    "volume_options": _words("labels nocopy subpath"),
    "grant": _words("source target uid gid mode"),
    "logging": _words("driver options"),
    "dependency": _words("condition restart required"),
    "network": _words(
        "name driver driver_opts ipam external internal attachable labels enable_ipv4 enable_ipv6"
    ),
    "ipam": _words("driver config"),
    "pool": _words("subnet gateway ip_range aux_addresses"),
    "volume": _words("name driver driver_opts external labels nocopy subpath"),
    "file": _words("name file environment content external labels driver driver_opts "
                   "template_driver"),
    "model": _words("name model context_size runtime_flags"),
}  # fmt: skip
_PRINT: dict[tuple[str, str], Callable[[Data], Data]] = {
    **{("service", key): _size for key in
       ("mem_limit", "mem_reservation", "memswap_limit", "mem_swappiness", "shm_size")},
    **{("service", key): _sorted for key in
       ("environment", "labels", "annotations", "sysctls", "extra_hosts", "storage_opt")},
    ("service", "stop_grace_period"): _duration, ("service", "cpus"): _number,
    ("service", "cpu_percent"): _number, ("rollout", "max_failure_ratio"): _number,
    ("service", "build"): _kind("build"), ("service", "deploy"): _kind("deploy", *_KEPT_OF_DEPLOY),
    ("service", "healthcheck"): _kind("healthcheck", "retries"),
    ("service", "ports"): _each("port"),
    ("service", "devices"): _each("device", target=""), ("service", "gpus"): _each("request"),
    ("service", "volumes"): _mounts, ("service", "networks"): _map_of("endpoint"),
    ("service", "depends_on"): _map_of("dependency", "required"),
    ("service", "develop"): _kind("develop"), ("develop", "watch"): _each("watch"),
    ("watch", "exec"): lambda raw: _hook(raw) if any(raw.values()) else {},
    **{("service", key): lambda raw: [_hook(item) for item in raw]
       for key in ("pre_start", "post_start", "pre_stop")},
    ("hook", "environment"): _sorted,
    ("service", "blkio_config"): _kind("block_io"),
    ("block_io", "weight_device"): _each("weight", path="", weight=0),
    **{("block_io", key): _each("rate", path="", rate=0) for key in
       ("device_read_bps", "device_read_iops", "device_write_bps", "device_write_iops")},
    ("rate", "rate"): lambda raw: _size(raw) or "0",
    ("service", "credential_spec"): _kind("credentials"),
    ("service", "provider"): _kind("provider", "type"), ("provider", "options"): _sorted,
    ("service", "models"): _map_of("model_use"), ("grant", "mode"): _mode,
    ("endpoint", "driver_opts"): _sorted, ("request", "options"): _sorted,
    ("limits", "generic_resources"): _each("resource"),
    ("resource", "discrete_resource_spec"): _kind("discrete"),
    ("placement", "preferences"): _each("preference"), ("build", "ssh"): _ssh,
    ("service", "logging"): _kind("logging"), ("service", "ulimits"): _ulimits,
    ("service", "secrets"): _each("grant"), ("service", "configs"): _each("grant"),
    ("build", "args"): _sorted, ("build", "labels"): _sorted, ("build", "secrets"): _each("grant"),
    ("build", "additional_contexts"): _sorted, ("build", "extra_hosts"): sorted,
    ("build", "shm_size"): _size, ("build", "ulimits"): _ulimits,
    ("deploy", "labels"): _sorted, ("deploy", "update_config"): _kind("rollout", "parallelism"),
    ("deploy", "rollback_config"): _kind("rollout", "parallelism"),
    ("deploy", "resources"): _kind("resources", "limits", "reservations"),
    ("deploy", "restart_policy"): _kind("restart_policy", "max_attempts"),
    ("deploy", "placement"): _kind("placement"),
    ("resources", "limits"): _kind("limits"), ("resources", "reservations"): _kind("limits"),
    ("limits", "memory"): _size, ("limits", "cpus"): _number,
    ("limits", "devices"): _each("request"),
    ("rollout", "delay"): _duration, ("rollout", "monitor"): _duration,
    ("restart_policy", "delay"): _duration, ("restart_policy", "window"): _duration,
    **{("healthcheck", key): _duration for key in
       ("interval", "timeout", "start_period", "start_interval")},
    ("tmpfs", "size"): _size, ("logging", "options"): _sorted,
    ("network", "labels"): _sorted, ("network", "driver_opts"): _sorted,
    ("network", "ipam"): _kind("ipam"), ("ipam", "config"): _each("pool"),
    ("ipam", "options"): _sorted,
    ("volume", "labels"): _sorted, ("volume", "driver_opts"): _sorted,
    ("file", "labels"): _sorted, ("file", "driver_opts"): _sorted,
}  # fmt: skip
