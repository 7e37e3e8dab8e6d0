"""A small pure model of what plans do: `World` carries out actions on records in memory.

It is strict: an action that the real world would refuse (a start beside an older generation that
still runs, the removal of a running container or of a network with somebody on it) fails the test.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from orchestrator.plan import actions
from orchestrator.plan.diff import diff
from orchestrator.plan.plan import Plan
from orchestrator.plan.policy import UpPolicy
from orchestrator.spec import hashing
from orchestrator.spec.model import (
    Dependency,
    Network,
    Port,
    Project,
    Service,
    ServiceNetwork,
    Volume,
    VolumeMount,
)
from orchestrator.state.observed import Observed, ObservedContainer, ObservedNetwork
from orchestrator.state.records import ContainerRecord, ContainerStatus, NetworkRecord
from tests.state.sample import container_record, network_record, volume_record


def service(
    name: str,
    *,
    needs: str = "",
    networks: str = "default",
    volumes: str = "",
    ports: str = "",
    **changes: Any,
) -> Service:
    """A service; `needs` is `db cache:healthy+restart job:completed?` (`?`: not required)."""
    return Service(
        name=name,
        image=changes.pop("image", "img"),
        depends_on={d.service: d for d in map(dependency, needs.split())},
        networks={n: ServiceNetwork(network=n) for n in networks.split()},
        volumes=tuple(
            VolumeMount(type="volume", source=v, target=f"/{v}") for v in volumes.split()
        ),
        ports=tuple(Port(target=80, published=p) for p in ports.split()),
        **changes,
    )


_CONDITIONS: dict[str, Any] = {
    "healthy": "service_healthy", "completed": "service_completed_successfully",
}  # fmt: skip


def dependency(text: str) -> Dependency:
    """`name[:healthy|:completed][+restart][?]`."""
    words, optional = text.removesuffix("?"), text.endswith("?")
    words, _, restart = words.partition("+")
    name, _, condition = words.partition(":")
    return Dependency(
        service=name, condition=_CONDITIONS.get(condition, "service_started"),
        restart=restart == "restart", required=not optional,
    )  # fmt: skip


def project(*services: Service, **changes: Any) -> Project:
    """Project p; networks and volumes that services name are declared."""
    networks = {n for s in services for n in s.networks}
    volumes = {m.source for s in services for m in s.volumes if m.source}
    declared: dict[str, Any] = {
        "networks": {n: Network(key=n, name=f"p_{n}") for n in sorted(networks)},
        "volumes": {v: Volume(key=v, name=f"p_{v}") for v in sorted(volumes)},
    }
    for kind, key in (("networks", "networks"), ("volumes", "volumes")):
        declared[kind] |= {r.key: r for r in changes.pop(key, ())}
    return Project(
        name="p", working_dir="/srv/p", files=("/srv/p/compose.yaml",),
        services={s.name: s for s in services}, **declared, **changes,
    )  # fmt: skip


class World:
    """Records in memory; `image` is the id of every image of today."""

    def __init__(self) -> None:
        self.containers: dict[str, ObservedContainer] = {}
        self.networks: dict[str, ObservedNetwork] = {}
        self.volumes: dict[str, Any] = {}
        self.broken: tuple[str, ...] = ()
        self.files: frozenset[str] = frozenset()
        self.image = "sha256:1"
        self.clock = self.subnets = 0
        self.decided: dict[str, NetworkRecord] = {}
        """What the command that runs knows of a network whose record was removed meanwhile."""

    def observed(self) -> Observed:
        """The snapshot that planning reads."""
        return Observed(
            project=None,
            name="p",
            containers=tuple(
                sorted(
                    self.containers.values(),
                    key=lambda c: (c.record.name, c.record.created_at, c.record.id),
                )
            ),
            networks=dict(self.networks), volumes=dict(self.volumes), broken=self.broken,
            files=self.files,
        )  # fmt: skip

    def plan(self, wish: Project, **policy: Any) -> Plan:
        """What `up` would do."""
        images = dict.fromkeys(wish.services, self.image)
        return diff(wish, self.observed(), UpPolicy(**policy), image_ids=images)

    def up(self, wish: Project, **policy: Any) -> Plan:
        """Plan and carry out."""
        plan = self.plan(wish, **policy)
        self.apply(plan, wish)
        return plan

    def begin(self, plan: Plan, wish: Project) -> None:
        """What is written before the first action: networks are decided on, with an empty hash."""
        for node in plan:
            action = node.action
            if isinstance(action, actions.CreateNetwork):
                there = self.networks.get(action.subject)
                record = self._decide_network(action, wish)
                exists = there is not None and there.exists
                self.networks[action.subject] = ObservedNetwork(record=record, exists=exists)

    def _decide_network(self, action: actions.CreateNetwork, wish: Project) -> NetworkRecord:
        tree = hashing.network_tree(wish.networks[action.key])
        there = self.networks.get(action.subject)
        if there is not None and there.record.config == tree:
            return replace(there.record, config_hash="")
        self.subnets += 1
        return network_record(
            action.subject, key=action.key, config=tree, internal=tree["internal"],
            subnet=f"10.0.{self.subnets}.0/24", gateway=f"10.0.{self.subnets}.1",
        )  # fmt: skip

    def apply(self, plan: Plan, wish: Project | None = None) -> None:
        """Carry out every action, in order."""
        if wish is not None:
            self.begin(plan, wish)
        for node in plan:
            self.act(node.action, wish)

    def act(self, action: actions.Action, wish: Project | None = None) -> None:
        """Carry out one action."""
        match action:
            case actions.CreateNetwork():
                assert wish is not None
                self._create_network(action, wish)
            case actions.RemoveNetwork(subject=name):
                users = [c for c in self.running() if name in c.record.networks.values()]
                assert not users, f"{name} is removed under {users[0].record.name}"
                there = self.networks.pop(name, None)
                if there is not None and not there.record.config_hash:
                    self.decided[name] = there.record
            case actions.CreateVolume(subject=name, key=key):
                assert name not in self.volumes
                self.volumes[name] = volume_record(name, key=key, config_hash=VOLUME_HASH)
            case actions.RemoveVolume(subject=name):
                del self.volumes[name]
            case actions.CreateContainer():
                assert wish is not None
                self._create(action, wish)
            case actions.StartContainer():
                self._start(action)
            case actions.StopContainer(container=id_) | actions.KillContainer(container=id_):
                self.set(id_, state="exited", exit_code=143)
            case actions.RemoveContainer(container=id_):
                self._remove(action, id_)
            case actions.RunHooks():
                self._run_hooks(action)
            case actions.WaitFor():
                assert action.subject != action.service
            case _:
                raise AssertionError(action)

    def _create_network(self, action: actions.CreateNetwork, wish: Project) -> None:
        assert not (action.subject in self.networks and self.networks[action.subject].exists)
        decided = self.networks.get(action.subject)
        record = self.decided[action.subject] if decided is None else decided.record
        tree = hashing.network_tree(wish.networks[action.key])
        assert record.config == tree
        record = replace(record, config_hash=hashing.config_hash(tree))
        self.networks[action.subject] = ObservedNetwork(record=record, exists=True)

    def _create(self, action: actions.CreateContainer, wish: Project) -> None:
        made = wish.services[action.service]
        tree = hashing.config_tree(made)
        self.clock += 1
        networks = {k: wish.networks[k].name for k in made.networks}
        volumes = {m.target: wish.volumes[m.source].name for m in made.volumes if m.source}
        assert all(n in self.networks for n in networks.values())
        assert all(v in self.volumes for v in volumes.values())
        if action.replaces is not None:
            assert action.replaces in self.containers
        self.put(
            container_record(
                action.service,
                action.index,
                id_=f"{action.service}{action.index}-{self.clock}",
                name=action.subject,
                created_at=float(self.clock),
                config=tree,
                config_hash=hashing.config_hash(tree),
                image_id=self.image,
                networks=networks,
                named_volumes=volumes,
                spec={"endpoints": self._endpoints(networks.values()), **_hooks(made)},
                depends_on={n: asdict(d) for n, d in made.depends_on.items()},
            )
        )

    def _endpoints(self, networks: Iterable[str]) -> list[dict[str, Any]]:
        records = [self.networks[name].record for name in networks]
        way_out = next((r.name for r in records if not r.internal), None)
        return [
            {
                "network": r.name,
                "address": r.subnet.replace(".0/24", ".7"),
                "prefix": 24,
                "gateway": r.gateway if r.name == way_out else None,
            }
            for r in records
        ]

    def put(self, record: ContainerRecord, **status: Any) -> None:
        """Add a container, as created unless `status` says otherwise."""
        self.containers[record.id] = ObservedContainer(
            record=record, status=ContainerStatus(**{"state": "created", **status})
        )

    def set(self, id_: str, **changes: Any) -> None:
        """Change the status of a container."""
        there = self.containers[id_]
        self.containers[id_] = replace(there, status=replace(there.status, **changes))

    def _start(self, action: actions.StartContainer) -> None:
        same = sorted(
            (c for c in self.containers.values()
             if (c.record.service, c.record.index) == (action.service, action.index)),
            key=lambda c: c.record.created_at,
        )  # fmt: skip
        chosen = same[-1].record
        assert action.container in (None, chosen.id), "an older generation is started"
        assert not any(c.is_running for c in same[:-1]), "two generations run"
        assert all(self.networks[n].exists for n in chosen.networks.values())
        self.set(chosen.id, state="running", exit_code=None)

    def _run_hooks(self, action: actions.RunHooks) -> None:
        there = self.containers[action.container or self.id_of(action.subject)]
        assert there.record.spec[action.phase]
        if action.phase == "pre_start":
            up = [c for c in self.running() if c.record.service == action.service]
            assert not up, f"{up[0].record.name} runs before the hooks"
        else:
            assert there.is_running, f"{action} in a container that does not run"

    def _remove(self, action: actions.RemoveContainer, id_: str) -> None:
        if id_ in self.broken:
            assert action.force
            self.broken = tuple(b for b in self.broken if b != id_)
            return
        assert not self.containers[id_].is_running, f"{id_} is removed while it runs"
        del self.containers[id_]

    def running(self) -> list[ObservedContainer]:
        """The containers that run."""
        return [c for c in self.containers.values() if c.is_running]

    def names(self) -> list[str]:
        """Names of the containers that run."""
        return sorted(c.record.name for c in self.running())

    def id_of(self, name: str) -> str:
        """Id of the newest container of that name."""
        found = [c.record for c in self.containers.values() if c.record.name == name]
        return max(found, key=lambda r: r.created_at).id

    def reboot(self) -> None:
        """Nothing runs any more, no interface is left."""
        for id_ in [c.record.id for c in self.running()]:
            self.set(id_, state="exited", exit_code=None)
        self.networks = {n: replace(there, exists=False) for n, there in self.networks.items()}


def _hooks(made: Service) -> dict[str, Any]:
    hooks = {phase: getattr(made, phase) for phase in ("pre_start", "post_start", "pre_stop")}
    return {
        phase: [{"argv": hook.command, "image_id": ""} for hook in found]
        for phase, found in hooks.items()
    }


VOLUME_HASH = hashing.config_hash(hashing.volume_tree(Volume(key="", name="")))


def world(wish: Project, **policy: Any) -> World:
    """A world in which `wish` is up."""
    made = World()
    made.up(wish, **policy)
    return made


def text(plan: Plan) -> str:
    """The plan's text with shortened ids, beginning with a line break for neat literals."""
    return "\n" + str(plan) + "\n" if plan else "\n"


def kinds(plan: Plan, wanted: Iterable[type[actions.Action]] = ()) -> list[str]:
    """`StopContainer p-web-1` of each node, of the wanted kinds only if any are given."""
    chosen = tuple(wanted) or (actions.Action,)
    return [
        f"{type(n.action).__name__} {n.action.subject}" for n in plan
        if isinstance(n.action, chosen)
    ]  # fmt: skip
