"""The images of a whole project: what is wrong with one is told, and concerns no other one."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.api import Project
from orchestrator.engine import interruption
from orchestrator.errors import ImageError
from orchestrator.events import Event, Progress, Warned
from orchestrator.image.store import ImageStore
from tests.registry.server import sha
from tests.registry.test_pull import several

if TYPE_CHECKING:
    from tests.registry.conftest import Ground

FILE = """services:
  good: {image: HOST/good:1}
  again: {image: HOST/good:1}
  bad: {image: HOST/bad:1}
  gone: {image: HOST/gone:1}
"""


@pytest.fixture
def project(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> Project:
    """good:1 is whole, a layer of bad:1 is not what it is said to be, gone:1 is nowhere."""
    monkeypatch.setenv("PCOMPOSE_DATA", str(ground.path))
    ground.image("good", count=3, size=100_000)
    made = ground.image("bad")
    ground.registry.fault = lambda h: sha(made.layers[0]) in h.path and h.answer(200, b"x" * 999)
    (ground.path / "compose.yaml").write_text(FILE.replace("HOST", ground.registry.host))
    return Project(files=[str(ground.path / "compose.yaml")], environ=ground.environ)


def names(path: Path) -> list[str]:
    return sorted(n for image in ImageStore(str(path)).images() for n in image.references)


def test_all_faults_are_told_with_their_places_and_the_others_are_pulled(
    ground: Ground, project: Project
) -> None:
    events: list[Event] = []
    with pytest.raises(ImageError) as failure:
        project.pull(sink=events.append)
    lines = sorted(str(failure.value).splitlines())
    assert [line.partition(": ")[0] for line in lines] == ["compose.yaml:4:9", "compose.yaml:5:10"]
    assert lines[0].endswith("(for service bad)")
    assert names(ground.path / "images") == [f"{ground.registry.host}/good:1"]
    assert ground.registry.counted("GET /v2/good/manifests/") == 1
    ends = {e.name.rpartition("/")[2]: e.text for e in events
            if isinstance(e, Progress) and e.status != "Working"}  # fmt: skip
    assert ends == {"good:1": "Pulled", "bad:1": "Error", "gone:1": "Error"}


def test_a_service_gets_the_image_of_its_platform(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PCOMPOSE_DATA", str(ground.path))
    ids = several(ground)
    image = f"{ground.registry.host}/app:all"
    (ground.path / "compose.yaml").write_text(
        f"services: {{a: {{image: '{image}', platform: linux/arm64/v8}}}}\n")
    files = [str(ground.path / "compose.yaml")]
    Project(files=files, environ=ground.environ).pull()
    assert [i.id for i in ground.store.images()] == [ids["arm64"]]
    (ground.path / "compose.yaml").write_text(f"services: {{a: {{image: '{image}'}}}}\n")
    environ = {**ground.environ, "DOCKER_DEFAULT_PLATFORM": "linux/amd64"}
    Project(files=files, environ=environ).pull()
    found = ground.store.resolve(image)
    assert found is not None
    assert found.id == ids["amd64"]


def test_faults_that_are_to_be_ignored_are_warnings(ground: Ground, project: Project) -> None:
    events: list[Event] = []
    project.pull(ignore_failures=True, sink=events.append)
    assert sum(isinstance(event, Warned) for event in events) == 2
    assert names(ground.path / "images") == [f"{ground.registry.host}/good:1"]


def test_what_is_here_is_not_asked_for_again(ground: Ground, project: Project) -> None:
    project.pull(["good"])
    ground.registry.log.clear()
    project.pull(["good", "again"], policy="missing")
    assert ground.registry.log == []


def test_a_build_that_waits_for_a_silent_registry_can_be_ended(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PCOMPOSE_DATA", str(ground.path))
    asked, over = threading.Event(), threading.Event()

    def silent(_: object) -> bool:
        asked.set()
        return over.wait(120)

    ground.registry.fault = silent
    (ground.path / "Dockerfile").write_text(f"FROM {ground.registry.host}/app:1\nRUN true\n")
    (ground.path / "compose.yaml").write_text("services: {app: {image: mine, build: .}}\n")
    project = Project(files=[str(ground.path / "compose.yaml")], environ=ground.environ)
    interrupt, ends = interruption.Interrupt(), []

    def build() -> None:
        with interruption.ended_by(interrupt):
            try:
                project.build()
            except BaseException as exc:
                ends.append(type(exc))

    thread = threading.Thread(target=build)
    thread.start()
    assert asked.wait(60)
    interrupt.set()
    thread.join(60)
    assert ends == [interruption.Interrupted]
    assert not over.is_set()
    over.set()
    interrupt.close()
