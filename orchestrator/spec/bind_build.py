"""`build`, `develop` and `deploy` of the canonical tree become their model."""

from __future__ import annotations

from typing import Any

from orchestrator.spec import fields
from orchestrator.spec.bind_parts import device_request, grant, hook, ulimits
from orchestrator.spec.build_model import Build, Develop, WatchRule
from orchestrator.spec.deploy_model import (
    Deploy,
    GenericResource,
    Placement,
    Resources,
    RestartPolicy,
    Rollout,
)
from orchestrator.spec.fields import Raw, Table, each, made

_BUILD: Table = {
    **dict.fromkeys(("context", "dockerfile", "dockerfile_inline", "target", "network",
                     "isolation", "provenance", "sbom"), fields.said),
    **dict.fromkeys(("tags", "platforms", "cache_from", "cache_to", "no_cache_filter",
                     "entitlements"), fields.texts),
    **dict.fromkeys(("no_cache", "pull", "privileged"), fields.truth),
    **dict.fromkeys(("args", "labels", "additional_contexts"), fields.pairs),
    "secrets": each(grant), "ssh": lambda raw: {k: v or None for k, v in raw.items()},
    "extra_hosts": fields.hosts, "shm_size": lambda v: fields.size(v) or None,
    "ulimits": ulimits,
}  # fmt: skip
build = made(Build, _BUILD)

_WATCH: Table = {
    **dict.fromkeys(("path", "action"), fields.text), "target": fields.said,
    **dict.fromkeys(("ignore", "include"), fields.texts), "initial_sync": fields.truth,
    "exec": hook,
}  # fmt: skip
develop = made(Develop, {"watch": each(made(WatchRule, _WATCH))})

_ROLLOUT: Table = {
    "parallelism": fields.integer, "delay": fields.duration, "failure_action": fields.text,
    "monitor": fields.duration, "max_failure_ratio": fields.number, "order": fields.text,
}  # fmt: skip
_RESTART: Table = {
    "condition": fields.said, "delay": fields.duration, "max_attempts": fields.count,
    "window": fields.duration,
}  # fmt: skip


def _generic(raw: Raw) -> GenericResource:
    spec = raw.get("discrete_resource_spec") or {}
    found = fields.read(spec, {"kind": fields.text, "value": fields.number})
    return GenericResource(kind=found.get("kind", ""), value=found.get("value", 0))


def _placement(raw: Raw) -> Placement:
    found = fields.read(raw, {
        "constraints": fields.texts, "max_replicas_per_node": fields.count,
        "preferences": each(lambda item: fields.text(item.get("spread", ""))),
    })  # fmt: skip
    found["spread"] = found.pop("preferences", ())
    return Placement(**found)


_RESOURCES: Table = {
    "cpus": fields.cpus, "memory": fields.size, "pids": fields.integer,
    "devices": each(device_request), "generic_resources": each(_generic),
}  # fmt: skip
_DEPLOY: Table = {
    **dict.fromkeys(("mode", "endpoint_mode"), fields.said), "replicas": fields.count,
    "labels": fields.pairs, "restart_policy": made(RestartPolicy, _RESTART),
    **dict.fromkeys(("update_config", "rollback_config"), made(Rollout, _ROLLOUT)),
    "placement": _placement,
    "resources": lambda raw: fields.read(
        raw, dict.fromkeys(("limits", "reservations"), made(Resources, _RESOURCES))),
}  # fmt: skip


def deploy(raw: Raw) -> Deploy:
    found: dict[str, Any] = fields.read(raw, _DEPLOY)
    return Deploy(**found.pop("resources", {}), **found)
