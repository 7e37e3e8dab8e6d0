"""volumes_from and images as mounts, and the platform of an image, by value."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.engine import images, lending, platforms
from orchestrator.engine.mounting import Lent, mounting
from orchestrator.errors import SpecError
from orchestrator.image import platform
from orchestrator.image.config import Platform
from orchestrator.plan.actions import CreateContainer
from orchestrator.runtime.spec import Mount
from orchestrator.spec.model import Service, VolumeMount, VolumesFrom
from orchestrator.state.observed import Observed
from tests.engine.world import LAYOUT, project, resolved, service


def record(name: str, *, of: str, index: int = 1, **said: Any) -> Any:
    spec = resolved(service(name=of, volumes=(
        VolumeMount(type="bind", source="/src", target="/b"),
        VolumeMount(type="tmpfs", source=None, target="/t"),
    )))  # fmt: skip
    return SimpleNamespace(name=name, service=of, index=index, oneoff=False, spec=spec.to_json(),
                           anonymous_volumes={"/a": "anon"}, named_volumes={}, **said)


def mounted(borrower: Service, **options: Any) -> Any:
    return mounting(borrower, project=project(borrower), layout=LAYOUT, image_volumes=(),
                    inherited={}, new_name=lambda: "new", **options)


def test_what_is_lent_comes_after_the_services_own_and_is_as_writable_as_it_says() -> None:
    lent = Lent(
        mounts=(Mount(type="volume", target="/a", source="/v"), Mount(type="tmpfs", target="/t"),
                Mount(type="bind", target="/own", source="/theirs")),
        volumes={"/a": "anon"}, read_only=True,
    )  # fmt: skip
    own = VolumeMount(type="bind", source="/mine", target="/own")
    found = mounted(service(volumes=(own,)), lent=(lent,))
    assert [(m.target, m.source, m.read_only) for m in found.mounts] == [
        ("/own", "/mine", False), ("/a", "/v", True)]  # fmt: skip
    assert found.named == {"/a": "anon"}
    assert found.anonymous == {}


def test_the_lender_is_the_first_replica_that_is_made_or_there() -> None:
    borrower = service(volumes_from=(VolumesFrom(service="db", read_only=True),
                                     VolumesFrom(container="other")))
    created = [record("p-db-2", of="db", index=2), record("p-db-1", of="db")]
    (one, two) = lending.lent(borrower, project=project(borrower), created=created,
                              observed=Observed(project=None),
                              foreign={"other": record("other", of="x")})  # fmt: skip
    assert [m.target for m in one.mounts] == ["/b", "/t"]
    assert (one.read_only, two.read_only) == (True, False)
    assert one.volumes == {"/a": "anon"}
    with pytest.raises(SpecError, match="service db has no container"):
        lending.lent(borrower, project=project(borrower), created=[],
                     observed=Observed(project=None), foreign={})


def test_lenders_are_made_before_borrowers() -> None:
    whole = project(
        service(name="a", volumes_from=(VolumesFrom(service="b"),)),
        service(name="b", volumes_from=(VolumesFrom(service="c"),)), service(name="c"),
    )  # fmt: skip
    creating = [CreateContainer(subject=f"p-{n}-1", service=n, index=1) for n in ("a", "b", "c")]
    assert [a.service for a in lending.in_order(creating, whole)] == ["c", "b", "a"]


def test_an_image_is_mounted_with_its_layers_and_its_id_is_part_of_the_service() -> None:
    made = service(volumes=(VolumeMount(type="image", source="img2", target="/i", subpath="s"),))
    (mount,) = mounted(made, image_layers={0: ("/top", "/low")}).mounts
    assert (mount.type, mount.layers, mount.subpath, mount.read_only) == (
        "image", ("/top", "/low"), "s", True)  # fmt: skip
    assert images.uses(made)["web/volumes/0"].reference == "img2"
    known: Any = {"web/volumes/0": SimpleNamespace(id="sha256:1")}
    assert images.digested(project(made), known).services["web"].volumes[0].digest == "sha256:1"


@pytest.mark.parametrize(
    ("said", "has", "message"),
    [
        (None, "linux/amd64", ""), ("linux/amd64", "linux/amd64", ""), ("amd64", "linux/amd64", ""),
        ("linux", "linux/amd64", ""), ("linux/x86_64", "linux/amd64", ""),
        ("linux/arm64", "linux/amd64", "not for linux/arm64"),
        ("windows/amd64", "linux/amd64", "not for windows/amd64"),
        ("linux/arm/v7", "linux/arm/v6", "not for linux/arm/v7"),
        (None, "linux/sparc64", "is for linux/sparc64, this machine"),
    ],
)  # fmt: skip
def test_an_image_for_another_platform_is_refused(
    said: str | None, has: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "host_platform", Platform)
    made = service(platform=said)
    known: Any = {"web": SimpleNamespace(platform=has)}
    if not message:
        platforms.check(project(made), ["web"], known)
        return
    with pytest.raises(SpecError, match=message):
        platforms.check(project(made), ["web"], known)
