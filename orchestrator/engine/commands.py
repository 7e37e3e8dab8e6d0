"""Which container a command means, and what is to run in it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from orchestrator.engine.lifecycle import check_services, declared_if_any
from orchestrator.engine.oneoff import RunOptions
from orchestrator.engine.session import Exec
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import UsageError
from orchestrator.events import ignore
from orchestrator.spec.model import Port, VolumeMount
from orchestrator.state.observed import ObservedContainer
from orchestrator.supervisor.protocol import ExecRequest


def running_replica(workspace: Workspace, service: str, *, index: int) -> ObservedContainer:
    """The replica of that number; 0: the first one, a service container before a one-off."""
    observed = workspace.observe()
    mine = [c for c in observed.containers if c.record.service == service]
    if not mine:
        declared = declared_if_any(workspace, sink=ignore)
        check_services([service], observed=observed, declared=declared)
    running = [c for c in mine if c.is_running and (not index or c.record.index == index)]
    if not running:
        which = f" replica {index}" if index else ""
        raise UsageError(f'service "{service}"{which} is not running',
                         hint=f"start it with `pcompose up -d {service}`")  # fmt: skip
    return min(running, key=lambda c: (c.record.oneoff, c.record.index, c.record.created_at))


def execute(
    workspace: Workspace, service: str, argv: Sequence[str], *, index: int, user: str, cwd: str,
    environment: Mapping[str, str], tty: bool, privileged: bool, detach: bool,
    streams: Sequence[int],
) -> Exec:  # fmt: skip
    """Start the command; UsageError where the service does not run."""
    container = running_replica(workspace, service, index=index)
    request = ExecRequest(
        container=container.record.id, argv=tuple(argv), environment=dict(environment), user=user,
        cwd=cwd, tty=tty and not detach, privileged=privileged, detach=detach,
    )  # fmt: skip
    return Exec(workspace.layout, workspace.name, request, streams)


def run_options(
    workspace: Workspace, *, volumes: Sequence[str], publish: Sequence[str],
    entrypoint: str | None, **said: object,
) -> RunOptions:  # fmt: skip
    """Short forms as in the file, paths relative to the working directory of the command."""
    from orchestrator.spec import values

    words = None
    if entrypoint is not None:
        try:
            words = tuple(values.split_command(entrypoint))
        except ValueError as exc:
            raise UsageError(f"bad --entrypoint: {exc}") from exc
    mounts = tuple(_mount(workspace, text) for text in volumes)
    ports = tuple(port for text in publish for port in _ports(text))
    return RunOptions(volumes=mounts, ports=ports, entrypoint=words,
                      **said)  # type: ignore[arg-type]  # names are checked by RunOptions


def _mount(workspace: Workspace, text: str) -> VolumeMount:
    from orchestrator.spec import mounts

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
    from orchestrator.spec import ports

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
