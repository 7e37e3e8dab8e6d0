"""Stacks: all that one pytest process has up; names, makes and removes them.

Every stack has a project name that no other test, worker or run has, so nothing of it can meet
anything of another one.
"""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from orchestrator.testing.removals import Removals
from orchestrator.testing.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.testing.wish import Wish

KEY = pytest.StashKey["Stacks"]()
Node = pytest.Item | pytest.Collector


@dataclass(slots=True)
class Kept:
    """A stack and whom it belongs to."""

    stack: Stack
    wish: Wish
    node: Node
    """It lives as long as this one."""
    fixture: str
    """The one that made it."""


class Stacks:
    """The stacks of this process, by name."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._kept: dict[str, Kept] = {}
        self._worker = os.environ.get("PYTEST_XDIST_WORKER", "")
        self._run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or os.urandom(8).hex()
        self._timeout = float(config.getini("pcompose_timeout"))
        self._keep: float | None = config.getoption("pcompose_keep")
        self._removals = Removals()
        self._leaving: set[str] = set()
        """Names of those that are, or may be, on their way out."""
        self._has_begun = False

    def of(self, item: pytest.Item) -> Iterator[Kept]:
        """Those that the test could use: made for it or for what it is part of."""
        fixtures = set(getattr(item, "fixturenames", ()))
        above = set(item.listchain())
        for kept in self._kept.values():
            if kept.node in above and kept.fixture in fixtures:
                yield kept

    def get(self, wish: Wish, node: Node, *, fixture: str, again: bool = False) -> Stack:
        """The stack of the node that answers the wish, made where there is none yet; with `again`
        another one."""
        for kept in self._kept.values():
            if not again and kept.node is node and kept.wish == wish:
                return kept.stack
        number = 0
        while (name := self._name(wish, node, number)) in {*self._kept, *self._leaving}:
            number += 1
        return self._make(name, wish, node, fixture=fixture)

    def _name(self, wish: Wish, node: Node, number: int) -> str:
        """What is kept has the same name in the next run, and also when its text has changed; what
        is shared has the same one in all workers."""
        root = str(self._config.rootpath)
        is_shared = wish.share == "all"
        key = replace(wish, text="") if self._keep is not None and not is_shared else wish
        run = root if self._keep is not None else self._run
        text = "\0".join((run, "" if is_shared else self._worker, key.key(), node.nodeid,
                          str(number)))  # fmt: skip
        place = os.path.dirname(wish.files[0]) if wish.files else wish.directory
        word = re.sub("[^a-z0-9]+", "-", os.path.basename(place).lower()).strip("-")[:20]
        return f"pt-{word or 'stack'}-{sha256(text.encode()).hexdigest()[:10]}"

    def _make(self, name: str, wish: Wish, node: Node, *, fixture: str) -> Stack:
        from orchestrator.live import LiveProject
        from orchestrator.plan.policy import Terms, UpPolicy

        project = LiveProject(
            files=wish.files or ("-",), stdin=wish.text.encode(), name=name,
            directory=None if wish.files else wish.directory, profiles=wish.profiles,
            private=True, environ={**os.environ, **wish.env},
        )  # fmt: skip
        stack = Stack(project, default_timeout=self._timeout)
        self._kept[name] = Kept(stack, wish, node, fixture)
        self._begin(node.session)
        node.addfinalizer(lambda: self._remove(name))  # before anything is made
        terms = Terms(holder=os.getpid(), idle=self._keep, volumes=True)
        policy = UpPolicy(services=wish.services, ports=wish.ports, terms=terms, build="always")
        try:
            project.up(policy, wait=wish.wait, wait_timeout=self._timeout, sink=stack.hear)
        finally:
            self._removals.go_on()
        return stack

    def _begin(self, session: pytest.Session) -> None:
        """Once: enter an ordinary user's namespaces, remove what a run left that was killed
        together with all who would have tidied up, and have supervisors begin quickly."""
        if self._has_begun:
            return
        from orchestrator.live import enter_rootless, keep_warm, remove_stranded

        self._has_begun = True
        if os.geteuid():
            for word in enter_rootless():
                warnings.warn(word, stacklevel=1)
        keep_warm()
        session.addfinalizer(self._end)  # runs last: the first is the last
        remove_stranded()

    def _end(self) -> None:
        from orchestrator.live import let_cool

        try:
            self._removals.wait()
        finally:
            let_cool()

    def _remove(self, name: str) -> None:
        """Where no other worker has it and it is not to be kept, everything of it goes, its data
        too: nobody will look at it again."""
        kept = self._kept.pop(name)
        let_go = partial(kept.stack.project.let_go, holder=os.getpid())
        if self._keep is not None or kept.wish.share == "all":
            let_go()
            return
        self._leaving.add(name)
        kept.stack.project.stop(timeout=0)
        self._removals.begin(let_go, name=name)
