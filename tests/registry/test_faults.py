"""Debian's docker-registry behind a proxy that has every fault of a network: what is pulled and
pushed gets through, or there is one error; the store stays whole, and the next one does the rest.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator import events
from orchestrator.engine.registries import open_session
from orchestrator.errors import ImageError
from orchestrator.image import archive, reference
from orchestrator.image.registry import transport
from orchestrator.image.registry.pull import Puller, Wanted
from orchestrator.image.registry.push import Pusher
from orchestrator.image.store import Image, ImageStore
from tests.e2e.sandbox import eventually
from tests.image.archives import docker_archive, layer
from tests.registry.faultproxy import FaultProxy, planned

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(shutil.which("docker-registry") is None,
                                reason="needs the Debian package docker-registry")  # fmt: skip
SEEDS = int(os.environ.get("PCOMPOSE_FAULTS", "4"))
"""Of either kind; each takes a second or two."""
CONFIG = """
version: 0.1
log: {accesslog: {disabled: true}, level: error}
storage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}
http: {net: unix, addr: %s, relativeurls: true}
"""


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultProxy]:
    directory = tmp_path_factory.mktemp("registry")
    address = f"{directory}/socket"
    (directory / "config.yml").write_text(CONFIG % (directory / "data", address))
    process = subprocess.Popen(["docker-registry", "serve", str(directory / "config.yml")],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip

    def answers() -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(address) == 0

    try:
        eventually(answers, timeout=60, what="the registry answers")
        with FaultProxy(address) as found:
            yield found
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Patience of a moment for what stalls; a fault that takes longer is no less of one."""
    for name in ("CONNECT_TIMEOUT", "IDLE_TIMEOUT"):
        monkeypatch.setattr(transport, name, 1.5)
    return {"DOCKER_CONFIG": str(tmp_path / "docker"), "XDG_CONFIG_HOME": str(tmp_path)}


def pull(store: ImageStore, name: str, environ: dict[str, str]) -> Image:
    with open_session(environ) as session:
        session.transport._sleep = lambda seconds: None
        puller = Puller(store, session, sink=events.ignore)
        return puller.pull(Wanted(reference=reference.parse(name))).image


def push(store: ImageStore, name: str, environ: dict[str, str]) -> str:
    with open_session(environ) as session:
        session.transport._sleep = lambda seconds: None
        return Pusher(store, session, sink=events.ignore).push(reference.parse(name)).digest


def made(path: Path, name: str, chance: random.Random) -> ImageStore:
    """A store with an image of three layers that do not compress."""
    store = ImageStore(str(path))
    data = docker_archive({name: [layer((f"f{n}", chance.randbytes(80_000))) for n in range(3)]})
    (path.parent / "archive").write_bytes(data)
    archive.load(store, str(path.parent / "archive"))
    return store


def check(store: ImageStore) -> None:
    """Nothing half-made is there, and what is there is what it is said to be."""
    eventually(lambda: os.listdir(f"{store.root}/tmp") == [], timeout=60)
    for image in store.images():
        for one in store.layers(image):
            assert sum(map(len, store.read_layer(one.diff_id)))


def disturb(proxy: FaultProxy, chance: random.Random) -> None:
    proxy.faults = planned(chance, most=8)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_pull_gets_through_or_the_next_one_does(
    proxy: FaultProxy, tmp_path: Path, environ: dict[str, str], seed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    chance = random.Random(seed)
    name = f"{proxy.host}/pulled{seed}:1"
    source = made(tmp_path / "source", name, chance)
    push(source, name, environ)
    store = ImageStore(str(tmp_path / "images"))
    for _ in range(3):
        disturb(proxy, chance)
        with suppress(ImageError):
            pull(store, name, environ)
        proxy.heal()
        check(store)
    monkeypatch.undo()
    assert pull(store, name, environ).id == source.images()[0].id
    check(store)
    assert os.listdir(f"{store.root}/downloads") == []


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_push_gets_through_or_the_next_one_does(
    proxy: FaultProxy, tmp_path: Path, environ: dict[str, str], seed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    chance = random.Random(100 + seed)
    name = f"{proxy.host}/pushed{seed}:1"
    store = made(tmp_path / "source", name, chance)
    for _ in range(2):
        disturb(proxy, chance)
        with suppress(ImageError):
            push(store, name, environ)
        proxy.heal()
        check(store)
    monkeypatch.undo()
    digest = push(store, name, environ)
    other = ImageStore(str(tmp_path / "images"))
    assert pull(other, name, environ).id == store.images()[0].id
    assert pull(other, f"{name}@{digest}", environ).id == store.images()[0].id
