"""Which services a command works on: profiles, names on the command line, dependencies.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.dataclass import replace
from orchestrator.errors import SpecError
from orchestrator.spec.model import Project, Service
from orchestrator.spec.report import Problem
from orchestrator.spec.suggestion import nearest_name


def by_profile(
    services: Mapping[str, Service], active: Iterable[str]
) -> tuple[dict[str, Service], dict[str, Service]]:
    """(enabled, disabled); a service without profiles is always enabled, `*` enables all, and one
    whose profile has the empty name is enabled where no profile is."""
    profiles = set(active) or {""}
    enabled = {
        name: service for name, service in services.items()
        if not service.profiles or "*" in profiles or profiles.intersection(service.profiles)
    }  # fmt: skip
    return enabled, {name: s for name, s in services.items() if name not in enabled}


def select(
    project: Project, services: Iterable[str], *, with_dependencies: bool, complete: bool = True,
    unique: bool = True,
) -> Project:  # fmt: skip
    """The project reduced to the named services (none named: all enabled ones).

    A named service enables its profiles.  With dependencies, everything they need comes along,
    optional ones where they are enabled; without, it does not matter whether they could.  Networks,
    volumes, secrets, configs and models nobody uses are left out.  Raises SpecError for a service
    that does not exist or needs one that is not enabled, and for one whose env or label file is
    wrong or whose container's name is taken, unless `complete` or `unique` is False: who only lists
    names needs neither.
    """
    wanted = list(services)
    if not wanted:
        if complete:
            _complete(project, project.services, unique=unique)
        if with_dependencies:
            _closure(project, list(project.services))
        return _trimmed(project)
    project = _with_profiles_of(project, wanted)
    names = _matching(project, wanted)
    for name in names:
        _demand(project, name)
    if with_dependencies:
        names = _closure(project, names)
    if complete:
        _complete(project, names, unique=unique)
    chosen = {name: s for name, s in project.services.items() if name in names}
    rest = {name: s for name, s in project.services.items() if name not in names}
    return _trimmed(replace(project, services=chosen, disabled={**project.disabled, **rest}))


def _with_profiles_of(project: Project, wanted: list[str]) -> Project:
    added = [
        profile for name in wanted if name in project.disabled
        for profile in project.disabled[name].profiles
    ]  # fmt: skip
    if not added:
        return project
    active = tuple(dict.fromkeys((*project.profiles, *added)))
    every = {**project.services, **project.disabled}
    enabled, disabled = by_profile({name: every[name] for name in sorted(every)}, active)
    return replace(project, services=enabled, disabled=disabled, profiles=active)


def _matching(project: Project, wanted: list[str]) -> list[str]:
    names: list[str] = []
    for pattern in wanted:
        if not any(c in pattern for c in "*?["):
            names.append(pattern)
            continue
        from fnmatch import fnmatchcase  # only for patterns

        found = [name for name in project.services if fnmatchcase(name, pattern)]
        names += found or [pattern]
    return names


def _demand(project: Project, name: str) -> None:
    """SpecError unless the service exists and is enabled."""
    if name not in project.services:
        near = nearest_name(name, {**project.services, **project.disabled})
        hint = f"did you mean `{near}`?" if near else None
        raise SpecError(f"no such service: {name}", hint=hint)


def _complete(project: Project, names: Iterable[str], *, unique: bool) -> None:
    """SpecError with what is wrong with the files and, where they have to be unique, the names of
    these services."""
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    for name in sorted(names):
        problems += project.incomplete.get(name, ())
        fixed = project.services[name].container_name
        if fixed is None or not unique:
            continue
        if fixed in seen:
            text = f"{fixed} is already the name of service {seen[fixed]}"
            where = project.where("services", name, "container_name", column=True)
            problems.append((where, f"services.{name}.container_name: {text}", None))
        seen[fixed] = name
    if problems:
        raise SpecError("", problems=tuple(dict.fromkeys(problems)))


def _closure(project: Project, names: list[str]) -> list[str]:
    found = dict.fromkeys(names)
    waiting = list(found)
    problems: list[Problem] = []
    for name in waiting:  # grows while it is walked
        for other, dependency in project.services[name].depends_on.items():
            if other in project.disabled and dependency.required:
                problems.append(_out_of_reach(project, name, other))
            elif (other in project.services or dependency.required) and other not in found:
                _demand(project, other)
                found[other] = None
                waiting.append(other)
    if problems:
        raise SpecError("", problems=tuple(problems))
    return waiting


def _out_of_reach(project: Project, name: str, other: str) -> Problem:
    path = ("services", name, "depends_on", other)
    profiles = project.disabled[other].profiles
    text = f"{'.'.join(path)}: needs {other}, which is only in profile {', '.join(profiles)}"
    hint = f"add --profile {profiles[0]}, or `required: false`"
    return project.where(*path, column=True), text, hint


def _trimmed(project: Project) -> Project:
    services = project.services.values()
    networks = {key for service in services for key in service.networks}
    volumes = {mount.source for s in services for mount in s.volumes if mount.type == "volume"}
    secrets = {grant.source for s in services for grant in s.secrets}
    secrets |= {grant.source for s in services if s.build for grant in s.build.secrets}
    configs = {grant.source for s in services for grant in s.configs}
    models = {key for s in services for key in s.models}
    return replace(
        project,
        networks={key: n for key, n in project.networks.items() if key in networks},
        volumes={key: v for key, v in project.volumes.items() if key in volumes},
        secrets={key: s for key, s in project.secrets.items() if key in secrets},
        configs={key: c for key, c in project.configs.items() if key in configs},
        models={key: m for key, m in project.models.items() if key in models},
    )
