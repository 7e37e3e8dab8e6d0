"""Volumes are made once, and removed only where no container of any project names them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import StateError
from orchestrator.state import store, volumes
from orchestrator.state.layout import Layout
from tests.state.sample import container_record, volume_record


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(tmp_path / "data"), str(tmp_path / "run"))


def test_a_volume_is_made_once_and_keeps_its_data(layout: Layout) -> None:
    data = volumes.create(layout, volume_record(created_at=1.0))
    Path(data, "file").write_text("kept")
    volumes.create(layout, volume_record(created_at=2.0))
    assert Path(data, "file").read_text() == "kept"
    assert volumes.all_volumes(layout) == {"p_data": volume_record(created_at=1.0)}


def test_the_umask_does_not_close_a_volume(layout: Layout) -> None:
    former = os.umask(0o077)
    try:
        data = volumes.create(layout, volume_record())
    finally:
        os.umask(former)
    assert os.stat(data).st_mode & 0o777 == 0o755


def test_removal_leaves_nothing_and_may_be_repeated(layout: Layout) -> None:
    data = volumes.create(layout, volume_record())
    Path(data, "dir").mkdir()
    volumes.remove(layout, "p_data")
    volumes.remove(layout, "p_data")
    assert os.listdir(layout.volumes()) == []


@pytest.mark.parametrize("field", ["named_volumes", "anonymous_volumes"])
def test_a_volume_in_use_by_any_project_is_not_removed(layout: Layout, field: str) -> None:
    volumes.create(layout, volume_record())
    mounts: Any = {field: {"/d": "p_data"}}
    store.save_container(layout, container_record(project="q", **mounts))
    with pytest.raises(StateError, match="container q-web-1 uses it"):
        volumes.remove(layout, "p_data")
    assert "p_data" in volumes.all_volumes(layout)


def test_an_interrupted_removal_is_no_volume_and_its_data_never_comes_back(layout: Layout) -> None:
    data = volumes.create(layout, volume_record())
    Path(data, "file").write_text("old")
    os.rename(data, f"{layout.volume('p_data')}/.removed-abc")
    assert volumes.all_volumes(layout) == {}
    assert os.listdir(volumes.create(layout, volume_record())) == []
    assert sorted(os.listdir(layout.volume("p_data"))) == ["_data", "volume.json"]


def test_a_volume_that_lost_its_record_keeps_its_data(layout: Layout) -> None:
    data = volumes.create(layout, volume_record())
    Path(data, "file").write_text("kept")
    Path(layout.volume_record("p_data")).write_text("{")
    assert volumes.all_volumes(layout) == {}
    volumes.create(layout, volume_record())
    assert os.listdir(data) == ["file"]
    assert "p_data" in volumes.all_volumes(layout)
