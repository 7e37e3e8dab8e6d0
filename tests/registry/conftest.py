"""A registry in memory, a store, and a session between them."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import pytest

from orchestrator import events
from orchestrator.engine.registries import open_session
from orchestrator.image import reference
from orchestrator.image.registry.pull import Pulled, Puller, Wanted
from orchestrator.image.store import ImageStore
from tests.image.archives import config, layer
from tests.registry.server import FakeRegistry, Made

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Ground:
    """What the tests of this directory stand on."""

    def __init__(self, path: Path, registry: FakeRegistry) -> None:
        self.path, self.registry = path, registry
        self.store = ImageStore(str(path / "images"))
        self.events: list[events.Event] = []
        self.environ = {"DOCKER_CONFIG": str(path / "docker"), "XDG_CONFIG_HOME": str(path),
                        "PATH": os.environ["PATH"]}  # fmt: skip

    def image(self, name: str = "app", tag: str = "1", *, count: int = 2, size: int = 1) -> Made:
        """An image of `count` layers with a file of `size` random bytes each."""
        layers = [layer((f"file{n}", os.urandom(size))) for n in range(count)]
        blobs = [gzip.compress(data, 1) for data in layers]
        return self.registry.add(name, tag, config(layers, Cmd=["/sh"]), blobs)

    def pull(self, text: str = "app:1", *, host: str = "", platform: object = None) -> Pulled:
        """Pull `text` from the registry of the tests (or another host)."""
        with open_session(self.environ) as session:
            session.transport._sleep = lambda seconds: self.slept.append(seconds)
            wanted = Wanted(reference=reference.parse(f"{host or self.registry.host}/{text}"),
                            platform=platform)  # type: ignore[arg-type]
            return Puller(self.store, session, sink=self.events.append).pull(wanted)

    slept: list[float]


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as server:
        yield server


@pytest.fixture
def ground(tmp_path: Path, registry: FakeRegistry) -> Ground:
    found = Ground(tmp_path, registry)
    found.slept = []
    return found
