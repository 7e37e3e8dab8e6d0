"""From what the files say to a plan that has touched nothing: load, observe, diff.

It is what `plan` prints.  Apart from `reconcile`, which carries it out: a plan needs neither
addresses nor a supervisor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.dataclass import dataclass, replace
from orchestrator.engine import images, machine, material
from orchestrator.engine.workspace import Workspace
from orchestrator.plan import actions
from orchestrator.plan.diff import diff
from orchestrator.plan.plan import Plan
from orchestrator.plan.policy import UpPolicy
from orchestrator.spec.select import select

if TYPE_CHECKING:
    from orchestrator.image.store import Image
    from orchestrator.spec.model import Project, Service
    from orchestrator.state.observed import Observed


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A plan and what it was made from."""

    project: Project
    """All services that the profiles and the command line enable."""
    selected: Project
    """The services this command is about, with their dependencies."""
    observed: Observed
    images: dict[str, Image]
    plan: Plan
    policy: UpPolicy
    contents: material.Contents
    """Of secrets and configs."""


def draft(workspace: Workspace, policy: UpPolicy, *, make_host: bool = False) -> Draft:
    """The plan of `up`.  ImageNotFoundError and SpecError before anything is touched."""
    if policy.terms is not None:
        from orchestrator.engine import leases

        leases.check(policy.terms)
    policy = replace(policy, separator=workspace.separator,
                     all_resources=workspace.choice.all_resources)  # fmt: skip
    contents = material.Contents(workspace.runnable, workspace.layout)
    project = with_ports(with_scale(workspace.runnable, policy), policy)
    project = machine.digested(contents.digested(project))
    selected = select(project, policy.services, with_dependencies=policy.with_dependencies)
    found = images.find(images.open_store(workspace.layout), selected, make_host=make_host,
                        pull=policy.pull)  # fmt: skip
    observed = workspace.observe()
    project = images.digested(selected_of(project, selected), found)
    plan = diff(project, observed, policy, image_ids=images.ids(found))
    # a network that is made again takes services along that nobody selected
    creating = {n.action.service for n in plan if isinstance(n.action, actions.CreateContainer)}
    moved = tuple(sorted(creating - set(selected.services)))
    if moved:
        others = select(project, moved, with_dependencies=False)
        found |= images.find(images.open_store(workspace.layout), others, make_host=make_host,
                             pull=policy.pull)  # fmt: skip
    return Draft(project=project, selected=selected, observed=observed, images=found, plan=plan,
                 policy=policy, contents=contents)  # fmt: skip


def with_ports(project: Project, policy: UpPolicy) -> Project:
    """The project with `--ports` applied."""
    if policy.ports == "fixed":
        return project

    def changed(service: Service) -> Service:
        auto = tuple(replace(port, or_another=True) for port in service.ports)
        return replace(service, ports=() if policy.ports == "none" else auto)

    services = {name: changed(service) for name, service in project.services.items()}
    disabled = {name: changed(service) for name, service in project.disabled.items()}
    return replace(project, services=services, disabled=disabled)


def with_scale(project: Project, policy: UpPolicy) -> Project:
    """The project with `--scale` applied; what is wrong with it is for `diff` to say."""
    scaled = {n: c for n, c in policy.scale.items() if n in project.services}
    services = {n: replace(s, scale=scaled.get(n, s.scale)) for n, s in project.services.items()}
    return replace(project, services=services) if scaled else project


def selected_of(project: Project, selected: Project) -> Project:
    """The whole project with the services that naming them has enabled."""
    services = {**project.services, **selected.services}
    networks = {**project.networks, **selected.networks}
    volumes = {**project.volumes, **selected.volumes}
    return replace(project, services=services, networks=networks, volumes=volumes)
