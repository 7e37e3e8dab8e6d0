"""Our dataclasses behave as those of the standard library."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import pickle
from typing import Any, ClassVar

import pytest

from orchestrator import dataclass as ours
from tests.source_tree import ROOT


def _made(library: Any) -> tuple[type, type, type]:
    @library.dataclass(frozen=True, slots=True, kw_only=True)
    class Base:
        version: ClassVar[int] = 3
        name: str
        number: int = 2

        def doubled(self) -> int:
            return self.number * 2

    @library.dataclass(frozen=True, slots=True, kw_only=True)
    class Child(Base):
        items: list[int] = library.field(default_factory=list)
        secret: str = library.field(default="", repr=False, compare=False)

    @library.dataclass(slots=True)
    class Point:
        x: int
        y: int = 0

    return Base, Child, Point


OURS, THEIRS = _made(ours), _made(dataclasses)


@pytest.mark.parametrize("act", [
    lambda base, child, point: repr(child(name="a", secret="s")),
    lambda base, child, point: child(name="a", secret="s") == child(name="a", secret="t"),
    lambda base, child, point: child(name="a") == base(name="a"),
    lambda base, child, point: base(name="a") == base(name="a", number=2),
    lambda base, child, point: len({base(name="a"), base(name="a"), base(name="b")}),
    lambda base, child, point: base(name="a").doubled() + base.version,
    lambda base, child, point: dataclasses.asdict(child(name="a", items=[1])),
    lambda base, child, point: repr(point(1)) + repr(point(1, y=3)),
    lambda base, child, point: point.__match_args__ + base.__match_args__,
    lambda base, child, point: [f.name for f in dataclasses.fields(child)],
    lambda base, child, point: repr(copy.deepcopy(child(name="a", items=[1]))),
    lambda base, child, point: child(name="a").items is child(name="a").items,
    lambda base, child, point: hasattr(point(1), "__dict__"),
])  # fmt: skip
def test_what_is_seen_of_a_class_is_the_same(act: Any) -> None:
    assert act(*OURS) == act(*THEIRS)


@pytest.mark.parametrize("act", [
    lambda base, child, point: base(),
    lambda base, child, point: base(name="a", nmae="b"),
    lambda base, child, point: base("a"),
    lambda base, child, point: point(1, 2, 3),
    lambda base, child, point: point(1, x=1),
    lambda base, child, point: setattr(base(name="a"), "name", "b"),
    lambda base, child, point: delattr(base(name="a"), "name"),
    lambda base, child, point: hash(point(1)),
    lambda base, child, point: setattr(point(1), "z", 1),
])  # fmt: skip
def test_what_is_refused_is_the_same(act: Any) -> None:
    with pytest.raises(Exception, match=r".") as theirs:
        act(*THEIRS)
    with pytest.raises(theirs.type):
        act(*OURS)


def test_values_are_replaced_told_and_listed() -> None:
    _, child, point = OURS
    value = child(name="a", items=[1])
    assert ours.replace(value, name="b") == child(name="b", items=[1])
    assert ours.asdict(value) == {"name": "a", "number": 2, "items": [1], "secret": ""}
    assert [(f.name, f.type) for f in ours.fields(point)] == [("x", "int"), ("y", "int")]
    assert ours.is_dataclass(value)
    assert not ours.is_dataclass(5)


def test_values_of_modules_are_pickled() -> None:
    policy = importlib.import_module("orchestrator.plan.policy").UpPolicy(scale={"a": 1})
    assert pickle.loads(pickle.dumps(policy)) == policy


def test_nobody_else_pays_for_the_library() -> None:
    """But who needs an order, and the fixtures: pytest has imported it."""
    using = [
        path for path in sorted((ROOT / "orchestrator").rglob("*.py"))
        if "from dataclasses import" in path.read_text() and "testing" not in path.parts
        and path.name != "dataclass.py" and "order=True" not in path.read_text()
    ]  # fmt: skip
    assert using == []
