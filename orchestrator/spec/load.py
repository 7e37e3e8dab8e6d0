"""Files -> Project: the order of the phases.  The only module of `spec` others call besides
`model`, `select`, `runnable`, `hashing` and `dump`.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.dataclass import replace
from orchestrator.errors import SpecError
from orchestrator.spec import (
    assemble,
    bind,
    check,
    decode,
    defaults,
    environment,
    inputs,
    select,
    template,
)
from orchestrator.spec.assemble import Scope, Sources
from orchestrator.spec.inputs import Inputs, LoadOptions
from orchestrator.spec.model import Project
from orchestrator.spec.node import Node, NodeMarks, plain
from orchestrator.spec.report import Problem, Report
from orchestrator.spec.salvage import salvaged

__all__ = ["LoadOptions", "load"]


def load(options: LoadOptions) -> Project:
    """The project the options describe.

    Raises SpecError; independent faults come together in its `problems`, each with
    `file:line:col`, files being named as they are seen from `options.cwd`.
    """
    given = inputs.gather(options)
    report = Report(given.cwd, trace=options.trace)
    report.warnings += given.warnings
    try:
        return _loaded(options, given, report)
    except SpecError as error:
        raise report.joined(error) from None


def _loaded(options: LoadOptions, given: Inputs, report: Report) -> Project:
    sources = Sources(options, report)
    name = _name(options, given, sources)
    is_raw = "interpolation" in options.skip
    variables = {} if is_raw else {**given.environment, "COMPOSE_PROJECT_NAME": name}
    scope = Scope(
        sources=sources, report=report, variables=variables, working_dir=given.working_dir,
        search_dir=given.working_dir, home=given.environment.get("HOME", ""), skip=options.skip,
        chain=given.files,
    )  # fmt: skip
    root = assemble.assemble(given.files, scope)
    if root is None or not root.entries:
        raise SpecError("the Compose file is empty", where=report.shown(given.files[0]))
    if "normalization" not in options.skip:
        root = defaults.normalise(root, variables)
    if is_raw:  # text where numbers belong: there is nothing to bind
        report.finish()
        return Project(name=name, working_dir=given.working_dir, files=given.files, services={},
                       tree=root, seen_from=given.cwd, warnings=tuple(report.warnings))  # fmt: skip
    root = salvaged(decode.decode(root, report), report)
    return _project(root, name, given, variables, report, options.skip)


def _name(options: LoadOptions, given: Inputs, sources: Sources) -> str:
    written = ""
    for file in given.files:
        for document in sources.documents(file):
            node = document.get("name")
            if node is not None and isinstance(node.value, str) and node.value:
                written = _filled(node.value, given.environment) or " "  # said, though empty
    return inputs.project_name(
        options, given.environment, written=written, working_dir=given.working_dir
    )


def _filled(text: str, variables: Mapping[str, str]) -> str:
    """Faults and unset variables are told when the whole tree is interpolated."""
    try:
        return template.substitute(text, variables.get, missing=lambda name: None)
    except (template.TemplateError, template.RequiredError):
        return ""


def _project(
    root: Node, name: str, given: Inputs, variables: Mapping[str, str], report: Report,
    skip: frozenset[inputs.Phase],
) -> Project:  # fmt: skip
    root, incomplete = _with_files(root, variables, report, is_lax="environment" in skip)
    binder = bind.Binder(root, report, project=name, variables=variables)
    enabled, disabled = select.by_profile(binder.services(), given.profiles)
    networks, volumes, secrets = binder.networks(), binder.volumes(), binder.secrets()
    configs, models = binder.configs(), binder.models()
    report.check()
    project = Project(
        name=name, working_dir=given.working_dir, files=given.files, env_files=given.env_files,
        services=enabled, disabled=disabled, networks=networks, volumes=volumes, secrets=secrets,
        configs=configs, models=models, profiles=given.profiles,
        extensions={key: plain(n) for key, n in root.entries.items() if key.startswith("x-")},
        marks=NodeMarks(root), tree=root, incomplete=incomplete, seen_from=given.cwd,
    )  # fmt: skip
    if "consistency" not in skip:
        check.check(project, root, report)
    report.finish()
    return replace(project, warnings=tuple(report.warnings))


def _with_files(
    root: Node, variables: Mapping[str, str], report: Report, *, is_lax: bool
) -> tuple[Node, dict[str, tuple[Problem, ...]]]:
    """Env and label files merged in; what is wrong with those of a service waits until the service
    is asked for, or, when lax, leaves the service with its files named and not read."""
    services = root.get("services")
    if services is None:
        return root, {}
    incomplete: dict[str, tuple[Problem, ...]] = {}
    changed: dict[str, Node] = {}
    for name, node in services.entries.items():
        own = Report(report.root, trace=report.trace)
        own.unset = report.unset
        changed[name] = environment.merge_files(name, node, variables, own)
        if own.problems and is_lax:
            changed[name] = node
        elif own.problems:
            incomplete[name] = tuple(own.problems)
        for warning in own.warnings if not own.problems else ():
            report.warn(warning)
    return root.copy({**root.entries, "services": services.copy(changed)}), incomplete
