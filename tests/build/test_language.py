"""What instructions mean where BuildKit has a rule of its own: platforms, arguments, owners."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import BuildError
from orchestrator.image.manifest import host_platform
from tests.build.ground import Ground

pytestmark = pytest.mark.kernel
CROSS = """\
FROM --platform=$BUILDPLATFORM base AS build
ARG TARGETARCH
RUN echo for $TARGETARCH > /out
FROM scratch AS last
ARG TARGETPLATFORM TARGETSTAGE
LABEL on=$TARGETPLATFORM of=$TARGETSTAGE
COPY --from=build /out /
"""


def test_a_build_for_another_platform_compiles_on_this_one(ground: Ground) -> None:
    image = ground.build(CROSS, platform="linux/s390x")
    assert ground.read(image, "/out") == "for s390x\n"
    assert (image.platform, image.config.labels) == ("linux/s390x",
                                                     {"on": "linux/s390x", "of": "last"})
    own = ground.build(CROSS.replace("scratch", "--platform=arm64 scratch"))
    assert (own.platform, own.config.labels["on"]) == ("linux/arm64", str(host_platform()))
    assert ground.build(CROSS, args={"TARGETARCH": "own"}).platform == str(host_platform())
    assert "for own" in ground.read(ground.build(CROSS, args={"TARGETARCH": "own"}), "/out")


def test_what_this_machine_cannot_run_is_refused_before_anything_is_built(ground: Ground) -> None:
    with pytest.raises(BuildError, match="is wanted"):
        ground.build("FROM --platform=linux/riscv64 base\n")
    with pytest.raises(BuildError, match=r"Dockerfile:10:1: RUN: this machine cannot run programs "
                       "for linux/s390x") as caught:  # fmt: skip
        ground.build(f"{CROSS}FROM last\nCOPY a /\nRUN x\n", platform="linux/s390x")
    assert "--platform=$BUILDPLATFORM" in str(caught.value.hint)
    assert ground.statuses() == []
    with pytest.raises(BuildError, match=r"Dockerfile:1:1: FROM: `linux/` is no platform"):
        ground.build("FROM --platform=linux/ base\n")
    with pytest.raises(BuildError, match="no such image: nothing"):
        ground.build("FROM nothing\n")


def test_a_stage_has_the_arguments_of_the_stage_it_begins_with(ground: Ground) -> None:
    ground.build("FROM base AS a\nARG V=1 W\nFROM a\nRUN echo $V $W\n", args={"W": "2"})
    assert ground.output() == "1 2"


def test_a_working_directory_belongs_to_the_user(ground: Ground) -> None:
    ground.build("FROM base\nUSER bob\nWORKDIR /home/bob/app\nUSER 7\nWORKDIR /seven\n"
                 "RUN stat -c '%n %u:%g' /home/bob /home/bob/app /seven /home\n")
    assert ground.output().splitlines() == [
        "/home/bob 1000:1001", "/home/bob/app 1000:1001", "/seven 7:7", "/home 1000:1001"]
    with pytest.raises(BuildError, match=r"Dockerfile:3:1: WORKDIR: user eve"):
        ground.build("FROM base\nUSER eve\nWORKDIR /x\n")


def test_a_named_context_takes_the_place_of_a_stage(ground: Ground, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own/f").write_text("of the context")
    text = "FROM base AS files\nRUN echo of the stage > /f\nFROM base\nCOPY --from=files /f /f\n"
    image = ground.build(text, contexts={"files": str(tmp_path / "own")})
    assert ground.read(image, "/f") == "of the context"
    assert [text for text, _ in ground.statuses()] == ["COPY --from=files /f /f"]
    image = ground.build("FROM base AS b\nRUN false\nFROM b\nRUN true\n",
                         images={"b": ground.find("base")})
    assert len(ground.statuses()) == 1


def test_of_arguments_and_variables_what_was_said_last_counts(ground: Ground) -> None:
    ground.build("FROM base AS a\nENV A=env B=env\nARG A=arg C=arg\nARG B=arg\nENV B=$B-env C=env\n"
                 "RUN echo $A $B $C\nFROM a\nRUN echo $A $B $C\n")
    assert ground.output().splitlines() == ["arg arg-env env", "env arg-env env"]


def test_a_backslash_in_a_document_means_the_character_after_it(ground: Ground) -> None:
    image = ground.build("# escape=`\nFROM base\nENV A=a\nCOPY <<E <<'Q' /d/\n"
                         "\\$A \\. `$A '\\\\'\nE\n\\$A\nQ\n")
    assert (ground.read(image, "/d/E"), ground.read(image, "/d/Q")) == ("$A . `a '\\'\n", "\\$A\n")


def test_a_linked_copy_does_not_depend_on_what_is_below(ground: Ground) -> None:
    ground.write({"f": "f"})
    text = "FROM base\nRUN echo {} > /noise; rm -r /srv; ln -s /tmp /srv\nCOPY --link f /srv/f\n"
    ground.build(text.format(1))
    image = ground.build(text.format(2))
    assert [status for _, status in ground.statuses()] == ["Done", "Cached"]
    assert ground.files(image) == {"srv", "srv/f"}, "a link of the image is not followed"


def test_a_line_of_variables_sees_those_of_the_lines_before(ground: Ground) -> None:
    image = ground.build("FROM scratch\nENV A=1\nENV A=2 B=$A\nARG C=$B$A D=$C\nLABEL l=$A$B$C$D\n")
    assert image.config.labels == {"l": "211212"}
