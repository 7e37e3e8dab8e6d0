"""Which stages there are and which of them are built."""

from __future__ import annotations

import pytest

from orchestrator.build import instructions as kinds
from orchestrator.build.parse import parse
from orchestrator.build.stages import Stages, plan
from orchestrator.errors import BuildError

THREE = """\
ARG BASE=debian
FROM ${BASE} AS build
RUN make
FROM build AS test
RUN make test
FROM scratch AS other
FROM scratch AS final
COPY --from=build /x /x
RUN --mount=from=other,target=/m true
"""


def planned(text: str, *, target: str = "", triggers: tuple[str, ...] = (), **args: str) -> Stages:
    return plan(parse(text, file="Dockerfile"), args=args, platform={"TARGETARCH": "amd64"},
                target=target, triggers=lambda *_: triggers)  # fmt: skip


def test_only_what_the_target_needs_is_built() -> None:
    assert [stage.name for stage in planned(THREE).needed] == ["build", "other", "final"]
    assert [stage.name for stage in planned(THREE, target="TEST").needed] == ["build", "test"]
    assert [stage.name for stage in planned(THREE, target="0").needed] == ["build"]


def test_from_takes_arguments_that_stand_before_it() -> None:
    assert planned(THREE, target="build").needed[0].base == "debian"
    assert planned(THREE, target="build", BASE="x:$y").needed[0].base == "x:$y"
    assert planned("FROM a:$TARGETARCH").needed[0].base == "a:amd64"


def test_a_later_stage_is_no_parent() -> None:
    stage = planned("FROM b AS a\nFROM scratch AS b\n", target="a").needed[0]
    assert (stage.base, stage.parent, stage.needs) == ("b", None, frozenset())


def test_triggers_come_first_and_may_need_stages() -> None:
    found = planned("FROM scratch AS tools\nFROM base\nCMD x\n",
                    triggers=("COPY --from=tools /a /a", "RUN <<E\nhi\nE"))  # fmt: skip
    tools, last = found.needed
    assert tools.name == "tools"
    assert [type(made) for made in last.instructions] == [kinds.Copy, kinds.Run, kinds.Cmd]


def test_triggers_of_a_stage_work_in_the_same_file() -> None:
    found = planned("FROM scratch AS a\nONBUILD ENV x=1\nFROM a AS b\nFROM b AS c\n")
    assert [len(stage.instructions) for stage in found.needed] == [1, 1, 0]


@pytest.mark.parametrize(
    ("text", "target", "told"),
    [
        ("RUN x\nFROM a", "", "before the first FROM"), ("ARG a", "", "no FROM"),
        ("FROM $x", "", "is empty"), ("FROM a AS b\nFROM c AS b", "", "stage `b` already"),
        ("FROM a\nCOPY --from=3 a b", "", "no stage 3"), ("FROM a AS build", "biuld", "no stage"),
        ("FROM ${x", "", "missing"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_told(text: str, target: str, told: str) -> None:
    with pytest.raises(BuildError, match=told):
        planned(text, target=target)


def test_a_mistyped_target_gets_a_proposal() -> None:
    with pytest.raises(BuildError) as caught:
        planned(THREE, target="biuld")
    assert caught.value.hint == "did you mean build?"
