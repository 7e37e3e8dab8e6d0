"""The pytest plugin: options, the marker, fixtures, and the section in the report of a failed test.

Importing it loads pytest and the standard library only; pcompose itself is loaded with the first
stack.  What a stack offers is in `stack.py`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import pytest

from orchestrator.testing import report as reports
from orchestrator.testing import wish as wishes
from orchestrator.testing.stacks import KEY, Stacks

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Generator, Mapping, Sequence

    from orchestrator.testing.stack import Service, Stack
    from orchestrator.testing.wish import Ports, Scope

BEGUN = pytest.StashKey[float]()
MARKER = (
    "compose(file, *, text, services, profiles, env, ports, wait, scope, share): the Compose stack "
    "of this test: a file or a text, with these services; scope function, class, module, package "
    "or session; share all or worker"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Flags, and lines of the ini file."""
    group = parser.getgroup("pcompose", "Compose stacks as fixtures")
    group.addoption("--pcompose-file", action="append", default=[], metavar="FILE",
                    help="Compose file of tests that name none; may be repeated")
    group.addoption("--pcompose-scope", choices=wishes.SCOPES, default=None,
                    help="scope of the fixture compose_project (default: function)")
    group.addoption("--pcompose-ports", choices=("auto", "none", "fixed"), default=None,
                    help="host ports: as written but another where one is taken, none, as written")
    group.addoption("--pcompose-keep", metavar="TIME", type=wishes.seconds, default=None,
                    help="leave the stacks for the next run, until unused for so long (30m)")
    group.addoption("--pcompose-artifacts", metavar="DIR", default=None,
                    help="keep logs and states of the stacks of failed tests here")  # fmt: skip
    parser.addini("pcompose_file", "Compose files of tests that name none", "args", [])
    parser.addini("pcompose_scope", "scope of the fixture compose_project", default="function")
    parser.addini("pcompose_ports", "host ports: auto, none or fixed", default="auto")
    parser.addini("pcompose_timeout", "seconds a stack may take to become ready", default="60")


def pytest_configure(config: pytest.Config) -> None:
    """The marker, and where the stacks are kept."""
    config.addinivalue_line("markers", MARKER)
    config.stash[KEY] = Stacks(config)


def _scope(fixture_name: str, config: pytest.Config) -> Scope:
    said = config.getoption("pcompose_scope") or config.getini("pcompose_scope")
    if said not in wishes.SCOPES:
        raise pytest.UsageError(f"pcompose_scope is one of {', '.join(wishes.SCOPES)}: {said!r}")
    return cast("Scope", said)


# ---- fixtures ----


@pytest.fixture(scope=_scope)
def compose_project(request: pytest.FixtureRequest) -> Stack:
    """The stack that the marker or the ini file names; up and ready, removed at the end."""
    scope = _scope("", request.config)
    wish, wanted = wishes.of_marker(request.node, scope=scope)
    return _stacks(request).get(wish, _ancestor(request.node, wanted), fixture="compose_project")


@pytest.fixture(scope=_scope)
def compose_services(compose_project: Stack) -> Mapping[str, Service]:
    """The services of compose_project by name."""
    return compose_project.services


@pytest.fixture
def compose_reset(compose_project: Stack) -> Stack:
    """compose_project with the data of its last snapshot; the first test that asks takes one,
    where nobody has.  For a stack that several tests share."""
    compose_project.reset()
    return compose_project


class ComposeUp(Protocol):
    """The factory that the fixture `compose_up` gives."""

    def __call__(
        self, *, file: str | os.PathLike[str] | None = None, text: str = "",
        services: Sequence[str] = (), env: Mapping[str, str] | None = None,
        profiles: Sequence[str] = (), wait: bool | Mapping[str, Mapping[str, Any]] = True,
        ports: Ports | None = None,
    ) -> Stack:  # fmt: skip
        """Bring another stack up; it is removed with the test."""


@pytest.fixture
def compose_up(request: pytest.FixtureRequest) -> ComposeUp:
    """Makes stacks from a file or a text."""
    def bring_up(
        *, wait: bool | Mapping[str, Mapping[str, Any]] = True, **said: Any
    ) -> Stack:
        wish = wishes.make(request.node, wait=wait is not False, **said)
        stack = _stacks(request).get(wish, request.node, fixture="compose_up", again=True)
        await_all(stack, wait)
        return stack

    return bring_up


def await_all(stack: Stack, wait: bool | Mapping[str, Mapping[str, Any]]) -> None:
    """What is waited for besides the health checks: service -> conditions of `wait_for`."""
    if not isinstance(wait, bool):
        for service, conditions in wait.items():
            stack.wait_for(service, **conditions)


def compose_fixture(
    file: str | os.PathLike[str] | None = None, *, scope: Scope = "session",
    name: str | None = None, wait: bool | Mapping[str, Mapping[str, Any]] = True, **said: Any,
) -> Callable[..., Stack]:  # fmt: skip
    """A fixture of one's own, for a conftest.py: `db = compose_fixture("db.yaml", scope="module")`.
    The words are those of `compose_up`."""
    @pytest.fixture(scope=scope, name=name)
    def stack(request: pytest.FixtureRequest) -> Stack:
        wish = wishes.make(request.node, file=file, wait=wait is not False, **said)
        made = _stacks(request).get(wish, request.node, fixture=request.fixturename or "")
        await_all(made, wait)
        return made

    return stack


def _stacks(request: pytest.FixtureRequest) -> Stacks:
    return request.config.stash[KEY]


_NODES: Mapping[str, type[Any]] = {
    "class": pytest.Class, "module": pytest.Module, "package": pytest.Package,
    "session": pytest.Session,
}  # fmt: skip


def _ancestor(node: Any, scope: Scope) -> Any:  # an Item or a Collector
    """What the stack lives as long as; as pytest does, a test without a class has its module."""
    for wider in wishes.SCOPES[wishes.SCOPES.index(scope) :]:
        found = node.getparent(_NODES[wider]) if wider in _NODES else node
        if found is not None:
            return found
    return node.session


# ---- what pytest tells ----


def pytest_itemcollected(item: pytest.Item) -> None:
    """A marker alone is enough: the fixture need not be named."""
    names = getattr(item, "fixturenames", None)
    if names is not None and item.get_closest_marker("compose") and "compose_project" not in names:
        names.append("compose_project")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """The test begins: output from here on is its own."""
    item.stash[BEGUN] = time.time()
    marker = item.get_closest_marker("compose")
    if marker is None or item.own_markers.count(marker) == 0:
        return
    scope = _scope("", item.config)
    if scope != "function":
        raise pytest.UsageError(
            f"{item.nodeid}: compose_project has scope {scope!r} and cannot see the compose marker "
            "of a test; mark the module or the class, or leave the scope to the marker"
        )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, Any, None]:  # a pluggy Result
    """Says of a failed test what its stacks were doing."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    if not report.failed:
        return
    since = item.stash.get(BEGUN, 0.0)
    for kept in item.config.stash[KEY].of(item):
        report.sections.append((f"pcompose {kept.stack.name}", _told(item, kept.stack, since)))


def _told(item: pytest.Item, stack: Stack, since: float) -> str:
    directory = item.config.getoption("pcompose_artifacts")
    try:
        text = reports.section(stack, since=since)
        if directory is not None:
            place = reports.keep(stack, Path(directory), since=since, nodeid=item.nodeid)
            text += f"\nkept in {place}"
    except Exception as exc:  # the report of the test is worth more than ours
        return f"cannot tell: {type(exc).__name__}: {exc}"
    return text
