"""Environment of the services: `env_file` merged under `environment`, names without a value
filled in from the project's variables.

Reads the env files; knows nothing of the process environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from orchestrator.errors import SpecError
from orchestrator.spec import dotenv, inputs
from orchestrator.spec.node import Node
from orchestrator.spec.report import Report

_HOOKS = frozenset({"pre_start", "post_start", "pre_stop"})


def resolve(service: Node, variables: Mapping[str, str]) -> Node:
    """The service with entries of `environment` that have no value filled in."""
    entries = dict(service.entries)
    if "environment" in entries:
        entries["environment"] = _filled(entries["environment"], variables)
    for key in _HOOKS & entries.keys():
        entries[key] = entries[key].copy([_hook(h, variables) for h in entries[key].items])
    return service.copy(entries)


def _hook(hook: Node, variables: Mapping[str, str]) -> Node:
    environment = hook.get("environment")
    if environment is None:
        return hook
    return hook.copy({**hook.entries, "environment": _filled(environment, variables)})


def _filled(environment: Node, variables: Mapping[str, str]) -> Node:
    return environment.copy({
        name: child.copy(variables.get(name)) if child.value is None else child
        for name, child in environment.entries.items()
    })  # fmt: skip


def merge_files(name: str, service: Node, variables: Mapping[str, str], report: Report) -> Node:
    """The service with `env_file` read and merged under `environment`; the key is gone."""
    files = service.get("env_file")
    if files is None:
        return service
    given = service.get("environment") or service.copy({})
    own = {key: str(c.value) for key, c in given.entries.items() if c.value is not None}
    found: dict[str, Node] = {}
    for index, item in enumerate(files.items):
        path = f"services.{name}.env_file.{index}"
        _read(item, path, {**own, **variables}, found, report)
    entries = {key: node for key, node in service.entries.items() if key != "env_file"}
    for key, node in given.entries.items():
        file = found.get(key)
        found[key] = node.over(file, "`environment` wins over env_file") if file else node
    entries["environment"] = given.copy(found)
    return service.copy(entries)


def _read(
    item: Node, where: str, known: Mapping[str, str], found: dict[str, Node], report: Report
) -> None:
    path = str(item.entries["path"].value)
    required = item.get("required")
    form = item.get("format")
    if form is not None and form.value not in ("", "raw"):
        report.add(form, f"{where}.format: must be raw, not {form.value!r}")
        return
    if required is not None and required.value is False and not os.path.exists(path):
        return

    before = {name: str(node.value) for name, node in found.items()}
    try:
        text = inputs.read_text(path, missing="no such env file")
        raw = form is not None and form.value == "raw"
        entries = (
            dotenv.parse_raw(text, lookup=known.get) if raw else dotenv.parse(
                text, lookup=known.get, before=before, missing=lambda name: _unset(name, report)
            )
        )
    except SpecError as exc:
        report.add(item, f"{where}: {exc.message}", hint="`required: false` lets it be missing")
        return
    except dotenv.DotenvError as exc:
        report.add(Node(None, path, exc.line, 1), exc.message)
        return
    for entry in entries:
        if entry.value is not None:
            node = Node(entry.value, path, entry.line, 1)
            node = report.trace.entry(node) if report.trace else node
            earlier = found.get(entry.name)
            found[entry.name] = node.over(earlier) if earlier else node


def _unset(name: str, report: Report) -> None:
    report.warn(f'The "{name}" variable is not set. Defaulting to a blank string.')
