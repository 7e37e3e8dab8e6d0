"""Caches that travel as images."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.build import sharing
from orchestrator.engine import caching
from orchestrator.engine.buildrun import BuildRunner
from orchestrator.errors import ImageError
from orchestrator.image import archive, saving
from orchestrator.image.steps import Step, StepRecords
from orchestrator.image.store import ImageStore
from tests.build.ground import Ground
from tests.image.archives import config, layer

DOCKERFILE = "FROM base AS a\nRUN echo 1 > /one; chmod 600 /one\nFROM base\nCOPY --from=a /one /\n"


@pytest.fixture
def grounds(tmp_path: Path) -> Iterator[tuple[Ground, Ground]]:
    """Two machines with the same base image."""
    with BuildRunner() as runner:
        made = []
        for name in ("here", "there"):
            (tmp_path / name).mkdir()
            ground = Ground(tmp_path / name, runner)
            ground.add_base()
            made.append(ground)
        yield made[0], made[1]


@pytest.mark.kernel
def test_steps_of_one_machine_are_steps_of_another(grounds: tuple[Ground, Ground]) -> None:
    here, there = grounds
    first = here.build(DOCKERFILE, date=0)
    steps = {key: step for key, step, _ in StepRecords(here.store.root).all()}
    cache = sharing.image_of(here.store, steps)
    data = io.BytesIO()
    saving.save(here.store, [cache.id], data.write)
    archive.load(there.store, io.BytesIO(data.getvalue()))
    brought = there.store.resolve(cache.id)
    assert brought is not None
    assert sharing.adopt(there.store, brought) == len(steps) == 2
    assert sharing.adopt(there.store, brought) == 0
    there.store.remove(cache.id)
    assert there.build(DOCKERFILE, date=0).id == first.id
    assert [status for _, status in there.statuses()] == ["Cached", "Cached"]


@pytest.mark.parametrize(
    "said",
    ["", "[]", "{", '{"x": {}}', json.dumps({"a" * 64: {"diff_id": "sha256:" + "0" * 64}}),
     json.dumps({"a" * 64: 1}), json.dumps({"../../x": {"text": "a"}}),
     json.dumps({"a" * 64: {"diff_id": 1}})],
)  # fmt: skip
def test_a_cache_that_makes_no_sense_is_refused(tmp_path: Path, said: str) -> None:
    store = ImageStore(str(tmp_path / "images"))
    data = layer(("a", b"b"))
    with store.adding():
        made = store.add_layer(None, lambda directory: _unpacked(data, directory))
        image = store.add_image(config([data], Labels={sharing.LABEL: said}), [made])
    with pytest.raises(ImageError):
        sharing.adopt(store, image)
    assert list(StepRecords(store.root).all()) == []


def _unpacked(data: bytes, directory: str) -> tuple[str, int]:
    from orchestrator.image import layers

    return layers.unpack(io.BytesIO(data), directory)


def test_only_what_an_image_has_is_within_it() -> None:
    def step(diff_id: str) -> Step:
        return Step(diff_id=diff_id, name="n", size=1, created=0.0, text="RUN")

    steps = {"a": step("sha256:1"), "b": step("sha256:2"), "c": step("")}
    assert set(sharing.within(steps, ("sha256:1",))) == {"a", "c"}
    assert "name" not in json.loads(sharing.label(steps))["a"]


@pytest.mark.parametrize(
    ("text", "to", "expected"),
    [
        ("type=local,dest=d,mode=max", True, {"kind": "local", "place": "/p/d", "is_whole": True}),
        ("type=local,src=/d", False, {"kind": "local", "place": "/d"}),
        ("type=registry,ref=a/b,ignore-error=true", True,
         {"kind": "registry", "place": "a/b:latest", "is_lenient": True}),
        ("app", False, {"kind": "registry", "place": "app:latest"}),
        ("type=inline", True, {"kind": "inline"}),
    ],
)  # fmt: skip
def test_where_caches_are(text: str, to: bool, expected: dict[str, Any]) -> None:
    found = caching.parse(text, to=to, directory="/p")
    assert found == caching.Exchange(**expected)


@pytest.mark.parametrize(
    ("text", "to"),
    [("type=gha", True), ("type=inline", False), ("type=local,src=d", True), ("type=s3", False),
     ("type=registry", True), ("type=local,dest=d,mode=some", True), ("UPPER", False),
     ("type=local,dest=d,x=1", True)],
)  # fmt: skip
def test_what_is_no_cache_is_refused(text: str, to: bool) -> None:
    with pytest.raises(ValueError, match=r"cache|mode|needs|reference"):
        caching.parse(text, to=to, directory="/p")
