"""Records for the tests of state and plan, with everything that does not matter filled in."""

from __future__ import annotations

from typing import Any

from orchestrator.names import container_name
from orchestrator.state.records import ContainerRecord, NetworkRecord, VolumeRecord


def container_record(
    service: str = "web", index: int = 1, *, project: str = "p", id_: str = "", **changes: Any
) -> ContainerRecord:
    """A record of a replica; `changes` are fields of ContainerRecord."""
    values: dict[str, Any] = {
        "id": id_ or f"{service}-{index}-id",
        "name": container_name(project, service, index),
        "project": project, "service": service, "index": index, "oneoff": False,
        "created_at": 1.0, "config_hash": "", "config": {}, "image": "img", "image_id": "sha256:1",
        "labels": {}, "spec": {},
    }  # fmt: skip
    return ContainerRecord(**{**values, **changes})


def network_record(name: str = "p_default", **changes: Any) -> NetworkRecord:
    """A record of a network of project p."""
    values: dict[str, Any] = {
        "name": name, "key": name.removeprefix("p_"), "project": "p", "bridge": "pc-nothere",
        "subnet": "10.210.1.0/24", "gateway": "10.210.1.1", "internal": False, "config_hash": "",
        "config": {}, "labels": {},
    }  # fmt: skip
    return NetworkRecord(**{**values, **changes})


def volume_record(name: str = "p_data", **changes: Any) -> VolumeRecord:
    """A record of a named volume of project p."""
    values: dict[str, Any] = {
        "name": name, "key": name.removeprefix("p_"), "project": "p", "anonymous": False,
        "created_at": 1.0, "config_hash": "", "labels": {},
    }  # fmt: skip
    return VolumeRecord(**{**values, **changes})
