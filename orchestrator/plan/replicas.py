"""The containers of one service: which stay, which are made again and why, which go, which come.

Decisions only; `diff` turns them into actions.  Only the newest generation of a replica is the
replica: older ones are what an interrupted `up` left over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.dataclass import dataclass, field
from orchestrator.names import container_name
from orchestrator.plan import endpoints
from orchestrator.plan.explain import explain, shorten
from orchestrator.plan.policy import Recreate
from orchestrator.plan.resources import network_of, volume_of
from orchestrator.spec import hashing
from orchestrator.spec.model import Project, Service
from orchestrator.state.observed import Observed, ObservedContainer
from orchestrator.state.records import ContainerRecord

LEFT_OVER = "left over by an interrupted up"


def hook_key(service: str, number: int) -> str:
    """Under which the image of a pre_start hook is known; no service is called so."""
    return f"{service}/pre_start/{number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """The newest container of an index and the older ones beside it."""

    newest: ObservedContainer
    older: tuple[ObservedContainer, ...] = ()

    @property
    def index(self) -> int:
        return self.newest.record.index

    @property
    def generations(self) -> tuple[ObservedContainer, ...]:
        """Oldest first."""
        return (*self.older, self.newest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """A replica that is made again."""

    replica: Replica
    cause: str
    image_changed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What happens to the containers of one service."""

    service: str
    scale: int
    keep: tuple[Replica, ...] = ()
    replace: tuple[Replacement, ...] = ()
    remove: tuple[Replica, ...] = ()
    create: tuple[int, ...] = ()
    """Indexes of new replicas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is wanted of one service."""

    service: Service
    scale: int | None
    """None: as many as there are."""
    recreate: Recreate
    image_id: str | None
    """Of the image that the service names now; None: not known, so not compared."""
    forced_by: str = "forced"
    hook_images: Mapping[int, str] = field(default_factory=dict)
    """Number of a pre_start hook that names an image -> id of that image now."""


def replicas(containers: Iterable[ObservedContainer]) -> tuple[Replica, ...]:
    """Containers of one service, by index then oldest first, as replicas by index."""
    found: dict[int, list[ObservedContainer]] = {}
    for container in containers:
        found.setdefault(container.record.index, []).append(container)
    return tuple(Replica(newest=g[-1], older=tuple(g[:-1])) for g in found.values())


def decide(
    project: Project, observed: Observed, wish: Wish, *, stale: Mapping[str, str]
) -> Decision:
    """`stale`: networks whose containers have to be made again, with the reason."""
    there = replicas(observed.of_service(wish.service.name))
    compare = _Comparison(project, observed, wish, stale)
    causes = {r.index: compare.causes(r.newest) for r in there}
    # up-to-date ones first: a fresh replica is never dropped in favour of an outdated one
    ranked = sorted(there, key=lambda r: (bool(causes[r.index]), r.index))
    scale = len(there) if wish.scale is None else wish.scale
    kept = sorted(ranked[:scale], key=lambda r: r.index)
    last = max((r.index for r in there), default=0)
    return Decision(
        service=wish.service.name,
        scale=scale,
        keep=tuple(r for r in kept if not causes[r.index]),
        replace=tuple(
            Replacement(
                replica=r, cause=", ".join(causes[r.index]),
                image_changed=compare.is_of_another_image(r.newest),
            )
            for r in kept
            if causes[r.index]
        ),
        remove=tuple(sorted(ranked[scale:], key=lambda r: r.index)),
        create=tuple(range(last + 1, last + 1 + scale - len(kept))),
    )


def name_of(project: Project, service: Service, index: int, *, separator: str = "-") -> str:
    """The name of a replica."""
    return service.container_name or container_name(project.name, service.name, index,
                                                    separator=separator)  # fmt: skip


class _Comparison:
    """One service's wish, worked out once for all its containers."""

    def __init__(
        self, project: Project, observed: Observed, wish: Wish, stale: Mapping[str, str]
    ) -> None:
        self.project, self.observed, self.wish, self.stale = project, observed, wish, stale
        self._tree: dict[str, Any] | None = None
        self._hash = ""

    def causes(self, container: ObservedContainer) -> list[str]:
        """Why the container has to be made again; empty: it need not."""
        record = container.record
        if self.wish.recreate == "never":
            return []
        if self.wish.recreate == "force":
            return [self.wish.forced_by]
        lost = [self.stale[n] for n in record.networks.values() if n in self.stale]
        lost = lost or endpoints.misfits(record, self.observed.networks)
        return [*self._config(record), *self._image(record), *self._names(record), *lost]

    def _config(self, record: ContainerRecord) -> list[str]:
        if self._tree is None:
            self._tree = hashing.config_tree(self.wish.service)
            self._hash = hashing.config_hash(self._tree)
        if record.config_hash == self._hash:
            return []
        # a hash of another version may differ though nothing does: then nothing is said here
        return explain(record.config, self._tree, self.project, self.wish.service.name)

    def _image(self, record: ContainerRecord) -> list[str]:
        found, wanted = [], self.wish.image_id
        if wanted is not None and wanted != record.image_id:
            found.append(f"image digest {_digest(record.image_id)} -> {_digest(wanted)}")
        hooks = record.spec.get("pre_start") or ()
        for number, wanted in self.wish.hook_images.items():
            there = str(hooks[number]["image_id"]) if number < len(hooks) else wanted
            if there != wanted:
                found.append(f"image digest of pre_start.{number} {_digest(there)} -> "
                             f"{_digest(wanted)}")  # fmt: skip
        return found

    def is_of_another_image(self, container: ObservedContainer) -> bool:
        """Whether its image is not the one that the service has now."""
        return bool(self._image(container.record))

    def _names(self, record: ContainerRecord) -> list[str]:
        """Networks and volumes that are called otherwise now, under the same keys."""
        service = self.wish.service
        networks = {key: network_of(self.project, key).name for key in service.networks}
        volumes = {
            mount.target: volume_of(self.project, mount.source).name
            for mount in service.volumes
            if mount.type == "volume" and mount.source is not None
        }
        return [
            *_renamed("network", record.networks, networks),
            *_renamed("volume at", record.named_volumes, volumes),
        ]


def _renamed(kind: str, old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    return [
        f'{kind} {key} "{old[key]}" -> "{name}"'
        for key, name in new.items()
        if key in old and old[key] != name
    ]


def _digest(image_id: str) -> str:
    return shorten(image_id[:19] + "…") if len(image_id) > 19 else image_id or "none"
