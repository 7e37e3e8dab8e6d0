"""The layer table of docs/architecture.md, executable: who may import whom, and which library
has its home where."""

from __future__ import annotations

import sys

import pytest

from tests.source_tree import imports, modules

LEAVES = {"errors", "events", "names", "linux"}
MAY_IMPORT: dict[str, set[str]] = {
    "dataclass": set(),  # everybody's, as a library is
    "errors": set(),
    "events": set(),
    "names": set(),
    "linux": set(),
    "spec": {"errors", "names"},
    "image": {"errors", "events", "linux"},
    "network": {"errors", "linux"},
    "runtime": {"errors", "linux"},
    "state": {"errors", "names", "linux"},
    "plan": {"errors", "names", "spec", "state"},
    "build": {"errors", "events", "image", "linux", "runtime"},
    "supervisor": {"errors", "events", "names", "linux", "state", "runtime", "network"},
    "engine": {
        "errors", "events", "names", "linux", "spec", "image", "network", "runtime", "state",
        "plan", "build", "supervisor",
    },
    "api": {"errors", "events", "names", "engine", "spec", "plan", "state"},
    "shared": {"engine", "spec", "state"},
    "live": {"errors", "events", "api", "engine"},
    "aio": {"live", "engine", "spec"},
    "cli": {"errors", "events", "names", "api", "live", "shared"},
    "testing": {"errors", "events", "names", "live"},
    "__main__": {"cli"},
    "": {"errors", "plan", "engine", "live", "aio"},
}  # fmt: skip
VALUES_FOR_RENDERING = {
    "orchestrator.spec.model",
    "orchestrator.state.records",
    "orchestrator.state.observed",
    "orchestrator.plan.plan",
    "orchestrator.plan.policy",
    "orchestrator.plan.actions",
}
"""Frozen values the CLI may read from what the facade returns; they hold no logic."""

HOMES = {
    "yaml": {"orchestrator.spec.yaml"},
    "jsonschema": {"orchestrator.spec.schema"},
    "networkx": {"orchestrator.plan.graph"},
    "anyio": {"orchestrator.supervisor", "orchestrator.network", "orchestrator.testing.aio",
              "orchestrator.aio"},
    "backports": {"orchestrator.image.compression"},
    "compression": {"orchestrator.image.compression"},  # of the standard library, from 3.14 on
    "pytest": {"orchestrator.testing"},
}
KEEPER = "orchestrator.runtime.keeper"
NOT_IN_KEEPER = {
    "typing", "dataclasses", "contextlib", "enum", "signal", "socket", "subprocess", "re",
    "pathlib", "logging", "asyncio", "tempfile", "shutil",
}  # fmt: skip


def area(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize("module", sorted(modules()))
def test_a_module_imports_only_what_its_layer_may(module: str) -> None:
    own = area(module)
    for found in imports(modules()[module]):
        if not found.module.startswith("orchestrator"):
            continue
        other = area(found.module)
        if other in ("", "dataclass", own) or other in MAY_IMPORT[own]:
            continue
        is_value = found.module in VALUES_FOR_RENDERING or found.for_types_only
        allowed = own in ("cli", "live", "testing") and is_value
        assert allowed, f"{module}:{found.line} imports {found.module}"


@pytest.mark.parametrize("module", sorted(modules()))
def test_a_third_party_library_is_imported_in_its_home_only(module: str) -> None:
    for found in imports(modules()[module]):
        library = found.module.split(".")[0]
        if library in sys.stdlib_module_names or library in ("orchestrator", "__future__"):
            continue
        assert library in HOMES, f"{module}:{found.line} imports {library}, which has no home"
        homes = HOMES[library]
        at_home = module in homes or any(module.startswith(f"{home}.") for home in homes)
        assert at_home, f"{module}:{found.line} imports {library}"


def test_areas_do_not_import_each_other_in_a_circle() -> None:
    seen: set[str] = set()
    waiting = dict(MAY_IMPORT)
    while waiting:
        free = [name for name, needs in waiting.items() if needs <= seen]
        assert free, f"circle among {sorted(waiting)}"
        seen.update(free)
        for name in free:
            del waiting[name]


def reachable(module: str) -> set[str]:
    """Modules that importing `module` imports at once."""
    found: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        if name in modules():
            todo += [i.module for i in imports(modules()[name])
                     if not i.inside_function and not i.for_types_only]
    return found


def test_the_keeper_imports_nothing_expensive() -> None:
    assert reachable(KEEPER) & NOT_IN_KEEPER == set()
