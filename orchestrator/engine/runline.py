"""RunOptions from what the command line of `run` says: short forms of volumes, ports, commands."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from orchestrator.engine.oneoff import RunOptions
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import UsageError
from orchestrator.spec import dotenv, mounts, ports, values
from orchestrator.spec.model import Port, VolumeMount


def run_options(
    workspace: Workspace, *, volumes: Sequence[str], publish: Sequence[str],
    entrypoint: str | None, env_files: Sequence[str] = (),
    environment: Mapping[str, str | None] | None = None, **said: object,
) -> RunOptions:  # fmt: skip
    """Short forms as in the file, paths relative to the working directory of the command."""
    words = None
    if entrypoint is not None:
        try:
            words = tuple(values.split_command(entrypoint))
        except ValueError as exc:
            raise UsageError(f"bad --entrypoint: {exc}") from exc
    mounts = tuple(_mount(workspace, text) for text in volumes)
    ports = tuple(port for text in publish for port in _ports(text))
    variables = {**_from_files(workspace, env_files), **(environment or {})}
    return RunOptions(volumes=mounts, ports=ports, entrypoint=words, environment=variables,
                      **said)  # type: ignore[arg-type]  # names are checked by RunOptions


def _from_files(workspace: Workspace, paths: Sequence[str]) -> dict[str, str | None]:
    """Later files win; UsageError names the file and the line."""
    found: dict[str, str | None] = {}
    for path in paths:
        place = os.path.join(workspace.choice.cwd or os.getcwd(), path)
        try:
            with open(place, encoding="utf-8") as file:
                entries = dotenv.parse(file.read(), lookup=workspace.choice.environ.get)
        except OSError as exc:
            raise UsageError(f"bad --env-from-file: {path}: {exc.strerror}") from exc
        except dotenv.DotenvError as exc:
            raise UsageError(f"{path}:{exc.line}: {exc.message}") from exc
        except ValueError as exc:
            raise UsageError(f"bad --env-from-file: {path}: it is no text: {exc}") from exc
        found |= {e.name: workspace.choice.environ.get(e.name) if e.value is None else e.value
                  for e in entries}  # fmt: skip
    return found


def _mount(workspace: Workspace, text: str) -> VolumeMount:
    try:
        parsed = mounts.parse_mount(text)
    except ValueError as exc:
        raise UsageError(f"bad --volume: {exc}") from exc
    source = parsed.source
    if parsed.type == "bind" and source is not None:
        base = workspace.choice.cwd or os.getcwd()
        source = os.path.abspath(os.path.join(base, os.path.expanduser(source)))
    elif source is not None and source not in workspace.project.volumes:
        raise UsageError(f"bad --volume: no volume {source} is declared")
    kind = "bind" if parsed.type == "bind" else "volume"
    return VolumeMount(
        type="bind" if kind == "bind" else "volume", source=source, target=parsed.target,
        read_only=parsed.read_only,
    )  # fmt: skip


def _ports(text: str) -> list[Port]:
    try:
        parsed = ports.parse_port(text)
    except ValueError as exc:
        raise UsageError(f"bad --publish: {exc}") from exc
    found = []
    for port in parsed:
        if port.protocol not in ("tcp", "udp"):
            raise UsageError(f"bad --publish: {text}: {port.protocol} is not available")
        found.append(Port(
            target=port.target, published=port.published, host_ip=port.host_ip,
            protocol="udp" if port.protocol == "udp" else "tcp",
        ))  # fmt: skip
    return found
