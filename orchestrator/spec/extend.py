"""`extends`: a service on top of another one, of the same document or of another file.

A service of another file is made long and its paths absolute from there before anything is put on
top of it.  Nothing but its own definition comes along: networks and volumes are declared by the
extending project.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orchestrator.dataclass import dataclass
from orchestrator.errors import SpecError
from orchestrator.spec import (
    assemble,
    canonical,
    include,
    inputs,
    merge,
    paths,
    reading,
    reset,
    schema,
    unicity,
)
from orchestrator.spec.node import Node, walked
from orchestrator.spec.suggestion import nearest_name
from orchestrator.spec.tree import Path

if TYPE_CHECKING:
    from orchestrator.spec.assemble import Scope

DEEPEST = 100
MOST_NODES = 500_000
"""Values of all services of a file that extend others, what they inherit included."""


@dataclass(slots=True, kw_only=True)
class _Place:
    """The services of one file: where a service looks for the one it extends."""

    file: str
    directory: str
    services: dict[str, Node]
    taken: list[Path]
    """What its documents take away from what is inherited, of `reset`."""
    is_ours: bool
    """The document itself, whose services need no absolute paths yet."""


def extended(document: Node, scope: Scope, taken: list[Path]) -> Node:
    """The document with every `extends` of its services resolved."""
    services = document.get("services")
    if services is None or not any("extends" in n.entries for n in services.entries.values()):
        return document
    place = _Place(file=document.file, directory=scope.search_dir, services=services.entries,
                   taken=taken, is_ours=True)  # fmt: skip
    resolver = _Resolver(scope)
    found = {name: resolver.resolved(name, place, ()) for name in services.entries}
    return document.copy({**document.entries, "services": services.copy(found)})


class _Resolver:
    """Resolves the services of one document; each service of each file once."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._report = scope.report
        self._files: dict[str, _Place | None] = {}
        self._done: dict[tuple[str, str], Node] = {}
        self._nodes = 0

    def resolved(self, name: str, place: _Place, chain: tuple[tuple[str, str], ...]) -> Node:
        """The service `name` of the place on top of all it extends."""
        key = (place.file, name)
        if key not in self._done:
            self._done[key] = self._resolve(name, place, (*chain, key))
        return self._done[key]

    def _resolve(self, name: str, place: _Place, chain: tuple[tuple[str, str], ...]) -> Node:
        service = place.services[name]
        if not place.is_ours:
            service = self._settled(name, service, place)
        extends = service.get("extends")
        if extends is None or extends.value is None:
            return service
        own = service.copy({k: v for k, v in service.entries.items() if k != "extends"})
        found = self._base(name, extends, place)
        if found is None:
            return own
        there, ref = found
        if (there.file, ref) in chain or len(chain) > DEEPEST:
            self._tell_cycle(extends, name, (*chain, (there.file, ref)))
            return own
        base = self.resolved(ref, there, chain)
        if base.value is None:
            return own
        mine = [path for path in place.taken if path[:2] == ("services", name)]
        base = reset.without(base, [path[2:] for path in mine if len(path) > 2])
        merged = unicity.service(merge.merge_services(base, own, name, self._report))
        self._nodes += sum(1 for _ in walked(merged))
        if self._nodes > MOST_NODES:
            self._report.add(extends, f"services.{name}.extends: what is inherited makes the file "
                             f"larger than {MOST_NODES} values")  # fmt: skip
            self._report.check()
        return merged

    def _tell_cycle(self, extends: Node, name: str, chain: tuple[tuple[str, str], ...]) -> None:
        shown = [f"{service} in {self._report.shown(file)}" for file, service in chain]
        start = chain.index(chain[-1])
        text = " extends ".join(shown[start:])
        self._report.add(extends, f"services.{name}.extends: services extend each other: {text}")

    def _base(self, name: str, extends: Node, place: _Place) -> tuple[_Place, str] | None:
        """The place and name of the service that is extended."""
        where = f"services.{name}.extends"
        file: Node | None = None
        service: Node | None = extends
        if isinstance(extends.value, dict):
            service, file = extends.get("service"), extends.get("file")
        if service is None or not isinstance(service.value, str):
            self._report.add(extends, f"{where}: `service` is missing: the service to extend")
            return None
        if file is not None and file.value is not None and not isinstance(file.value, str):
            self._report.add(file, f"{where}.file: must be text")
            return None
        if file is None or not file.value:
            return self._named(service, where, place)
        there = self._file(file, where, place)
        return None if there is None else self._named(service, where, there)

    def _named(self, service: Node, where: str, place: _Place) -> tuple[_Place, str] | None:
        ref = str(service.value)
        if ref in place.services:
            return place, ref
        near = nearest_name(ref, place.services)
        self._report.add(
            service, f"{where}: no service is called {ref} in {self._report.shown(place.file)}",
            hint=f"did you mean `{near}`?" if near else None,
        )  # fmt: skip
        return None

    def _file(self, node: Node, where: str, place: _Place) -> _Place | None:
        written = str(node.value)
        if written.startswith((*include.REMOTE, inputs.OCI)):
            self._report.add(node, f"{where}.file: {written} is not on this machine; only a local "
                             "file can be extended", hint="include what is elsewhere")
            return None
        file = paths.resolved(written, working_dir=place.directory, home=self._scope.home)
        if file not in self._files:
            self._files[file] = self._read(file, node, where)
        return self._files[file]

    def _read(self, file: str, node: Node, where: str) -> _Place | None:
        if not os.path.isfile(file):
            shown = self._report.shown(file)
            self._report.add(node, f"{where}.file: {reading.why_no_file(file)}: {shown}")
            return None
        try:
            documents = self._scope.sources.documents(file, "extends")
        except SpecError as exc:
            if exc.problems[0][0]:
                raise
            self._report.add(node, f"{where}.file: {exc.message}")
            return None
        root: Node | None = None
        taken: list[Path] = []
        for document in documents:
            document = assemble.interpolated(document, self._scope)
            if reset.is_tagged(document):
                paths_ = reset.resets(document)
                root = root and reset.without(root, paths_)
                taken += paths_
                document = reset.untagged(document)
            root = merge.merge(root, document, self._report)
        services = root.get("services") if root else None
        if services is None or not isinstance(services.value, dict):
            shown = self._report.shown(file)
            self._report.add(node, f"{where}.file: {shown} has no `services:`")
            return None
        return _Place(file=file, directory=os.path.dirname(file), services=services.value,
                      taken=taken, is_ours=False)  # fmt: skip

    def _settled(self, name: str, service: Node, place: _Place) -> Node:
        """A service of another file, valid, in long form and with absolute paths."""
        said = service.copy({k: v for k, v in service.entries.items() if v.value is not None})
        before = len(self._report.problems)
        if service.value is not None:
            root = service.copy({"services": service.copy({name: said})})
            schema.validate(root, self._report)
        if len(self._report.problems) > before or not said.entries:
            return said
        long = canonical.service(unicity.service(said), ("services", name), self._report)
        return paths.absolute_service(
            unicity.service(long), working_dir=place.directory, home=self._scope.home
        )


