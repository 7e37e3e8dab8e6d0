"""A plan in the words of the control protocol: actions become jobs, services become records.

All decisions are taken here and in `resolve`: what the supervisor gets is complete.  Makes ids and
names; reads and writes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from orchestrator import __version__, names
from orchestrator.dataclass import dataclass, field, replace
from orchestrator.engine import images, lending, material
from orchestrator.engine.allocate import Allocation, Wanted
from orchestrator.engine.isolation import NO_ASSETS, Assets
from orchestrator.engine.mounting import driver_opts, mounting
from orchestrator.engine.resolve import Identity, resolve
from orchestrator.image.store import Image
from orchestrator.plan import actions, resources
from orchestrator.plan.plan import Node, Plan
from orchestrator.runtime.spec import ContainerSpec
from orchestrator.spec import hashing
from orchestrator.spec.model import Network, Project, Service, Volume
from orchestrator.state.layout import Layout
from orchestrator.state.observed import Observed, ObservedContainer
from orchestrator.state.records import ContainerRecord, VolumeRecord
from orchestrator.supervisor import protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What every translation needs."""

    project: Project
    observed: Observed
    images: Mapping[str, Image]
    layout: Layout
    one_off: Service | None = None
    assets: Mapping[str, Assets] = field(default_factory=dict)
    """What was read of this machine for a service."""
    foreign: lending.Foreign = field(default_factory=dict)
    """Containers of other projects that `volumes_from` names."""


@dataclass(slots=True, kw_only=True)
class Jobs:
    """The jobs, and the containers they make, by name."""

    jobs: list[protocol.Job] = field(default_factory=list)
    created: dict[str, ContainerRecord] = field(default_factory=dict)
    specs: dict[str, ContainerSpec] = field(default_factory=dict)
    """By container id."""


def lease_of(project: str, service: str, index: int) -> str:
    """The key of a replica's addresses, sticky across generations."""
    return f"{project}/{service}/{index}"


def wanted(plan: Plan, project: Project) -> list[Wanted]:
    """The containers of the plan that need addresses."""
    return [
        Wanted(service=project.services[a.service],
               lease=lease_of(project.name, a.service, a.index))
        for a in (node.action for node in plan)
        if isinstance(a, actions.CreateContainer)
    ]


def network_labels(project: Project, network: Network) -> dict[str, str]:
    """Labels of a network that we make."""
    config_hash = hashing.config_hash(hashing.network_tree(network))
    return {**network.labels, names.LABEL_PROJECT: project.name, names.LABEL_NETWORK: network.key,
            names.LABEL_VERSION: __version__, names.LABEL_CONFIG_HASH: config_hash}  # fmt: skip


def translate(plan: Plan, context: Context, allocation: Allocation) -> Jobs:
    """The whole plan as jobs with the same numbers."""
    result = Jobs()
    creating = [n.action for n in plan if isinstance(n.action, actions.CreateContainer)]
    for action in lending.in_order(creating, context.project):
        _make(result, action, context, allocation)
    for node in plan:
        result.jobs.append(_job(node, result, context, allocation))
    return result


def _make(result: Jobs, action: actions.CreateContainer, context: Context,
          allocation: Allocation) -> None:  # fmt: skip
    service = context.project.services[action.service]
    identity = Identity(id=names.new_id(), name=action.subject, index=action.index)
    replaced = next(
        (c.record for c in context.observed.containers if c.record.id == action.replaces), None
    )
    inherited = replaced.anonymous_volumes if replaced and action.inherit_volumes else {}
    lease = lease_of(context.project.name, action.service, action.index)
    record, spec = container(
        service, identity, context=context, allocation=allocation, lease=lease,
        inherited=inherited, created=result.created.values(),
    )  # fmt: skip
    result.created[action.subject] = record
    result.specs[record.id] = spec


def container(
    service: Service, identity: Identity, *, context: Context, allocation: Allocation, lease: str,
    inherited: Mapping[str, str], created: Iterable[ContainerRecord] = (),
    use_aliases: bool = True,
) -> tuple[ContainerRecord, ContainerSpec]:  # fmt: skip
    """The record and the spec of one new container; `created` are those that are made with it."""
    project, image = context.project, context.images[service.name]
    mounts = mounting(
        service, project=project, layout=context.layout, image_volumes=image.config.volumes,
        inherited=inherited, new_name=names.new_id,
        image_layers=images.of_mounts(service, context.images),
        lent=lending.lent(service, project=project, created=created, observed=context.observed,
                          foreign=context.foreign),
    )  # fmt: skip
    tree = hashing.config_tree(service)
    config_hash = hashing.config_hash(tree)
    labels = _labels(service, identity, project=project, image=image, config_hash=config_hash)
    spec = resolve(
        service, project=project, identity=identity, image=images.facts(image), mounting=mounts,
        hook_images=images.of_hooks(service, context.images),
        attachments=allocation.attachments.get(lease, ()), layout=context.layout, labels=labels,
        use_aliases=use_aliases,
        files=material.files(service, project=project, layout=context.layout),
        assets=context.assets.get(service.name, NO_ASSETS),
    )  # fmt: skip
    record = ContainerRecord(
        id=identity.id, name=identity.name, project=project.name, service=service.name,
        index=identity.index, oneoff=identity.oneoff, created_at=time.time(),
        config_hash=config_hash, config=tree, image=service.image, image_id=image.id,
        labels=labels, depends_on=_dependencies(service),
        anonymous_volumes=dict(mounts.anonymous), named_volumes=dict(mounts.named),
        volume_labels={m.target: dict(m.labels) for m in service.volumes if m.labels},
        networks={e.key: e.network for e in spec.endpoints}, spec=spec.to_json(),
    )  # fmt: skip
    return record, spec


