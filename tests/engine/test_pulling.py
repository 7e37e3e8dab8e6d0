"""When an image is asked for from a registry, as the files and the flags say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.pulling import is_due, longest_age
from orchestrator.image import archive
from orchestrator.image.store import ImageStore
from tests.image.archives import docker_archive, layer

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86_400.0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    """A store with app:1, for linux/amd64."""
    path: Path = tmp_path_factory.mktemp("store")
    (path / "a.tar").write_bytes(docker_archive({"app:1": [layer(("a", b"1"))]}))
    found = ImageStore(str(path / "images"))
    archive.load(found, str(path / "a.tar"))
    return found


@pytest.mark.parametrize(("policy", "age", "is_wanted"), [
    ("missing", 9 * DAY, False), ("", 9 * DAY, False), ("never", 9 * DAY, False),
    ("refresh", 9 * DAY, False), ("always", 0, True), ("daily", 0.9 * DAY, False),
    ("daily", 1.1 * DAY, True), ("weekly", 6.9 * DAY, False), ("weekly", 7.1 * DAY, True),
    ("every_1d12h", 1.4 * DAY, False), ("every_1d12h", 1.6 * DAY, True), ("every_0s", 1, True),
])  # fmt: skip
def test_what_is_here_is_asked_for_when_the_policy_says(
    store: ImageStore, policy: str, age: float, is_wanted: bool
) -> None:
    tagged = store.images()[0].tagged
    assert tagged is not None
    assert is_due(store, "app:1", policy, platform="", now=tagged + age) is is_wanted


@pytest.mark.parametrize("policy", ["missing", "", "always", "daily", "every_9w", "refresh"])
def test_what_is_missing_is_asked_for_unless_it_is_never(store: ImageStore, policy: str) -> None:
    assert is_due(store, "other:1", policy, platform="", now=0)
    assert not is_due(store, "other:1", "never", platform="", now=0)
    assert is_due(store, "app:1", policy, platform="linux/s390x", now=0)


def test_what_cannot_change_or_cannot_be_fetched_is_not_asked_for(store: ImageStore) -> None:
    image = store.images()[0]
    assert not is_due(store, f"app:1@{image.id}", "always", platform="", now=9e9)
    assert not is_due(store, "pcompose/host", "always", platform="", now=9e9)


@given(st.lists(st.tuples(st.integers(0, 99), st.sampled_from("wdhms")), min_size=1, max_size=5))
def test_an_age_is_the_sum_of_its_parts(parts: list[tuple[int, str]]) -> None:
    seconds = {"w": 7 * DAY, "d": DAY, "h": 3600.0, "m": 60.0, "s": 1.0}
    text = "every_" + "".join(f"{count}{unit}" for count, unit in parts)
    assert longest_age(text) == sum(count * seconds[unit] for count, unit in parts)
