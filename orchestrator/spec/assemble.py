"""A set of files becomes one tree: each document interpolated, what it includes put under it, what
its services extend put under them, merged over the documents before, validated and made long.

The same for the project's own files and for every file that is included, which has its own
directory and its own variables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.dataclass import dataclass
from orchestrator.errors import SpecError
from orchestrator.spec import (
    canonical,
    check_tree,
    defaults,
    environment,
    extend,
    include,
    inputs,
    interpolate,
    merge,
    parsed,
    paths,
    reading,
    reset,
    schema,
    unicity,
    yaml,
)
from orchestrator.spec.inputs import LoadOptions
from orchestrator.spec.node import Node
from orchestrator.spec.report import Report
from orchestrator.spec.salvage import salvaged

if TYPE_CHECKING:
    from orchestrator.spec.provenance import Role


class Sources:
    """Reads files into documents, each file once."""

    def __init__(self, options: LoadOptions, report: Report) -> None:
        self._options = options
        self._report = report
        self._known: dict[str, list[Node]] = {}
        self.included = 0
        """Entries of `include` that have been followed."""

    def documents(self, file: str, role: Role = "file") -> list[Node]:
        """The documents of a file, `-` being standard input.  Raises SpecError."""
        found = self._known.get(file)
        if found is None:
            found = parsed.documents(
                self._bytes(file), file=file, shown=self._report.shown(file),
                cache_dir=self._options.cache_dir,
            )  # fmt: skip
            self._known[file] = found
        trace = self._report.trace
        return trace.documents(found, role) if trace else found

    def fetched(self, url: str) -> Sequence[str]:
        """The Compose files of an application in a registry.  PcomposeError."""
        return inputs.fetched(url, self._options)

    def _bytes(self, file: str) -> bytes:
        if file == inputs.STDIN:
            return self._options.stdin.read(yaml.LARGEST + 1) if self._options.stdin else b""
        try:
            return reading.read(file, yaml.LARGEST)
        except OSError as exc:
            raise SpecError(f"cannot read {file}: {exc.strerror}") from exc


@dataclass(slots=True, kw_only=True)
class Scope:
    """What the values of one set of files mean."""

    sources: Sources
    report: Report
    variables: Mapping[str, str]
    working_dir: str
    """Paths of the services are seen from here."""
    search_dir: str
    """Files to include and to extend are looked for here."""
    home: str
    skip: frozenset[inputs.Phase] = frozenset()
    chain: tuple[str, ...]
    """The files that include each other, outermost first; the project's own at the start."""
    role: Role = "file"


def assemble(files: Sequence[str], scope: Scope) -> Node | None:
    """The tree of all documents of all files: long forms, absolute paths, environment filled in;
    None where all of them are empty.  Raises SpecError."""
    root: Node | None = None
    for file in files:
        for document in scope.sources.documents(file, scope.role):
            root = _with_document(root, document, scope)
    if root is None:
        return None
    root = defaults.fill(root)
    check_tree.check(root, scope.report)
    root = salvaged(root, scope.report)
    if "paths" not in scope.skip:
        root = paths.absolute(root, working_dir=scope.working_dir, home=scope.home)
    return _with_environment(root, scope.variables)


def _with_document(root: Node | None, document: Node, scope: Scope) -> Node:
    report = scope.report
    document = interpolated(document, scope)
    taken = reset.resets(document) if reset.is_tagged(document) else []
    if taken:
        root = root and reset.without(root, taken)
        document = reset.untagged(document)
    if "include" in document.entries:
        document = include.with_included(document, scope, taken)
    if not report.problems:  # else what is extended may be missing for that reason
        document = extend.extended(document, scope, taken)
    root = unicity.unique(merge.merge(root, document, report))
    schema.validate(root, report)
    root = salvaged(root, report)
    if "version" in document.entries:
        report.warn(f"{report.shown(document.file)}: the attribute `version` is obsolete, it will "
                    "be ignored, please remove it to avoid potential confusion")  # fmt: skip
    root = canonical.canonical(root, report, interpolated="interpolation" not in scope.skip)
    return unicity.unique(salvaged(root, report))


def interpolated(document: Node, scope: Scope) -> Node:
    """A document with its variables replaced; what cannot be is left out and reported.  Raises
    SpecError where that does not do."""
    report = scope.report
    if not isinstance(document.value, dict):
        report.add(document, "the file must be a mapping with `services:`")
        report.check()
    if "interpolation" in scope.skip:
        return document
    document = interpolate.interpolate(document, scope.variables, report)
    return salvaged(document, report)


def _with_environment(root: Node, variables: Mapping[str, str]) -> Node:
    services = root.get("services")
    if services is None:
        return root
    changed = {
        name: environment.resolve(node, variables) for name, node in services.entries.items()
    }
    return root.copy({**root.entries, "services": services.copy(changed)})
