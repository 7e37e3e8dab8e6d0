"""`exec`: a command in a running replica."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.engine.lookup import running_replica
from orchestrator.engine.session import KEPT, Exec
from orchestrator.engine.workspace import Workspace
from orchestrator.supervisor.protocol import ExecRequest


def execute(
    workspace: Workspace, service: str, argv: Sequence[str], *, index: int, user: str, cwd: str,
    environment: Mapping[str, str], tty: bool, privileged: bool, detach: bool,
    streams: Sequence[int], signals: Sequence[str] = KEPT,
) -> Exec:  # fmt: skip
    """Start the command; UsageError where the service does not run.  `signals` are kept for it."""
    container = running_replica(workspace, service, index=index)
    request = ExecRequest(
        container=container.record.id, argv=tuple(argv), environment=dict(environment), user=user,
        cwd=cwd, tty=tty and not detach, privileged=privileged, detach=detach,
    )  # fmt: skip
    return Exec(workspace.layout, workspace.name, request, streams, signals=signals)
