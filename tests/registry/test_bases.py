"""The images that builds begin with, for the platform that each stage is for."""

from __future__ import annotations

import gzip
import json
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.engine.bases import Bases
from orchestrator.engine.workspace import Choice
from orchestrator.errors import ImageError
from orchestrator.image.manifest import host_platform
from orchestrator.image.registry import crew
from tests.image.archives import config, layer
from tests.registry.conftest import Ground
from tests.registry.server import INDEX, MANIFEST

OTHER = "linux/s390x"
OWN = host_platform()


@pytest.fixture
def name(ground: Ground) -> str:
    """An image for this machine's platform and for another one."""
    entries = []
    for architecture in (OWN.architecture, "s390x"):
        data = layer((architecture, b"x"))
        document = {**json.loads(config([data])), "architecture": architecture}
        made = ground.registry.add("app", architecture, json.dumps(document).encode(),
                                   [gzip.compress(data)])  # fmt: skip
        size = len(ground.registry.manifests["app", architecture][1])
        entries.append({"mediaType": MANIFEST, "digest": made.digest, "size": size,
                        "platform": {"os": "linux", "architecture": architecture}})
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
    ground.registry.put("app", "1", INDEX, json.dumps(index).encode())
    return f"{ground.registry.host}/app:1"


@pytest.fixture
def bases(ground: Ground) -> Bases:
    return made(ground)


def made(ground: Ground) -> Bases:
    workspace: Any = SimpleNamespace(choice=Choice(environ=ground.environ))
    return Bases(workspace, ground.store, sink=ground.events.append, stop=crew.Stop())


def test_one_build_has_the_same_name_for_two_platforms(bases: Bases, name: str) -> None:
    assert bases.find(name).platform == str(OWN)
    assert bases.find(name, OTHER).platform == OTHER
    assert bases.find(name, str(OWN)).platform == str(OWN)
    assert bases.find(name, OTHER).platform == OTHER


def test_what_is_here_for_another_platform_is_pulled_for_this_one(
    ground: Ground, bases: Bases, name: str
) -> None:
    assert bases.find(name, OTHER).platform == OTHER
    later = made(ground)
    assert later.find(name).platform == str(OWN)
    ground.registry.log.clear()
    assert later.find(name).platform == str(OWN)
    assert ground.registry.log == []


def test_a_platform_that_there_is_no_image_for_is_told(bases: Bases, name: str) -> None:
    bases.find(name)
    with pytest.raises(ImageError, match=f"{name} is here for {OWN}, not for linux/mips64: .*no im"
                       "age for linux/mips64"):  # fmt: skip
        bases.find(name, "linux/mips64")
