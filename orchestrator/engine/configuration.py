"""What `config` prints: the resolved files, hashes, names, variables.  Asks no container."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from orchestrator.dataclass import dataclass, replace
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import UsageError
from orchestrator.spec import dump, hashing
from orchestrator.spec.load import load
from orchestrator.spec.printed import Shown
from orchestrator.spec.select import select

if TYPE_CHECKING:
    from orchestrator.spec.inputs import Phase
    from orchestrator.spec.model import Project
    from orchestrator.spec.variables import Variable


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How `config` looks at the files."""

    services: tuple[str, ...] = ()
    """With what they depend on; none named: all that are enabled."""
    skip: frozenset[Phase] = frozenset()
    """Phases of the load that are left out."""
    all_resources: bool = False
    """Also networks, volumes, secrets and configs that nobody uses."""
    pinned: bool = False
    """Images with the digest of what the store has by their name."""


class Configuration:
    """The files of one project, looked at in one way.  SpecError with file:line:col."""

    def __init__(self, workspace: Workspace, view: View) -> None:
        self._workspace = workspace
        self._view = view
        self.warnings: list[str] = []
        """What is doubtful, once something was asked for."""

    @cached_property
    def _loaded(self) -> Project:
        return self._load(self._view.skip)

    def _load(self, skip: frozenset[Phase]) -> Project:
        workspace = self._workspace
        project = load(replace(workspace.load_options, skip=skip)) if skip else workspace.project
        self.warnings += project.warnings
        if "interpolation" in skip and self._view.services:
            self.warnings.append("names of services are ignored with --no-interpolate")
        return project

    def _chosen(self, *, unique: bool = False) -> Project:
        """What is shown; without interpolation it is the tree alone, and nothing is chosen."""
        project = self._loaded
        if "interpolation" not in self._view.skip:
            fits = "consistency" not in self._view.skip
            project = select(project, self._view.services,
                             with_dependencies=fits or bool(self._view.services),
                             unique=unique)  # fmt: skip
        if self._view.pinned:
            from orchestrator.engine import pinning

            project = pinning.pinned(self._workspace, project)
        return project

    def text(self, format: str) -> str:
        """Everything as `yaml` or `json`, ending in a newline."""
        check_format(format)
        view = self._view
        shown = Shown(
            as_json=format == "json", all_resources=view.all_resources,
            is_normal="normalization" not in view.skip, is_raw="interpolation" in view.skip,
        )  # fmt: skip
        return dump.text(self._chosen(unique=True), shown)

    def lock(self, format: str) -> str:
        """An override file that pins the images and nothing else."""
        from orchestrator.engine import pinning

        check_format(format)
        return dump.data_text(pinning.lock(self._chosen(unique=True)), as_json=format == "json")

    def services(self) -> list[str]:
        """Names, dependencies first."""
        from orchestrator.plan import graph

        services = self._chosen().services
        return graph.order({
            name: [d for d in service.depends_on if d in services]
            for name, service in services.items()
        })  # fmt: skip

    @property
    def _shown(self) -> Project:
        """Where resources are looked for."""
        chosen = self._chosen()
        return self._loaded if self._view.all_resources else chosen

    def volumes(self) -> list[str]:
        """Keys of the volumes that are used, or of all."""
        return sorted(self._shown.volumes)

    def networks(self) -> list[str]:
        """Keys of the networks that are used, or of all."""
        return sorted(self._shown.networks)

    def models(self) -> list[str]:
        """The models that are used, as their runner knows them."""
        return sorted(model.model for model in self._shown.models.values() if model.model)

    def images(self) -> list[str]:
        """One for each service."""
        project = self._chosen()
        return sorted(s.image or f"{project.name}-{s.name}" for s in project.services.values())

    def profiles(self) -> list[str]:
        """All that are mentioned, by services that are not chosen too."""
        self._chosen()  # it has to fit together
        every = (*self._loaded.services.values(), *self._loaded.disabled.values())
        return sorted({profile for service in every for profile in service.profiles})

    def hashes(self, names: Sequence[str] | None) -> dict[str, str]:
        """service -> hash of its configuration, the one that decides on recreation; of all that
        are enabled where none is named."""
        from orchestrator.engine import material

        project = material.Contents(self._loaded, self._workspace.layout).digested(self._loaded)
        known = {**project.services, **(project.disabled if names else {})}
        for name in names or ():
            if name not in known:
                raise UsageError(f"no such service: {name}")
        return {name: hashing.config_hash(hashing.config_tree(known[name]))
                for name in names or sorted(known)}  # fmt: skip

    def environment(self) -> dict[str, str]:
        """What templates see."""
        from orchestrator.spec import inputs

        found = inputs.gather(self._workspace.load_options).environment
        return dict(sorted({**found, "COMPOSE_PROJECT_NAME": self._loaded.name}.items()))

    def explanation(self, path: str, format: str) -> str:
        """Why the value at a dotted path is what it is, as text or `json`.  UsageError where the
        files say nothing there."""
        import json

        from orchestrator.dataclass import asdict
        from orchestrator.spec import explained
        from orchestrator.spec.provenance import Trace
        from orchestrator.spec.report import Report

        trace = Trace()
        options = replace(self._workspace.load_options, trace=trace, skip=self._view.skip)
        project = load(options)
        assert project.tree is not None
        sources = explained.Sources(trace=trace, environ=options.environ,
                                    shown=Report(project.reading_dir).shown)  # fmt: skip
        found = explained.explain(project.tree, path, sources,
                                  printed=json.loads(self.text("json")))  # fmt: skip
        if format == "json":
            return dump.data_text(asdict(found), as_json=True)
        return explained.text(found)

    def variables(self) -> dict[str, Variable]:
        """The variables that templates in the files use, by name."""
        from orchestrator.spec.report import Report
        from orchestrator.spec.variables import variables

        skip: frozenset[Phase] = self._view.skip | {"interpolation"}
        project = self._load(skip)
        report = Report(project.reading_dir)
        found = variables(project.tree, report) if project.tree else {}
        report.check()
        return found

    def variables_text(self, format: str) -> str:
        """The same in the words of docker compose, which has other keys in YAML than in JSON."""
        check_format(format)
        keys = ["Name", "DefaultValue", "PresenceValue", "Required"]
        if format == "yaml":
            keys = [key.lower() for key in keys]
        data = {
            name: dict(zip(keys, (v.name, v.default, v.alternate, v.required), strict=True))
            for name, v in self.variables().items()
        }
        return dump.data_text(data, as_json=format == "json")


def check_format(format: str) -> None:
    """UsageError unless it is one that is written here."""
    if format not in ("yaml", "json"):
        raise UsageError(f'unsupported format "{format}"', hint="yaml or json")
