"""A container as `ps` shows it: the words of its state, its ports, its row.  Pure."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from orchestrator import names
from orchestrator.cli import table, terminal
from orchestrator.state.observed import ObservedContainer
from orchestrator.state.records import ContainerStatus

HEAD = ("NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS")
_COMMAND_WIDTH = 20
_MOUNT_WIDTH = 15


def status_text(status: ContainerStatus, *, now: float) -> str:
    """`Up 3 seconds (healthy)`, `Exited (1) 5 seconds ago`."""
    if status.state == "running":
        if status.paused:
            return f"Up {table.ago(now - status.started_at)} (Paused)"
        health = {"": "", "starting": " (health: starting)"}.get(
            status.health, f" ({status.health})")  # fmt: skip
        return f"Up {table.ago(now - status.started_at)}{health}"
    code = "unknown" if status.exit_code is None else str(status.exit_code)
    if status.state == "created":
        return "Created"
    if status.state == "dead":
        return "Dead"
    word = "Restarting" if status.state == "restarting" else "Exited"
    return f"{word} ({code}) {table.ago(now - status.finished_at)} ago"


def command_text(argv: list[str], *, cut: bool) -> str:
    """The command in quotes, cut to 20 columns; arguments with a blank have quotes of their own."""
    program, *rest = argv or [""]
    text = " ".join([program, *(f"'{word}'" if " " in word else word for word in rest)])
    text = terminal.visible(text)
    return f'"{terminal.cut(text, _COMMAND_WIDTH) if cut else text}"'


def ports_text(container: ObservedContainer) -> str:
    """`0.0.0.0:8080->80/tcp, 6379/tcp`."""
    found = [
        f"{host_text(port['host_ip'])}:{port['published']}->{port['target']}/{port['protocol']}"
        for port in _publishers(container)
    ]
    return ", ".join(found)


def host_text(address: str) -> str:
    """The address as it stands before a port."""
    return f"[{address}]" if ":" in address else address


def _publishers(container: ObservedContainer) -> list[Mapping[str, Any]]:  # JSON of the status
    if container.status.state != "running":
        return []
    return sorted(container.status.ports, key=lambda p: (p["target"], p["published"]))


def row(container: ObservedContainer, *, now: float, cut: bool) -> tuple[str, ...]:
    """The cells of the table."""
    record, status = container.record, container.status
    return (
        record.name, record.image, command_text(record.spec["argv"], cut=cut), record.service,
        f"{table.ago(now - record.created_at)} ago", status_text(status, now=now),
        ports_text(container),
    )  # fmt: skip


def fields(
    container: ObservedContainer, *, now: float, cut: bool = True
) -> dict[str, Any]:  # mixed JSON
    """The keys of `ps --format json`, alphabetical, and the Pid besides; `cut`: what is long is
    shortened."""
    record, status = container.record, container.status
    created = time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(record.created_at))
    mounts = record.spec.get("mounts", [])
    local = {**record.named_volumes, **record.anonymous_volumes}
    return {
        "Command": command_text(record.spec["argv"], cut=cut),
        "CreatedAt": created,
        "ExitCode": status.exit_code or 0,
        "Health": status.health,
        "ID": names.short(record.id) if cut else record.id,
        "Image": record.image,
        "Labels": ",".join(f"{k}={v}" for k, v in sorted(record.labels.items())),
        "LocalVolumes": str(len(local)),
        "Mounts": ",".join(terminal.cut(name, _MOUNT_WIDTH) if cut else name for name in (
            _mount_name(m, local) for m in mounts if m["type"] != "tmpfs")),
        "Name": record.name,
        "Names": record.name,
        "Networks": ",".join(sorted(record.networks.values())),
        "Pid": status.pid if status.state == "running" else 0,
        "Ports": ports_text(container),
        "Project": record.project,
        "Publishers": [
            {"URL": p["host_ip"], "TargetPort": p["target"], "PublishedPort": p["published"],
             "Protocol": p["protocol"]}
            for p in _publishers(container)
        ],
        "RunningFor": f"{table.ago(now - record.created_at)} ago",
        "Service": record.service,
        "Size": "0B",
        "State": status.shown_state,
        "Status": status_text(status, now=now),
    }  # fmt: skip


def template_row(
    container: ObservedContainer, *, now: float, cut: bool = True
) -> dict[str, Any]:  # mixed JSON
    """The fields, and `{{.Label "name"}}` besides."""
    labels = container.record.labels
    return {**fields(container, now=now, cut=cut), "Label": lambda name: labels.get(name, "")}


def _mount_name(mount: Mapping[str, Any], volumes: Mapping[str, str]) -> str:  # JSON of the spec
    return volumes.get(mount["target"]) or str(mount.get("source") or "")


def json_line(container: ObservedContainer, *, now: float, cut: bool = True) -> str:
    """One line of `ps --format json`."""
    return json.dumps(fields(container, now=now, cut=cut), ensure_ascii=False,
                      separators=(",", ":"))  # fmt: skip


_RAW = {"container_id": "ID", "image": "Image", "command": "Command", "created_at": "CreatedAt",
        "state": "State", "status": "Status", "names": "Names", "labels": "Labels",
        "ports": "Ports"}  # fmt: skip


def raw_lines(container: ObservedContainer, *, now: float, cut: bool) -> list[str]:
    """The block of `ps --format raw`."""
    found = fields(container, now=now, cut=cut)
    return [*(f"{name}: {found[key]}" for name, key in _RAW.items()), ""]
