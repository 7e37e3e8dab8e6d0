"""What `config` prints: the resolved files, hashes, names, variables.  Asks no container."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.engine import material
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import UsageError
from orchestrator.spec import dump, hashing
from orchestrator.spec.model import Project
from orchestrator.spec.select import select


def chosen(workspace: Workspace, services: Sequence[str]) -> Project:
    """The whole project, or the named services with what they depend on."""
    project = workspace.project
    return select(project, services, with_dependencies=True) if services else project


def text(workspace: Workspace, *, format: str, services: Sequence[str]) -> str:
    """YAML or JSON, ending in a newline."""
    project = chosen(workspace, services)
    if format == "json":
        return dump.to_json(project) + "\n"
    if format != "yaml":
        raise UsageError(f'unsupported format "{format}"', hint="yaml or json")
    return dump.to_yaml(project)


def hashes(workspace: Workspace) -> dict[str, str]:
    """service -> configuration hash, disabled services included."""
    project = material.Contents(workspace.project, workspace.layout).digested(workspace.project)
    services = {**project.services, **project.disabled}
    return {name: hashing.config_hash(hashing.config_tree(service))
            for name, service in sorted(services.items())}  # fmt: skip


def variables(workspace: Workspace) -> dict[str, str]:
    """What templates see."""
    from orchestrator.spec import inputs

    return dict(sorted(inputs.gather(workspace.load_options).environment.items()))


def ordered_services(workspace: Workspace) -> list[str]:
    """Dependencies first."""
    from orchestrator.plan import graph

    services = workspace.project.services
    return graph.order({
        name: [d for d in service.depends_on if d in services] for name, service in services.items()
    })  # fmt: skip
