"""Variables in the tree: every text value is a template, then some values are numbers or truth.

Knows the paths whose text becomes another type; not where variables come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from orchestrator.spec import template, values
from orchestrator.spec.node import Node, Scalar
from orchestrator.spec.report import Report
from orchestrator.spec.tree import Path, dotted

LONGEST = 64 << 20
"""Characters of all texts of a file that have variables."""


def interpolate(root: Node, environment: Mapping[str, str], report: Report) -> Node:
    """A new tree (aliases are no longer shared) with variables replaced and values converted;
    keys have no variables, but `$$` is a dollar there too, since `config` doubles every one;
    faults go into the report, variables that are not set become warnings."""

    if report.trace:
        report.trace.interpolated(root, environment)
    expanded = _Expansion(environment, report).expanded(root, ())
    for path, node, cast in _typed(expanded):
        _convert(path, node, cast, report)
    return expanded


class _Expansion:
    """The variables of one tree."""

    def __init__(self, environment: Mapping[str, str], report: Report) -> None:
        self._environment = environment
        self._report = report
        self._length = 0
        self._at = Node(None, "", 0, 0)

    def expanded(self, node: Node, path: Path) -> Node:
        value = node.value
        fresh = node.copy(value)
        fresh.tag = node.tag
        if isinstance(value, str):
            if "$" in value:
                fresh.value = self._filled(node, value, path)
        elif isinstance(value, dict):
            fresh.value = {
                key.replace("$$", "$"): self.expanded(child, (*path, key))
                for key, child in value.items()
            }
        elif isinstance(value, list):
            fresh.value = [
                self.expanded(child, (*path, index)) for index, child in enumerate(value)
            ]
        return fresh

    def _filled(self, node: Node, text: str, path: Path) -> str:
        self._at = node
        try:
            found = template.substitute(text, self._lookup, missing=self._missing)
        except template.RequiredError as exc:
            said = f": {exc.message}" if exc.message else ""
            hint = f"set it in the environment or in .env: {exc.name}=…"
            message = f"{dotted(path)}: required variable {exc.name} is missing a value{said}"
            self._report.add(node, message, hint=hint)
            return text
        except template.TemplateError as exc:
            hint = "write $$ where a dollar is meant"
            self._report.add(node, f"{dotted(path)}: invalid interpolation format: {exc}",
                             hint=hint)  # fmt: skip
            return text
        self._length += len(found)
        if self._length > LONGEST:
            self._report.add(node, f"variables make the file longer than {LONGEST >> 20} MiB")
            self._report.check()
        return found

    def _lookup(self, name: str) -> str | None:
        value = self._environment.get(name)
        if value is None:
            self._report.unset.setdefault(name, self._at)
        return value

    def _missing(self, name: str) -> None:
        self._report.warn(f'The "{name}" variable is not set. Defaulting to a blank string.')


Cast = Callable[[str], Scalar]
_BOOLEAN: Cast = values.parse_boolean
_INTEGER: Cast = values.parse_integer
_NUMBER: Cast = values.parse_number

_SERVICE: dict[str, Cast] = {
    **dict.fromkeys(
        ("cpu_count", "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime", "cpu_shares",
         "oom_score_adj", "pids_limit", "scale"), _INTEGER),
    **dict.fromkeys(("cpu_percent", "cpus"), _NUMBER),
    **dict.fromkeys(
        ("init", "oom_kill_disable", "privileged", "read_only", "stdin_open", "tty"), _BOOLEAN),
}  # fmt: skip
_UPDATE: dict[str, Cast] = {"parallelism": _INTEGER, "max_failure_ratio": _NUMBER}
_BELOW_SERVICE: tuple[tuple[tuple[str, ...], dict[str, Cast]], ...] = (
    (("depends_on", "*"), {"required": _BOOLEAN, "restart": _BOOLEAN}),
    (("deploy",), {"replicas": _INTEGER}),
    (("deploy", "update_config"), _UPDATE),
    (("deploy", "rollback_config"), _UPDATE),
    (("deploy", "restart_policy"), {"max_attempts": _INTEGER}),
    (("deploy", "placement"), {"max_replicas_per_node": _INTEGER}),
    (("healthcheck",), {"retries": _INTEGER, "disable": _BOOLEAN}),
    (("ports", "*"), {"target": _INTEGER}),
    (("ulimits",), {"*": _INTEGER}),
    (("ulimits", "*"), {"soft": _INTEGER, "hard": _INTEGER}),
    (("volumes", "*"), {"read_only": _BOOLEAN}),
    (("volumes", "*", "volume"), {"nocopy": _BOOLEAN}),
)
_NETWORK: dict[str, Cast] = dict.fromkeys(
    ("external", "internal", "attachable", "enable_ipv4", "enable_ipv6"), _BOOLEAN
)
_EXTERNAL: dict[str, Cast] = {"external": _BOOLEAN}
_SECTIONS = {"networks": _NETWORK, "volumes": _EXTERNAL, "secrets": _EXTERNAL, "configs": _EXTERNAL}

Found = Iterator[tuple[Path, Node, Cast]]


def _typed(root: Node) -> Found:
    """Every text at a path that has another type."""
    for name, service in _entries(root, "services"):
        path: Path = ("services", name)
        yield from _texts(service, path, _SERVICE)
        for below, casts in _BELOW_SERVICE:
            for found, node in _matching(service, path, below):
                yield from _texts(node, found, casts)
    for section, casts in _SECTIONS.items():
        for name, node in _entries(root, section):
            yield from _texts(node, (section, name), casts)


def _entries(root: Node, section: str) -> list[tuple[str, Node]]:
    node = root.get(section)
    return list(node.entries.items()) if node else []


def _texts(node: Node, path: Path, casts: dict[str, Cast]) -> Found:
    for key, child in node.entries.items():
        cast = casts.get(key) or casts.get("*")
        if cast is not None and isinstance(child.value, str):
            yield (*path, key), child, cast


def _matching(node: Node, path: Path, below: tuple[str, ...]) -> Iterator[tuple[Path, Node]]:
    if not below:
        yield path, node
    elif below[0] == "*":
        for key, child in node.entries.items():
            yield from _matching(child, (*path, key), below[1:])
        for index, child in enumerate(node.items):
            yield from _matching(child, (*path, index), below[1:])
    elif child_node := node.entries.get(below[0]):
        yield from _matching(child_node, (*path, below[0]), below[1:])


def _convert(path: Path, node: Node, cast: Cast, report: Report) -> None:
    text = str(node.value)
    try:
        node.value = cast(text)
    except ValueError as exc:
        report.add(node, f"{dotted(path)}: {exc}")
        return
    if cast is _BOOLEAN and text.lower() not in ("true", "false"):
        word = "true" if node.value else "false"
        report.warn(f'"{text}" for boolean is not supported by YAML 1.2, please use `{word}`')
