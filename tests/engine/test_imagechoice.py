"""The filters of `image ls` and `image prune`."""

from __future__ import annotations

import pytest

from orchestrator.engine import imagechoice
from orchestrator.errors import ImageNotFoundError, UsageError
from orchestrator.image.config import ImageConfig
from orchestrator.image.store import Image


def image(id_: str, created: float, *names: str, **labels: str) -> Image:
    return Image(id=id_, references=names, config=ImageConfig(labels=labels), layers=(), size=1,
                 created=created, platform="linux/amd64", tagged=None)  # fmt: skip


IMAGES = [
    image("new", 300, "redis:7", "registry.lan:5000/team/redis:7", stage="test", team="a"),
    image("mid", 200, "app/web:1", team="b"),
    image("bare", 150, team="a"),
    image("old", 100, "debian:bookworm"),
]


def ids(*filters: str, until: float | None = None) -> list[str]:
    choice = imagechoice.parse(filters, until=until)
    found = imagechoice.chosen(IMAGES, choice, resolve=lambda name: next(
        (i for i in IMAGES if name in i.references), None))  # fmt: skip
    return [item.id for item in found]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ([], "new mid bare old"),
        (["dangling=true"], "bare"), (["dangling=0"], "new mid old"),
        (["label=team"], "new mid bare"), (["label=team=a"], "new bare"),
        (["label=team=a", "label=stage"], "new"), (["label!=team=a"], "mid old"),
        (["label!=team"], "old"),
        (["before=app/web:1"], "bare old"), (["since=debian:bookworm"], "new mid bare"),
        (["since=debian:bookworm", "before=redis:7"], "mid bare"),
        (["reference=redis"], "new"), (["reference=redis:*"], "new"), (["reference=*"], "new old"),
        (["reference=*/web"], "mid"), (["reference=*/*/redis"], "new"),
        (["reference=r?dis"], "new"),
        (["reference=[d-e]ebian:book*"], "old"), (["reference=[^d]*:7"], "new"),
        (["reference=web"], ""), (["reference=web", "reference=debian"], "old"),
        (["reference=redis.7"], ""),
    ],
)  # fmt: skip
def test_an_image_fits_what_all_filters_say(filters: list[str], found: str) -> None:
    assert ids(*filters) == found.split()


def test_an_image_is_listed_with_the_names_that_fit() -> None:
    [found] = imagechoice.chosen(
        IMAGES, imagechoice.parse(["reference=*/*/redis"]), resolve=lambda name: None)
    assert found.references == ("registry.lan:5000/team/redis:7",)
    assert ids(until=200) == ["bare", "old"]


@pytest.mark.parametrize("text", ["dangling", "dangling=maybe", "size=1", "reference=[z-a]", "="])
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="invalid --filter"):
        ids(text)


def test_an_image_to_compare_with_has_to_be_here() -> None:
    with pytest.raises(ImageNotFoundError, match="no such image: gone"):
        ids("before=gone")
