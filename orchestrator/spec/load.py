"""Files -> Project: the order of the phases.  The only module of `spec` others call besides
`model`, `select`, `hashing` and `dump`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from orchestrator.errors import SpecError
from orchestrator.spec import (
    bind,
    canonical,
    check,
    environment,
    inputs,
    interpolate,
    merge,
    parsed,
    paths,
    schema,
    select,
    template,
    yaml,
)
from orchestrator.spec.inputs import Inputs, LoadOptions
from orchestrator.spec.model import Network, Project, Service
from orchestrator.spec.node import Node, NodeMarks, plain
from orchestrator.spec.report import Problem, Report

__all__ = ["LoadOptions", "load"]


def load(options: LoadOptions) -> Project:
    """The project the options describe.

    Raises SpecError; independent faults come together in its `problems`, each with
    `file:line:col` relative to the project's directory.
    """
    given = inputs.gather(options)
    report = Report(given.working_dir, trace=options.trace)
    report.warnings += given.warnings
    documents = [doc for file in given.files for doc in _documents(file, options, report)]
    if not documents:
        raise SpecError("the Compose file is empty", where=report.shown(given.files[0]))
    name = _name(options, given, documents)
    variables = {**given.environment, "COMPOSE_PROJECT_NAME": name}
    root = _tree(documents, variables, options, report)
    if "paths" not in options.skip:
        root = paths.absolute(
            root, working_dir=given.working_dir, home=variables.get("HOME", "")
        )
    root = _with_services(root, lambda _, node: environment.resolve(node, variables))
    if "interpolation" in options.skip:  # text where numbers belong: there is nothing to bind
        return Project(name=name, working_dir=given.working_dir, files=given.files, services={},
                       tree=root, warnings=tuple(report.warnings))  # fmt: skip
    return _project(root, name, given, variables, report, options.skip)


def _documents(file: str, options: LoadOptions, report: Report) -> list[Node]:
    if file == inputs.STDIN:
        data = options.stdin.read() if options.stdin else b""
    else:
        try:
            with open(file, "rb") as stream:
                data = stream.read(yaml.LARGEST + 1)
        except OSError as exc:
            raise SpecError(f"cannot read {file}: {exc.strerror}") from exc
    shown = report.shown(file)
    found = parsed.documents(data, file=file, shown=shown, cache_dir=options.cache_dir)
    return report.trace.documents(found, "file") if report.trace else found


def _name(options: LoadOptions, given: Inputs, documents: list[Node]) -> str:
    written = ""
    for document in documents:
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


def _tree(
    documents: list[Node], variables: Mapping[str, str], options: LoadOptions, report: Report
) -> Node:
    """All documents merged into one canonical tree; what is wrong in one stops the next."""
    root: Node | None = None
    for document in documents:
        if not isinstance(document.value, dict):
            report.add(document, "the file must be a mapping with `services:`")
            report.check()
        if "interpolation" not in options.skip:
            document = interpolate.interpolate(document, variables, report)
        report.check()
        root = merge.merge(root, document)
        schema.validate(root, report)
        report.check()
        if "version" in document.entries:
            file = report.shown(document.file)
            report.warn(f"{file}: the attribute `version` is obsolete, it will be ignored, "
                        "please remove it to avoid potential confusion")  # fmt: skip
        root = canonical.canonical(root, report)
        report.check()
    _refuse_references(root, report)
    if root is None or not root.entries:
        raise SpecError("the Compose file is empty", where=report.shown(documents[0].file))
    return root


def _refuse_references(root: Node | None, report: Report) -> None:
    services = root.get("services") if root else None
    for name, service in services.entries.items() if services else ():
        if "extends" in service.entries:
            report.add(service.entries["extends"], f"services.{name}.extends: not supported yet")
    if root and "include" in root.entries:
        report.add(root.entries["include"], "include: not supported yet")
    report.check()


def _with_services(root: Node, convert: Callable[[str, Node], Node]) -> Node:
    services = root.get("services")
    if services is None:
        return root
    changed = {name: convert(name, node) for name, node in services.entries.items()}
    return root.copy({**root.entries, "services": services.copy(changed)})


def _project(
    root: Node, name: str, given: Inputs, variables: Mapping[str, str], report: Report,
    skip: frozenset[inputs.Phase],
) -> Project:  # fmt: skip
    incomplete: dict[str, tuple[Problem, ...]] = {}
    if "environment" not in skip:
        root, incomplete = _with_env_files(root, given, variables, report)
    binder = bind.Binder(root, report, project=name, variables=variables)
    enabled, disabled = select.by_profile(binder.services(), given.profiles)
    networks = _networks(binder.networks(), enabled, disabled, name)
    report.check()
    project = Project(
        name=name, working_dir=given.working_dir, files=given.files, env_files=given.env_files,
        services=enabled, disabled=disabled, networks=networks, volumes=binder.volumes(),
        secrets=binder.secrets(), configs=binder.configs(), models=binder.models(),
        profiles=given.profiles,
        extensions={key: plain(n) for key, n in root.entries.items() if key.startswith("x-")},
        marks=NodeMarks(root), tree=root, incomplete=incomplete,
    )  # fmt: skip
    if "consistency" not in skip:
        check.check(project, root, report)
    report.check()
    return replace(project, warnings=tuple(report.warnings))


def _with_env_files(
    root: Node, given: Inputs, variables: Mapping[str, str], report: Report
) -> tuple[Node, dict[str, tuple[Problem, ...]]]:
    """Env files merged in; what is wrong with one of a disabled service waits until the service
    is asked for."""
    incomplete: dict[str, tuple[Problem, ...]] = {}

    def convert(name: str, node: Node) -> Node:
        own = Report(given.working_dir, trace=report.trace)
        node = environment.merge_files(name, node, variables, own)
        profiles = node.get("profiles")
        active = {item.value for item in profiles.items} if profiles else set()
        if not own.problems:
            for warning in own.warnings:
                report.warn(warning)
        elif not active or "*" in given.profiles or active & set(given.profiles):
            report.problems += own.problems
        else:
            incomplete[name] = tuple(own.problems)
        return node

    return _with_services(root, convert), incomplete


def _networks(
    declared: dict[str, Network], enabled: Mapping[str, Service], disabled: Mapping[str, Service],
    project: str,
) -> dict[str, Network]:  # fmt: skip
    """Declared networks and the default one where somebody uses it."""
    used = {key for s in (*enabled.values(), *disabled.values()) for key in s.networks}
    if "default" in used and "default" not in declared:
        declared["default"] = Network(key="default", name=f"{project}_default")
    return declared
