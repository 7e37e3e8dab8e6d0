"""Variables and labels of the services: names without a value filled in from the project's
variables, `env_file` merged under `environment` and `label_file` under `labels`.

Reads those files; knows nothing of the process environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from orchestrator.errors import SpecError
from orchestrator.spec import dotenv, inputs
from orchestrator.spec.node import Node
from orchestrator.spec.report import Report


def resolve(service: Node, variables: Mapping[str, str]) -> Node:
    """The service with entries of `environment` that have no value filled in; a mapping or a list
    of `NAME=VALUE`."""
    environment = service.get("environment")
    if environment is None:
        return service
    if isinstance(environment.value, dict):
        filled = environment.copy({
            name: child.copy(variables.get(name)) if child.value is None else child
            for name, child in environment.value.items()
        })  # fmt: skip
    elif isinstance(environment.value, list):
        filled = environment.copy([_filled(item, variables) for item in environment.value])
    else:
        return service
    return service.copy({**service.entries, "environment": filled})


def _filled(item: Node, variables: Mapping[str, str]) -> Node:
    name = item.value
    if isinstance(name, str) and "=" not in name and name in variables:
        return item.copy(f"{name}={variables[name]}")
    return item


def merge_files(name: str, service: Node, variables: Mapping[str, str], report: Report) -> Node:
    """The service with `env_file` and `label_file` read and merged; the keys are gone.  Takes
    pairs as mappings."""
    service = _with_env_files(name, service, variables, report)
    return _with_label_files(name, service, report)


def _with_env_files(
    name: str, service: Node, variables: Mapping[str, str], report: Report
) -> Node:
    files = service.get("env_file")
    if files is None:
        return service
    given = service.get("environment") or service.copy({})
    own = {key: str(c.value) for key, c in given.entries.items() if c.value is not None}
    found: dict[str, Node] = {}
    for index, item in enumerate(files.items):
        _read_env_file(item, (name, index), {**own, **variables}, found, report)
    _win(given, found, "`environment` wins over env_file")
    return _replaced(service, "env_file", "environment", given.copy(found))


def _win(given: Node, found: dict[str, Node], rule: str) -> None:
    """What the service itself says over what its files say."""
    for key, node in given.entries.items():
        file = found.get(key)
        found[key] = node.over(file, rule) if file else node


def _replaced(service: Node, gone: str, key: str, node: Node) -> Node:
    entries = {name: child for name, child in service.entries.items() if name != gone}
    if node.entries:
        entries[key] = node
    return service.copy(entries)


def _read_env_file(
    item: Node, at: tuple[str, int], known: Mapping[str, str], found: dict[str, Node],
    report: Report,
) -> None:  # fmt: skip
    service, index = at
    where = f"services.{service}.env_file.{index}"
    path = str(item.entries["path"].value)
    required = item.get("required")
    form = item.get("format")
    if form is not None and form.value not in ("", None, "raw"):
        report.add(form, f"{where}.format: must be raw, not {form.value!r}")
        return
    if required is not None and required.value is False and not os.path.exists(path):
        return
    before = {name: str(node.value) for name, node in found.items()}

    def parse(text: str) -> list[dotenv.Entry]:
        if form is not None and form.value == "raw":
            return dotenv.parse_raw(text, lookup=known.get)
        return dotenv.parse(
            text, lookup=known.get, before=before, missing=lambda name: _unset(name, report)
        )

    hint = "`required: false` lets it be missing"
    read = _read(item, path, where, parse, found, report, missing="no such env file", hint=hint)
    for name in read:
        if name in report.unset:
            report.warn(
                f"{report.place(report.unset[name])}: {name} is not set here: "
                f"{report.shown(path)} of services.{service} is for the container alone; set it in "
                ".env, with --env-file or in the shell"
            )


def _with_label_files(name: str, service: Node, report: Report) -> Node:
    files = service.get("label_file")
    if files is None:
        return service
    given = service.get("labels") or service.copy({})
    found: dict[str, Node] = {}
    for index, item in enumerate(files.items):
        before = {label: str(node.value) for label, node in found.items()}
        _read(
            item, str(item.value), f"services.{name}.label_file.{index}",
            lambda text, before=before: dotenv.parse(  # type: ignore[misc]
                text, lookup=lambda name: None, before=before,
                missing=lambda name: _unset(name, report)),
            found, report, missing="no such label file", hint=None,
        )  # fmt: skip
    _win(given, found, "`labels` wins over label_file")
    return _replaced(service, "label_file", "labels", given.copy(found))


def _read(
    item: Node, path: str, where: str, parse: Callable[[str], list[dotenv.Entry]],
    found: dict[str, Node], report: Report, *, missing: str, hint: str | None,
) -> list[str]:  # fmt: skip
    """The names of the variables that have a value there."""
    try:
        entries = parse(inputs.read_text(path, missing=missing))
    except SpecError as exc:
        report.add(item, f"{where}: {exc.message}", hint=hint)
        return []
    except dotenv.DotenvError as exc:
        report.add(Node(None, path, exc.line, 1), exc.message)
        return []
    for entry in entries:
        if entry.value is not None:
            node = Node(entry.value, path, entry.line, 1)
            node = report.trace.entry(node) if report.trace else node
            earlier = found.get(entry.name)
            found[entry.name] = node.over(earlier) if earlier else node
    return [entry.name for entry in entries if entry.value is not None]


def _unset(name: str, report: Report) -> None:
    report.warn(f'The "{name}" variable is not set. Defaulting to a blank string.')
