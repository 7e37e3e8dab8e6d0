"""The store of secrets and configs, and what containers were made with."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from orchestrator.errors import StateError
from orchestrator.state import material
from orchestrator.state.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(tmp_path / "data"), str(tmp_path / "run"))


def test_what_is_created_is_listed_read_and_removed(layout: Layout) -> None:
    directory = layout.secrets()
    material.create(directory, "b", b"two\0")
    material.create(directory, "a.txt", b"")
    assert [(e.name, e.size) for e in material.entries(directory)] == [("a.txt", 0), ("b", 4)]
    assert material.read(directory, "b") == b"two\0"
    assert material.remove(directory, "b")
    assert not material.remove(directory, "b")
    assert material.read(directory, "b") is None


def test_an_entry_is_for_its_owner_only_and_never_written_over(layout: Layout) -> None:
    old = os.umask(0)
    try:
        material.create(layout.configs(), "a", b"one")
    finally:
        os.umask(old)
    path = Path(layout.configs(), "a")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with pytest.raises(StateError, match="a is there already"):
        material.create(layout.configs(), "a", b"two")
    assert path.read_bytes() == b"one"
    assert os.listdir(path.parent) == ["a"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", ".new.1", "-rf", "a\0", "ü"])
def test_a_name_leads_nowhere_else(layout: Layout, name: str) -> None:
    with pytest.raises(StateError, match="cannot be the name"):
        material.create(layout.secrets(), name, b"x")
    assert material.read(layout.secrets(), name) is None
    assert not material.remove(layout.secrets(), name)


def test_a_content_is_kept_once_and_until_nobody_uses_it(layout: Layout) -> None:
    one = material.keep(layout, "p", b"one")
    assert material.keep(layout, "p", b"one") == one
    two = material.keep(layout, "p", b"two")
    assert stat.S_IMODE(Path(one).stat().st_mode) == 0o600
    material.sweep(layout, "p", used={two})
    assert os.listdir(layout.material("p")) == [material.digest(b"two")]
    assert Path(two).read_bytes() == b"two"
    material.sweep(layout, "elsewhere", used=set())


def test_what_is_too_large_for_memory_is_refused(layout: Layout) -> None:
    with pytest.raises(StateError, match="too large"):
        material.create(layout.secrets(), "big", bytes(material.LARGEST + 1))
    assert not os.path.exists(layout.secrets())
