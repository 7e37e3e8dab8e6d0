"""What makes two containers of a service, two networks or two volumes the same.

A tree holds everything that reaches the container, in one normal form; its hash is kept in the
label of the container.  Left out is what only says when and how many: `scale`, `depends_on`,
`profiles`, `pull_policy`, `attach`; how the image is made, for its id is part of the comparison;
`deploy`, whose effect is in other fields; and what no container sees.  Pure.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from orchestrator.dataclass import fields, is_dataclass
from orchestrator.spec.model import Network, Service, Volume

VERSION = 1
"""Part of every tree: raise it when a field changes its meaning, never for a new field whose
default means what was before (defaults are left out)."""

EXCLUDED = frozenset({
    "name", "scale", "depends_on", "profiles", "pull_policy", "attach", "build", "develop",
    "deploy", "cpu_count", "cpu_percent", "credential_spec",
})  # fmt: skip
_UNSEEN = {
    "VolumeMount": frozenset({"create_host_path", "consistency"}),
    "Port": frozenset({"name", "mode", "app_protocol"}),
}
"""Fields of parts that no container sees: what is done before one is made, and metadata."""
_ZERO_COUNTS = frozenset({"init", "command", "entrypoint", "mem_swappiness"})
"""Fields where 0, false or empty is another thing than nothing at all."""
_UNORDERED = frozenset({"cap_add", "cap_drop", "group_add", "expose"})


def config_tree(service: Service) -> dict[str, Any]:
    """Everything of the service that its containers see, as JSON data; empty values left out."""
    tree: dict[str, Any] = {"version": VERSION}
    for name, default in _defaults(Service):
        value = getattr(service, name)
        is_said = value != default and (name in _ZERO_COUNTS or value not in (0, "", ()))
        if is_said and name not in EXCLUDED:
            tree[name] = _data(value, ordered=name not in _UNORDERED)
    return {key: value for key, value in sorted(tree.items()) if value != {}}


_USUAL = {"enable_ipv4": True, "enable_ipv6": False}


def network_tree(network: Network) -> dict[str, Any]:
    """What cannot change without making the network anew."""
    return {
        "version": VERSION, "driver": network.driver or "bridge", "internal": network.internal,
        "labels": dict(sorted(network.labels.items())), "ipam": [_data(p) for p in network.ipam],
        **{key: _data(getattr(network, key)) for key in ("driver_opts", "enable_ipv4",
           "enable_ipv6") if getattr(network, key) not in (None, {}, _USUAL.get(key))},
    }  # fmt: skip


def volume_tree(volume: Volume) -> dict[str, Any]:
    """What cannot change without making the volume anew."""
    return {
        "version": VERSION, "driver": volume.driver or "local",
        "labels": dict(sorted(volume.labels.items())),
        **({"driver_opts": _data(volume.driver_opts)} if volume.driver_opts else {}),
    }  # fmt: skip


def config_hash(tree: Mapping[str, Any]) -> str:
    """64 hexadecimal digits for a tree, whatever the order of its keys."""
    import json
    from hashlib import sha256

    text = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _data(value: Any, *, ordered: bool = True) -> Any:
    """Plain JSON data of a value of the model; fields with their default are left out."""
    if isinstance(value, Mapping):
        return {key: _data(value[key]) for key in sorted(value)}
    if isinstance(value, tuple):
        items = [_data(item) for item in value]
        return items if ordered else sorted(items)
    if is_dataclass(type(value)):
        unseen = _UNSEEN.get(type(value).__name__, ())
        known = _defaults(type(value))  # type: ignore[arg-type]  # mypy: type[Any] has no hash
        return {
            name: _data(getattr(value, name)) for name, default in known
            if getattr(value, name) != default and name not in unseen
        }  # fmt: skip
    return value


@functools.cache
def _defaults(cls: Any) -> list[tuple[str, object]]:
    """(field, default) of a dataclass; a field without one is never equal to its default."""
    found: list[tuple[str, object]] = []
    for item in fields(cls):
        factory: Any = item.default_factory  # a callable or the marker for none
        found.append((item.name, factory() if callable(factory) else item.default))
    return found
