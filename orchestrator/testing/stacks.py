"""Stacks: all that one pytest process has up; names, makes and removes them.

Every stack has a project name that no other test, worker or run has, so nothing of it can meet
anything of another one.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

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
    scratch: str | None
    """Holds the file that its text was written to."""


class Stacks:
    """The stacks of this process, by name."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._kept: dict[str, Kept] = {}
        self.worker = os.environ.get("PYTEST_XDIST_WORKER", "")
        run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or os.urandom(8).hex()
        self._salt = f"{run} {self.worker}"
        self._timeout = float(config.getini("pcompose_timeout"))

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
        number = 0
        while (name := self._name(wish, node, number)) in self._kept:
            if not again:
                return self._kept[name].stack
            number += 1
        return self._make(name, wish, node, fixture=fixture)

    def _name(self, wish: Wish, node: Node, number: int) -> str:
        source = wish.files[0] if wish.files else node.path.name
        stem = os.path.basename(os.path.dirname(source) if wish.files else source)
        word = re.sub("[^a-z0-9]+", "-", stem.lower().removesuffix(".py")).strip("-")[:20]
        text = "\0".join((self._salt, wish.key(), node.nodeid, str(number)))
        return f"pt-{word or 'stack'}-{sha256(text.encode()).hexdigest()[:10]}"

    def _make(self, name: str, wish: Wish, node: Node, *, fixture: str) -> Stack:
        from orchestrator.live import LiveProject
        from orchestrator.plan.policy import UpPolicy

        files, scratch = wish.files, None
        if not files:
            scratch = tempfile.mkdtemp(prefix="pcompose-")
            files = (os.path.join(scratch, "compose.yaml"),)
            with open(files[0], "w", encoding="utf-8") as file:
                file.write(wish.text)
        project = LiveProject(
            files=files, name=name, private=True, profiles=wish.profiles,
            directory=None if wish.files else wish.directory,
            environ={**os.environ, **wish.env},
        )  # fmt: skip
        stack = Stack(project, default_timeout=self._timeout)
        self._kept[name] = Kept(stack, wish, node, fixture, scratch)
        node.addfinalizer(lambda: self._remove(name))  # before anything is made
        policy = UpPolicy(services=wish.services, ports=wish.ports)
        project.up(policy, wait=wish.wait, wait_timeout=self._timeout, sink=stack.hear)
        return stack

    def _remove(self, name: str) -> None:
        """Everything of it is gone, its data too: nobody will look at it again."""
        from orchestrator.plan.policy import DownPolicy

        kept = self._kept.pop(name)
        try:
            policy = DownPolicy(volumes=True, remove_orphans=True, timeout=0)
            kept.stack.project.down(policy)
        finally:
            if kept.scratch is not None:
                shutil.rmtree(kept.scratch, ignore_errors=True)
