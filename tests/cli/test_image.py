"""`pcompose image` on a store: what is listed, shown and removed."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from orchestrator.cli.main import main
from orchestrator.image import archive
from orchestrator.image.store import ImageStore
from tests.image.archives import docker_archive, layer


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageStore:
    """app:1 (and app:2) with a label, and an image without a name."""
    monkeypatch.setenv("PCOMPOSE_DATA", str(tmp_path))
    found = ImageStore(str(tmp_path / "images"))
    for name, labels in (("app:1", {"kept": "yes"}), ("gone:1", {})):
        data = docker_archive({name: [layer((name[:3], b"x"))]}, Labels=labels)
        archive.load(found, io.BytesIO(data))
    found.tag("app:1", "app:2")
    found.untag("gone:1")
    return found


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["image", *words]) == 0
    return capsys.readouterr().out


def test_the_list_is_filtered_and_shaped(
    store: ImageStore, capsys: pytest.CaptureFixture[str]
) -> None:
    heads = printed(capsys, "ls", "--digests").splitlines()
    assert heads[0].split() == ["REPOSITORY", "TAG", "DIGEST", "PLATFORM", "IMAGE", "ID", "SIZE",
                                "CREATED"]  # fmt: skip
    assert len(heads) == 4
    form = ["--format", "{{.Repository}}:{{.Tag}}"]
    assert printed(capsys, "ls", *form, "--filter", "dangling=true") == "<none>:<none>\n"
    assert printed(capsys, "ls", "app:2", *form) == "app:2\n"
    assert printed(capsys, "ls", *form, "--filter", "label=kept") == "app:1\napp:2\n"
    assert printed(capsys, "ls", *form, "--filter", "until=2000-01-01T00:00:00Z") == ""
    [id_] = {image.id for image in store.images() if image.references}
    assert id_ in printed(capsys, "ls", "app", "--no-trunc")
    assert json.loads(printed(capsys, "ls", "app:1", "--format", "json"))[0]["ID"] == id_


def test_an_image_and_its_history_are_shown_in_any_form(
    store: ImageStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed(capsys, "inspect", "app:1", "--format", "{{.Config.Labels.kept}}") == "yes\n"
    assert json.loads(printed(capsys, "inspect", "app:1"))[0]["RepoTags"] == ["app:1", "app:2"]
    sizes = ("history", "app:1", "--format", "{{.Size}}")
    assert printed(capsys, *sizes) == "1\n"
    assert "1B" in printed(capsys, "history", "app:1")
    assert printed(capsys, "history", "app:1", "--human=false").splitlines()[1].split()[-1] == "1"


def test_only_what_fits_is_pruned(store: ImageStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert "reclaimed space: 0B" in printed(capsys, "prune", "-f", "--filter", "label=kept")
    printed(capsys, "prune", "-af", "--filter", "until=2000-01-01T00:00:00Z")
    assert len(store.images()) == 2
    printed(capsys, "prune", "-af", "--filter", "until=24h", "--filter", "label!=kept")
    assert [image.references for image in store.images()] == [("app:1", "app:2")]
    assert main(["image", "prune", "-f", "--filter", "before=app:1"]) == 1
    assert "invalid --filter 'before=app:1'" in capsys.readouterr().err
    printed(capsys, "prune", "-af")
    assert store.images() == []
