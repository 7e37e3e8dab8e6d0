"""Pushing to a registry, also over connections that break, and what comes back from there."""

from __future__ import annotations

import gzip
import json
import os
from typing import TYPE_CHECKING

import pytest

from orchestrator.engine.registries import open_session
from orchestrator.errors import ImageError, ImageNotFoundError, RegistryError
from orchestrator.image import archive, reference
from orchestrator.image.registry.push import Pushed, Pusher
from orchestrator.image.store import ImageStore
from tests.image.archives import docker_archive, layer
from tests.registry.server import FakeRegistry, Handler, sha

if TYPE_CHECKING:
    from tests.registry.conftest import Ground


def push(ground: Ground, text: str = "app:1", *, host: str = "") -> Pushed:
    with open_session(ground.environ) as session:
        session.transport._sleep = ground.slept.append
        wanted = reference.parse(f"{host or ground.registry.host}/{text}")
        return Pusher(ground.store, session, sink=ground.events.append).push(wanted)


def load(ground: Ground, *names: str, size: int = 1000) -> list[bytes]:
    """An image of two layers that no registry has seen."""
    layers = [layer(("a", os.urandom(size))), layer(("b", b"second"))]
    path = ground.path / "archive.tar"
    path.write_bytes(docker_archive({f"{ground.registry.host}/{name}": layers for name in names}))
    archive.load(ground.store, str(path))
    return layers


def manifest(ground: Ground, name: str = "app", tag: str = "1") -> dict[str, object]:
    found: dict[str, object] = json.loads(ground.registry.manifests[name, tag][1])
    return found


def test_what_is_pushed_is_whole_and_the_same_from_every_store(ground: Ground) -> None:
    layers = load(ground, "app:1")
    pushed = push(ground)
    found = manifest(ground)
    blobs = [ground.registry.blobs["app", entry["digest"]]
             for entry in found["layers"]]  # type: ignore[attr-defined]
    assert [gzip.decompress(blob) for blob in blobs] == layers
    assert found["config"]["digest"] == ground.store.resolve(  # type: ignore[index]
        f"{ground.registry.host}/app:1").id  # type: ignore[union-attr]
    other = ImageStore(str(ground.path / "other"))
    archive.load(other, str(ground.path / "archive.tar"))
    ground.store = other
    ground.registry.blobs.clear()
    assert push(ground).digest == pushed.digest == sha(ground.registry.manifests["app", "1"][1])


def test_nothing_is_sent_twice(ground: Ground) -> None:
    load(ground, "app:1", "app:2", "other:1")
    push(ground)
    ground.registry.log.clear()
    push(ground, "app:2")
    assert ground.registry.counted("POST") == 0
    push(ground, "other:1")
    mounts = [line for line in ground.registry.log if "mount=" in line]
    assert len(mounts) == 2
    assert all("from=app" in line for line in mounts)
    assert ground.registry.counted("PATCH") == 1  # its configuration


def test_a_registry_that_mounts_nothing_gets_what_it_needs(ground: Ground) -> None:
    load(ground, "app:1", "other:1")
    push(ground)
    ground.registry.has_mounts = False
    push(ground, "other:1")
    assert manifest(ground) == manifest(ground, "other")


def test_what_was_pulled_keeps_its_digest_wherever_it_goes(ground: Ground) -> None:
    made = ground.image(count=2, size=5000)
    image = ground.pull().image
    ground.store.tag(image.id, f"{ground.registry.host}/copy:1")
    assert push(ground, "copy:1").digest == made.digest
    with FakeRegistry() as other:
        ground.store.tag(image.id, f"{other.host}/far:1")
        assert push(ground, "far:1", host=other.host).digest == made.digest
        ground.registry.fault = lambda h: h.refuse(500, "UNKNOWN")
        ground.store.tag(image.id, f"{other.host}/far2:1")
        other.blobs.clear()
        other.has_mounts = False
        again = push(ground, "far2:1", host=other.host)
        assert again.digest != made.digest  # the blobs are gone for good, the content is not
        found = json.loads(other.manifests["far2", "1"][1])
        packed = [other.blobs["far2", entry["digest"]] for entry in found["layers"]]
        assert [gzip.decompress(b) for b in packed] == [gzip.decompress(b) for b in made.layers]


def test_an_upload_that_breaks_off_goes_on_where_it_was(ground: Ground) -> None:
    load(ground, "app:1", size=200_000)
    left = [2]

    def cut(handler: Handler) -> bool:
        if handler.command != "PATCH" or not left[0]:
            return False
        size = int(handler.headers["Content-Length"])
        if size < 50_000:
            return False
        left[0] -= 1
        id_ = handler.parts.path.rpartition("/")[2]
        ground.registry.uploads[id_] += handler.rfile.read(size // 3)
        handler.close_connection = True
        handler.connection.close()
        return True

    ground.registry.fault = cut
    push(ground)
    ranges = [h["Content-Range"] for h in ground.registry.seen if "Content-Range" in h]
    assert len(ranges) == 2
    assert not any(text.startswith("0-") for text in ranges)


def test_an_upload_that_is_forgotten_begins_anew(ground: Ground) -> None:
    load(ground, "app:1", size=100_000)
    left = [1]

    def forget(handler: Handler) -> bool:
        if handler.command == "PATCH" and left:
            left.clear()
            handler.body()
            ground.registry.uploads.pop(handler.parts.path.rpartition("/")[2])
            return handler.refuse(500, "UNKNOWN")
        return False

    ground.registry.fault = forget
    push(ground)
    assert len(ground.registry.blobs) == 3


def test_a_registry_that_takes_nothing_is_told_of(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.image.registry.upload.ATTEMPTS", 2)
    load(ground, "app:1")
    ground.registry.fault = lambda h: h.command == "PATCH" and bool(h.body()) and (
        h.refuse(503, "UNAVAILABLE"))
    with pytest.raises(RegistryError, match="does not take sha256:"):
        push(ground)
    ground.registry.fault = lambda h: h.command == "POST" and h.refuse(403, "DENIED", "read only")
    with pytest.raises(RegistryError, match="denied: read only") as failure:
        push(ground)
    assert "pcompose login" in (failure.value.hint or "")
    assert os.listdir(f"{ground.store.root}/tmp") == []


def test_a_push_needs_the_right_to_push(ground: Ground) -> None:
    load(ground, "app:1")
    ground.registry.auth = "token"
    with pytest.raises(RegistryError, match="401"):
        push(ground)
    directory = ground.path / "docker"
    directory.mkdir()
    entry = {ground.registry.host: {"username": "me", "password": "secret"}}
    (directory / "config.json").write_text(json.dumps({"auths": entry}))
    push(ground)
    assert manifest(ground)


def test_what_cannot_be_pushed_is_refused_before_anything_is_sent(ground: Ground) -> None:
    load(ground, "app:1")
    with pytest.raises(ImageNotFoundError, match=r"cannot push .*none:1: there is no image"):
        push(ground, "none:1")
    image = ground.store.resolve(f"{ground.registry.host}/app:1")
    assert image is not None
    with pytest.raises(ImageError, match="a digest is not chosen"):
        push(ground, f"app@{image.id}")
    assert ground.registry.log == []
