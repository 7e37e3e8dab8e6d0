"""What `build` would do as a file for docker buildx bake: for other builders, and to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.spec.select import select

if TYPE_CHECKING:
    from orchestrator.engine.workspace import Workspace
    from orchestrator.spec.model import Service

Json = dict[str, Any]  # JSON has no narrower type


def bake(workspace: Workspace, services: Sequence[str]) -> Json:
    """Groups and targets, those of the named services or of all."""
    project = workspace.runnable
    selected = select(project, services, with_dependencies=False)
    built = {name: s for name, s in selected.services.items() if s.build is not None}
    return {
        "group": {"default": {"targets": sorted(built)}},
        "target": {name: _target(service) for name, service in sorted(built.items())},
    }


def _target(service: Service) -> Json:
    build = service.build
    assert build is not None
    members: Json = {
        "context": build.context,
        "contexts": {name: value.replace("service:", "target:", 1)
                     for name, value in build.additional_contexts.items()},
        "dockerfile": build.dockerfile,
        "dockerfile-inline": build.dockerfile_inline,
        "args": dict(build.args),
        "labels": dict(build.labels),
        "tags": [service.image, *build.tags],
        "target": build.target,
        "platforms": list(build.platforms),
        "network": build.network,
        "no-cache": build.no_cache,
        "entitlements": list(build.entitlements),
        "secret": [f"id={grant.target or grant.source}" for grant in build.secrets],
        "ssh": [f"{name}={path}" if path else name for name, path in build.ssh.items()],
    }
    return {key: value for key, value in members.items() if value}
