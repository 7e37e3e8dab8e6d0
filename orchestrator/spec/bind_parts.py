"""The parts of a service of the canonical tree become their model: mounts, ports, probes,
devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.dataclass import replace
from orchestrator.spec import fields, ports
from orchestrator.spec.fields import Misread, Raw, Table, each, made
from orchestrator.spec.parts_model import (
    BlockIo,
    CredentialSpec,
    Dependency,
    Device,
    DeviceRate,
    DeviceRequest,
    DeviceWeight,
    Grant,
    Healthcheck,
    Hook,
    Link,
    Logging,
    ModelUse,
    Port,
    Provider,
    ServiceNetwork,
    Ulimit,
    VolumeMount,
    VolumesFrom,
)

_DEPENDENCY: Table = {
    "condition": fields.text, "restart": fields.truth, "required": fields.truth,
}  # fmt: skip
dependencies = fields.by_key(
    lambda service, raw: Dependency(service=service, **fields.read(raw, _DEPENDENCY))
)

_HEALTH: Table = {
    "test": lambda raw: tuple(raw) or None, "retries": fields.count, "disable": fields.truth,
    **dict.fromkeys(("interval", "timeout", "start_period", "start_interval"), fields.duration),
}  # fmt: skip


def health(raw: Raw) -> Healthcheck:
    found = fields.read(raw, _HEALTH)
    test = found.get("test")
    if test and test[0] not in ("NONE", "CMD", "CMD-SHELL"):
        text = f"`test` must begin with CMD, CMD-SHELL or NONE, not {test[0]!r}"
        raise Misread([(("test",), text)])
    return Healthcheck(**found)


_HOOK: Table = {
    "command": tuple, **dict.fromkeys(("user", "working_dir", "image"), fields.said),
    **dict.fromkeys(("privileged", "per_replica"), fields.truth), "environment": fields.variables,
}  # fmt: skip
hook = made(Hook, _HOOK)

_GRANT: Table = {
    "source": fields.text, "target": fields.said, "uid": fields.said, "gid": fields.said,
    "mode": fields.mode,
}  # fmt: skip
grant = made(Grant, _GRANT, source="")


def secret(raw: Raw) -> Grant:
    """A secret of a service; an empty target, which `config` does not print, is the usual one."""
    found = grant(raw)
    return found if found.target else replace(found, target=f"/run/secrets/{found.source}")


def device(raw: Raw) -> Device:
    found = fields.read(raw, dict.fromkeys(("source", "target", "permissions"), fields.said))
    source = found.get("source") or ""
    return Device(
        source=source, target=found.get("target") or source,
        permissions=found.get("permissions") or "rwm",
    )  # fmt: skip


def _how_many(value: object) -> int:
    return -1 if value == "all" else fields.integer(value)


_REQUEST: Table = {
    **dict.fromkeys(("capabilities", "device_ids"), fields.texts), "driver": fields.said,
    "count": _how_many, "options": fields.pairs,
}  # fmt: skip
device_request = made(DeviceRequest, _REQUEST)


def ulimits(raw: Raw) -> tuple[Ulimit, ...]:
    return tuple(found for _, found in sorted(fields.by_key(_ulimit)(raw).items()))


def _ulimit(name: str, raw: Any) -> Ulimit:
    pair = raw if isinstance(raw, dict) else {"soft": raw, "hard": raw}
    return Ulimit(name=name, **fields.read(pair, dict.fromkeys(("soft", "hard"), fields.integer)))


_RATES = each(made(DeviceRate, {"path": fields.text, "rate": fields.size}, path="", rate=0))
_BLOCK_IO: Table = {
    "weight": fields.integer,
    "weight_device": each(made(DeviceWeight, {"path": fields.text, "weight": fields.integer},
                               path="", weight=0)),
    **dict.fromkeys(("device_read_bps", "device_read_iops", "device_write_bps",
                     "device_write_iops"), _RATES),
}  # fmt: skip
block_io = made(BlockIo, _BLOCK_IO)

_MOUNT: Table = {
    "type": fields.text, "source": fields.said, "target": fields.text, "read_only": fields.truth,
    "consistency": fields.said,
}  # fmt: skip
_BIND: Table = {
    "propagation": fields.said, "create_host_path": fields.truth, "recursive": fields.said,
    "selinux": fields.said,
}  # fmt: skip
_VOLUME: Table = {"nocopy": fields.truth, "subpath": fields.said, "labels": fields.pairs}


def _tmpfs_mode(value: object) -> int:
    if isinstance(value, int):
        return value
    raise ValueError(f"{value!r} must be a number, such as 0755 without quotes")


def mount(raw: Raw) -> VolumeMount:
    found = {"source": None, **fields.read(raw, {
        **_MOUNT,
        "bind": lambda v: fields.read(v, _BIND),
        "volume": lambda v: fields.read(v, _VOLUME),
        "image": lambda v: fields.read(v, {"subpath": fields.said}),
        "tmpfs": lambda v: fields.read(v, {"size": fields.size, "mode": _tmpfs_mode}),
    })}  # fmt: skip
    parts = {key: found.pop(key, {}) for key in ("bind", "volume", "image", "tmpfs")}
    options = {**parts["bind"], **parts["volume"], **parts["image"]}
    found.update({key: value for key, value in options.items() if value is not None})
    tmpfs = parts["tmpfs"]
    return VolumeMount(
        **found, tmpfs_size=tmpfs.get("size") or None, tmpfs_mode=tmpfs.get("mode")
    )


_PORT: Table = {
    "target": fields.integer, "published": fields.said,
    "host_ip": lambda value: _address(fields.text(value)),
    **dict.fromkeys(("protocol", "mode"), fields.text),
    **dict.fromkeys(("name", "app_protocol"), fields.said),
}  # fmt: skip
port = made(Port, _PORT)


def _address(text: str) -> str | None:
    if text and not ports.is_address(text):
        raise ValueError(f"{text!r} is not an IP address")
    return text or None


_ENDPOINT: Table = {
    **dict.fromkeys(("aliases", "link_local_ips"), fields.texts),
    **dict.fromkeys(("ipv4_address", "ipv6_address", "mac_address", "interface_name"), fields.said),
    "driver_opts": fields.pairs, **dict.fromkeys(("priority", "gw_priority"), fields.integer),
}  # fmt: skip


def networks(raw: Raw) -> dict[str, ServiceNetwork]:
    """In order of attachment."""
    found = fields.by_key(
        lambda key, entry: ServiceNetwork(network=key, **fields.read(entry or {}, _ENDPOINT))
    )(raw)
    return dict(sorted(found.items(), key=lambda entry: (-entry[1].priority, entry[0])))


def links(raw: Sequence[str]) -> tuple[Link, ...]:
    found = [str(text).partition(":") for text in raw]
    return tuple(Link(target=target, alias=alias or target) for target, _, alias in found)


def volumes_from(text: str) -> VolumesFrom:
    container = text.startswith("container:")
    name, _, access = text.removeprefix("container:").partition(":")
    if not name or access not in ("", "ro", "rw"):
        raise ValueError(f"{text!r} is not of the form SERVICE[:ro] or container:NAME[:ro]")
    read_only = access == "ro"
    if container:
        return VolumesFrom(container=name, read_only=read_only)
    return VolumesFrom(service=name, read_only=read_only)


def logging(raw: Raw) -> Logging:
    options = {k: v for k, v in (raw.get("options") or {}).items() if v is not None}
    return Logging(driver=raw.get("driver") or "json-file", options=fields.pairs(options))


credential_spec = made(CredentialSpec, dict.fromkeys(("config", "file", "registry"), fields.said))


def provider(raw: Raw) -> Provider:
    options = {
        key: fields.texts(value if isinstance(value, list) else [value])
        for key, value in (raw.get("options") or {}).items() if value is not None
    }  # fmt: skip
    return Provider(type=fields.text(raw.get("type", "")), options=options)


def _model_use(name: str, raw: Raw | None) -> ModelUse:
    variable = name.upper().replace("-", "_")
    said = raw or {}
    return ModelUse(
        model=name, endpoint_var=said.get("endpoint_var") or f"{variable}_URL",
        model_var=said.get("model_var") or f"{variable}_MODEL",
    )  # fmt: skip


model_uses = fields.by_key(_model_use)
