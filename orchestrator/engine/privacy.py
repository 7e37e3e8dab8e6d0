"""A project that shares nothing with another one made from the same files: what tests run.

Pure.  `container_name` and the `name` of networks and volumes are known to the whole machine, so
two projects with one of them would meet there; here each gets the name it would have without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.dataclass import replace
from orchestrator.names import resource_name

if TYPE_CHECKING:
    from orchestrator.spec.model import Project, Service


def private(project: Project) -> Project:
    """The project without names that the files have chosen; a container name stays a name by which
    its neighbours find it.  What is external is meant to be shared, and stays."""
    networks = {
        key: n if n.external else replace(n, name=resource_name(project.name, key))
        for key, n in project.networks.items()
    }  # fmt: skip
    volumes = {
        key: v if v.external else replace(v, name=resource_name(project.name, key))
        for key, v in project.volumes.items()
    }  # fmt: skip
    return replace(
        project, networks=networks, volumes=volumes,
        services={name: _unnamed(s) for name, s in project.services.items()},
        disabled={name: _unnamed(s) for name, s in project.disabled.items()},
    )  # fmt: skip


def _unnamed(service: Service) -> Service:
    name = service.container_name
    if name is None:
        return service
    networks = {
        key: replace(n, aliases=(*n.aliases, name)) for key, n in service.networks.items()
    }
    return replace(service, container_name=None, networks=networks)
