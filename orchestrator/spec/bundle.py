"""The files of a project as they go elsewhere: as they are written, but that what they refer to
lies beside them, under a name that says nothing of this machine.

Files that are extended and env files come along.  Contexts of builds, bind mounts, and what secrets
and configs are read from stay where they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Literal

from orchestrator.dataclass import dataclass
from orchestrator.errors import SpecError
from orchestrator.spec import inputs, paths, reading, template, yaml
from orchestrator.spec.node import Node
from orchestrator.spec.report import Report

_ENV_KEYS = ("env_file", "label_file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundled:
    """One file of a bundle."""

    name: str
    role: Literal["compose", "extends", "env"]
    data: bytes


def bundle(options: inputs.LoadOptions, *, with_env: bool) -> list[Bundled]:
    """The Compose files in their order, then what they extend, then, if wanted, env files.
    SpecError names with file:line:col what cannot come along."""
    given = inputs.gather(options)
    report = Report(given.cwd)
    work = _Bundler(given, report, with_env=with_env)
    for file in given.files:
        if file == inputs.STDIN:
            raise SpecError("what is published has to be in files", hint="write it into one")
        work.add(file, directory=given.working_dir, name=os.path.basename(file), role="compose")
    report.check()
    order = ("compose", "extends", "env")
    return sorted(work.found.values(), key=lambda item: order.index(item.role))


class _Bundler:
    def __init__(self, given: inputs.Inputs, report: Report, *, with_env: bool) -> None:
        self._given, self._report, self._with_env = given, report, with_env
        self.found: dict[str, Bundled] = {}
        self._begun: set[str] = set()

    def add(
        self, file: str, *, directory: str, name: str, role: Literal["compose", "extends"]
    ) -> None:
        """A Compose file, rewritten; `directory` is where its relative paths begin."""
        data = self._read(file, yaml.LARGEST)
        documents = yaml.documents(data, file=file, shown=self._report.shown(file))
        replaced: dict[tuple[int, int], str] = {}
        for document in documents:
            self._refuse_includes(document)
            for node, kind in _references(document):
                new = self._reference(node, kind, directory)
                if new:
                    replaced[node.line, node.column] = new
        key = name if role == "extends" else f"{len(self.found)} {name}"
        self.found[key] = Bundled(name=name, role=role, data=_rewritten(data, replaced))

    def _refuse_includes(self, document: Node) -> None:
        include = document.get("include")
        for entry in include.items if include is not None else ():
            path = entry.get("path") or entry
            for node in path.items or [path]:
                if not str(node.value).startswith(inputs.OCI):
                    self._report.add(node, "include: a file of this machine cannot be published",
                                     hint="`pcompose config -o FILE` puts all into one file")

    def _reference(self, node: Node, kind: str, directory: str) -> str:
        """The new name of the file that a node names; empty where it stays as it is."""
        written = template.substitute(str(node.value), self._given.environment.get,
                                      missing=lambda name: None)  # fmt: skip
        home = self._given.environment.get("HOME", "")
        file = paths.resolved(written, working_dir=directory, home=home)
        if not written or not os.path.isfile(file):
            return ""  # whoever needs it is told by who loads the project
        name = self._name(file, ".env" if kind == "env" else ".yaml")
        if name in self._begun or (kind == "env" and not self._with_env):
            return name
        self._begun.add(name)
        if kind == "env":
            self.found[name] = Bundled(name=name, role="env", data=self._read(file, inputs.LARGEST))
        else:
            self.add(file, directory=os.path.dirname(file), name=name, role="extends")
        return name

    def _name(self, file: str, suffix: str) -> str:
        shown = os.path.relpath(file, self._given.working_dir)
        return sha256(os.fsencode(shown)).hexdigest() + suffix

    def _read(self, file: str, most: int) -> bytes:
        try:
            data = reading.read(file, most)
        except OSError as exc:
            raise SpecError(f"cannot read {file}: {exc.strerror}") from exc
        if len(data) > most:
            raise SpecError(f"{file} is larger than {most >> 20} MiB")
        return data


def _references(document: Node) -> Iterator[tuple[Node, str]]:
    """The nodes that name a file which may come along, and of what kind it is."""
    services = document.get("services")
    for service in (services.entries if services is not None else {}).values():
        extended = service.get("extends", "file")
        if extended is not None and isinstance(extended.value, str):
            yield extended, "extends"
        for key in _ENV_KEYS:
            node = service.get(key)
            for item in (node.items or [node]) if node is not None else ():
                path = item.get("path") or item
                if isinstance(path.value, str):
                    yield path, "env"


def _rewritten(data: bytes, replaced: Mapping[tuple[int, int], str]) -> bytes:
    """The text with other scalars at these places, and nothing else changed."""
    if not replaced:
        return data
    text, spans = data.decode("utf-8-sig"), yaml.spans(data)
    for place in sorted(replaced, key=lambda place: -spans[place][0]):
        start, end, anchor = spans[place]
        old = text[start:end]
        new = f"&{anchor} {replaced[place]}" if anchor else replaced[place]
        text = text[:start] + new + old[len(old.rstrip()):] + text[end:]
    return text.encode()