def _dependencies(service: Service) -> dict[str, dict[str, object]]:
    return {
        d.service: {"condition": d.condition, "restart": d.restart, "required": d.required}
        for d in service.depends_on.values()
    }


def _labels(service: Service, identity: Identity, *, project: Project, image: Image,
            config_hash: str) -> dict[str, str]:  # fmt: skip
    depends_on = ",".join(
        f"{d.service}:{d.condition}:{str(d.restart).lower()}" for d in service.depends_on.values()
    )
    labels = {
        **image.config.labels,
        **service.labels,
        names.LABEL_PROJECT: project.name,
        names.LABEL_SERVICE: service.name,
        names.LABEL_VERSION: __version__,
        names.LABEL_WORKING_DIR: project.working_dir,
        names.LABEL_CONFIG_FILES: ",".join(project.files),
        names.LABEL_ONEOFF: str(identity.oneoff),
        names.LABEL_CONFIG_HASH: config_hash,
        names.LABEL_DEPENDS_ON: depends_on,
        names.LABEL_IMAGE: image.id,
    }
    if project.env_files:
        labels[names.LABEL_ENVIRONMENT_FILE] = ",".join(project.env_files)
    if identity.oneoff:
        labels[names.LABEL_SLUG] = identity.id
    else:
        labels[names.LABEL_NUMBER] = str(identity.index)
    return labels


def _job(node: Node, jobs: Jobs, context: Context, allocation: Allocation) -> protocol.Job:
    number, after, action = node.number, node.after, node.action
    match action:
        case actions.CreateNetwork():
            network = allocation.networks[action.subject].to_json()
            return protocol.CreateNetwork(number=number, after=after, record=network)
        case actions.CreateVolume():
            declared = resources.volume_of(context.project, action.key)
            volume = volume_record(context.project, declared).to_json()
            return protocol.CreateVolume(number=number, after=after, record=volume)
        case actions.CreateContainer():
            record = jobs.created[action.subject].to_json()
            return protocol.CreateContainer(number=number, after=after, record=record)
        case actions.StartContainer():
            id_ = action.container or jobs.created[action.subject].id
            return protocol.StartContainer(number=number, after=after, container=id_)
        case actions.RunHooks():
            id_ = action.container or jobs.created[action.subject].id
            return protocol.RunHooks(number=number, after=after, container=id_, phase=action.phase)
        case actions.WaitFor():
            path = ("services", action.subject, "depends_on", action.service)
            return replace(_wait(number, after, action, jobs, context.observed),
                           origin=context.project.where(*path))  # fmt: skip
        case _:
            return teardown_job(node)


def teardown_job(node: Node, observed: Observed | None = None) -> protocol.Job:
    """Jobs that need no file and no image."""
    number, after, action = node.number, node.after, node.action
    match action:
        case actions.RemoveNetwork():
            return protocol.RemoveNetwork(number=number, after=after, name=action.subject)
        case actions.RemoveVolume():
            return protocol.RemoveVolume(number=number, after=after, name=action.subject)
        case actions.StartContainer() if action.container is not None:
            return protocol.StartContainer(number=number, after=after, container=action.container)
        case actions.StopContainer():
            return protocol.StopContainer(number=number, after=after, container=action.container,
                                          timeout=action.timeout)  # fmt: skip
        case actions.KillContainer():
            return protocol.KillContainer(number=number, after=after, container=action.container,
                                          signal=action.signal)  # fmt: skip
        case actions.RemoveContainer():
            return protocol.RemoveContainer(
                number=number, after=after, container=action.container, volumes=action.volumes,
                force=action.force,
            )  # fmt: skip
        case actions.RunHooks() if action.container is not None:
            return protocol.RunHooks(number=number, after=after, container=action.container,
                                     phase=action.phase)  # fmt: skip
        case actions.WaitFor() if observed is not None:
            return _wait(number, after, action, Jobs(), observed)
        case _:
            raise AssertionError(f"no job for {action}")


def _wait(number: int, after: tuple[int, ...], action: actions.WaitFor, jobs: Jobs,
          observed: Observed) -> protocol.WaitFor:  # fmt: skip
    found = final_containers(action.service, jobs, observed)
    return protocol.WaitFor(
        number=number, after=after, containers=tuple(found), condition=action.condition,
        service=action.service, dependent=action.subject, required=action.required,
    )


def final_containers(service: str, jobs: Jobs, observed: Observed) -> list[str]:
    """Ids of the replicas of `service` once the plan is done: the new ones, and those it keeps."""
    made = [r.id for r in jobs.created.values() if r.service == service and not r.oneoff]
    renewed = {r.name for r in jobs.created.values()}
    newest: dict[str, ObservedContainer] = {c.record.name: c for c in observed.of_service(service)}
    return [c.record.id for name, c in newest.items() if name not in renewed] + made


def volume_record(project: Project, volume: Volume) -> VolumeRecord:
    """The record of a declared volume."""
    config_hash = hashing.config_hash(hashing.volume_tree(volume))
    labels = {**volume.labels, names.LABEL_PROJECT: project.name, names.LABEL_VOLUME: volume.key,
              names.LABEL_VERSION: __version__, names.LABEL_CONFIG_HASH: config_hash}  # fmt: skip
    return VolumeRecord(
        name=volume.name, key=volume.key, project=project.name, anonymous=False,
        created_at=time.time(), config_hash=config_hash, labels=labels,
        options=driver_opts(volume, project),
    )  # fmt: skip
