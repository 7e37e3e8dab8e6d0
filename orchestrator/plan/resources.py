"""Which networks and volumes the selected services need, and what has to be done about them.

Decisions only; `diff` turns them into actions.  A network whose configuration changed is made
again, and with it every container on it: a container carries its addresses in its record, which is
never rewritten.  A volume is never touched once it exists, unless the user has said so before
(`teardown.drop_volumes`): data is worth more than its options.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from orchestrator.dataclass import dataclass, field
from orchestrator.errors import PlanError
from orchestrator.names import resource_name
from orchestrator.plan.explain import explain_trees
from orchestrator.spec import hashing
from orchestrator.spec.model import Network, Project, Volume
from orchestrator.state.observed import Observed, ObservedNetwork

UNFINISHED = "left unfinished by an interrupted up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A network or volume that has to be made."""

    key: str
    name: str
    cause: str


@dataclass(slots=True, kw_only=True)
class Resources:
    """What is to be done before containers are made."""

    create_networks: list[Wanted] = field(default_factory=list)
    renew_networks: list[Wanted] = field(default_factory=list)
    """Diverged: remove, then create."""
    stale: dict[str, str] = field(default_factory=dict)
    """Name of a network -> why containers that were made for it have to be made again."""
    create_volumes: list[Wanted] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def needed(
    project: Project, observed: Observed, services: Iterable[str], *, keep: bool,
    everything: bool = False,
) -> Resources:  # fmt: skip
    """The networks and volumes of `services`, with `everything` all that are declared.  `keep`
    (--no-recreate): what exists stays as it is.  PlanError naming every external one that does not
    exist."""
    chosen = [project.services[name] for name in services]
    found = Resources()
    networks = {key for service in chosen for key in service.networks}
    volumes = {
        mount.source for service in chosen for mount in service.volumes
        if mount.type == "volume" and mount.source is not None
    }  # fmt: skip
    if everything:
        networks |= set(project.networks)
        volumes |= set(project.volumes)
    missing = [
        *_networks(project, observed, networks, found, keep=keep),
        *_volumes(project, observed, volumes, found),
    ]
    if missing:
        raise PlanError(
            "\n".join(missing),
            hint="make it first, or remove `external: true` so that this project makes it",
        )
    return found


def changed_volumes(project: Project, observed: Observed) -> list[str]:
    """Names of the project's volumes whose configuration is another than they were made with."""
    declared = (v for v in project.volumes.values() if not v.external)
    return [v.name for v in declared if _is_changed(v, observed, project)]


def _is_changed(volume: Volume, observed: Observed, project: Project) -> bool:
    there = observed.volumes.get(volume.name)
    if there is None or there.project != project.name:
        return False
    return there.config_hash != hashing.config_hash(hashing.volume_tree(volume))


def network_of(project: Project, key: str) -> Network:
    """The top-level network; `default` need not be declared."""
    declared = project.networks.get(key)
    return declared or Network(key=key, name=resource_name(project.name, key))


def volume_of(project: Project, key: str) -> Volume:
    """The top-level volume."""
    return project.volumes.get(key) or Volume(key=key, name=resource_name(project.name, key))


def _networks(
    project: Project, observed: Observed, keys: Iterable[str], found: Resources, *, keep: bool
) -> Iterator[str]:
    for key in sorted(keys):
        network = network_of(project, key)
        there = observed.networks.get(network.name)
        if there is None and network.external:
            yield _absent("network", network.name, project.where("networks", key))
        elif there is None:
            _missing_network(network, observed, found, keep=keep)
        elif not there.exists:
            cause = "its interface is gone"
            found.create_networks.append(Wanted(key=key, name=network.name, cause=cause))
        elif not network.external:
            _existing_network(project, network, there, found, keep=keep)


def _missing_network(network: Network, observed: Observed, found: Resources, *, keep: bool) -> None:
    wanted = Wanted(key=network.key, name=network.name, cause="missing")
    found.create_networks.append(wanted)
    used = any(network.name in c.record.networks.values() for c in observed.containers)
    if used and not keep:
        found.stale[network.name] = f"network {network.name} was lost"


def _existing_network(
    project: Project, network: Network, there: ObservedNetwork, found: Resources, *, keep: bool
) -> None:
    name, record = network.name, there.record
    if record.project != project.name:
        found.warnings.append(_foreign("network", name, record.project))
        return
    changes = _network_changes(project, network, there)
    if not changes:
        return
    leases = (*record.leases, *record.leases6)
    others = {key.partition("/")[0] for key in leases if "/" in key} - {project.name}
    if others or keep:
        why = f"project {', '.join(sorted(others))} uses it too" if others else "--no-recreate"
        found.warnings.append(f"network {name} stays as it is ({why}): {', '.join(changes)}")
        return
    cause = ", ".join(changes)
    found.renew_networks.append(Wanted(key=network.key, name=name, cause=cause))
    found.stale[name] = f"network {name}: {cause}"


def _network_changes(project: Project, network: Network, there: ObservedNetwork) -> list[str]:
    tree = hashing.network_tree(network)
    if hashing.config_hash(tree) == there.record.config_hash:
        return []
    if not there.record.config_hash:
        return [UNFINISHED]

    def where(*path: str | int) -> str:
        return project.where("networks", network.key, *path)

    return explain_trees(there.record.config, tree, where=where)


def _volumes(
    project: Project, observed: Observed, keys: Iterable[str], found: Resources
) -> Iterator[str]:
    for key in sorted(keys):
        volume = volume_of(project, key)
        there = observed.volumes.get(volume.name)
        if there is None and volume.external:
            yield _absent("volume", volume.name, project.where("volumes", key))
        elif there is None:
            found.create_volumes.append(Wanted(key=key, name=volume.name, cause="missing"))
        elif volume.external:
            continue
        elif there.project != project.name:
            found.warnings.append(_foreign("volume", volume.name, there.project))
        elif _is_changed(volume, observed, project):
            found.warnings.append(
                f"volume {volume.name} stays as it is, though its configuration changed"
                f"{_at(project.where('volumes', key))}; remove it to have it made again"
            )


def _absent(kind: str, name: str, where: str) -> str:
    return f"external {kind} {name} does not exist{_at(where)}"


def _foreign(kind: str, name: str, owner: str) -> str:
    return (
        f"{kind} {name} was made by project {owner} and is used as it is; "
        "say `external: true` if that is meant"
    )


def _at(where: str) -> str:
    return f" ({where})" if where else ""
