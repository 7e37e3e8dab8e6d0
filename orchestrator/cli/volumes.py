"""A volume as the lists of docker compose show it.  Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.engine.volumes import VolumeRow


def fields(row: VolumeRow) -> dict[str, str]:
    """The object of `--format json`: the fields Docker has, `N/A` for those of its swarm."""
    nothing = "N/A"
    return {
        "Availability": nothing, "Driver": "local", "Group": nothing,
        "Labels": ",".join(f"{k}={v}" for k, v in sorted(row.labels.items())),
        "Links": str(len(row.containers)), "Mountpoint": row.mountpoint, "Name": row.name,
        "Scope": "local", "Size": nothing, "Status": nothing,
    }  # fmt: skip
