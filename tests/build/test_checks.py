"""What the build checks find, by their names and places."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import events
from orchestrator.build.checks import VARIABLE, Around, check
from orchestrator.build.parse import parse
from orchestrator.build.request import BuildRequest
from orchestrator.engine.buildchecks import Checker
from orchestrator.errors import BuildError
from orchestrator.image.config import ImageConfig
from orchestrator.image.store import ImageStore

SHELL = ImageConfig(env=(("BASE_HOME", "/x"),), shell=("/bin/bash", "-c"))


def found(text: str, **args: str) -> list[str]:
    """`LINE RULE` of each finding; the image `known` is one, `dark` is not here."""
    around = Around(args=args, automatic={"TARGETARCH": "amd64", "TARGETPLATFORM": "linux/amd64"},
                    image=lambda name: SHELL if name == "known" else None)  # fmt: skip
    return [f"{one.place.line} {one.rule}" for one in check(parse(text, file="D"), around)]


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("FROM a AS B", ["1 StageNameCasing"]), ("FROM a as b", ["1 FromAsCasing"]),
        ("from a as b\nrun c", []), ("from a AS b", ["1 FromAsCasing"]),
        ("FROM a\nrun b\nRUN c", ["2 ConsistentInstructionCasing"]),
        ("FROM a\nRun b", ["2 ConsistentInstructionCasing"]),
        ("FROM a\nRUN b \\\n\n c", ["3 NoEmptyContinuation"]),
        ("FROM a\nRUN b \\\n # fine\n c", []),
        ("FROM a AS scratch", ["1 ReservedStageName"]),
        ("FROM a\nCMD b", ["2 JSONArgsRecommended"]), ('FROM a\nCMD ["b"]', []),
        ('FROM a\nSHELL ["sh"]\nENTRYPOINT b', []), ("FROM known\nCMD b", []),
        ("FROM a\nMAINTAINER me", ["2 MaintainerDeprecated"]),
        ("FROM a:${TAG:-1}", []), ("ARG TAG=1\nFROM a:$TAG", []), ("FROM a$TARGETARCH", []),
        ("FROM a:1$TAG", ["1 UndefinedArgInFrom"]),
        ("ARG TAG\nFROM a:$TAG", ["2 InvalidDefaultArgInFrom"]),
        ("ARG TAG=\nFROM $TAG", ["2 InvalidDefaultArgInFrom"]),
        ("FROM --platform=$TARGETPLATFORM a", ["1 RedundantTargetPlatform"]),
        ("FROM --platform=linux/arm64 a", ["1 FromPlatformFlagConstDisallowed"]),
        ("FROM --platform=linux/arm64 a AS build-arm64", []),
        ("FROM a\nWORKDIR b\nWORKDIR c", ["2 WorkdirRelativePath"]),
        ("FROM a\nWORKDIR /b\nWORKDIR c", []),
        ("FROM a AS b\nWORKDIR /b\nFROM b\nWORKDIR c", []),
        ("FROM a\nENV b c", ["2 LegacyKeyValueFormat"]),
        ("FROM a\nLABEL b c", ["2 LegacyKeyValueFormat"]),
        ('FROM a\nCMD ["b"]\nCMD ["c"]', ["2 MultipleInstructionsDisallowed"]),
        ("FROM a AS x\nHEALTHCHECK NONE\nFROM x\nHEALTHCHECK NONE", []),
        ("FROM a\nARG GITHUB_TOKEN", ["2 SecretsUsedInArgOrEnv"]),
        ("FROM a\nENV db_password=x KEY_FILE=y", ["2 SecretsUsedInArgOrEnv"]),
        ("FROM a\nENV TOKENIZER=1 PUBLIC_KEY=2", []),
        ("FROM a\nEXPOSE 80/TCP 81/udp", ["2 ExposeProtoCasing"]),
    ],
)  # fmt: skip
def test_a_rule_finds_what_it_is_for(text: str, rules: list[str]) -> None:
    assert found(text) == rules


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("FROM scratch\nCOPY $X /", ["2 UndefinedVar"]), ("FROM dark\nCOPY $X /", []),
        ("FROM known\nCOPY $BASE_HOME$PATH /", []), ("FROM known\nUSER $X", ["2 UndefinedVar"]),
        ("FROM scratch\nARG X\nCOPY $X /", []), ("FROM scratch\nENV X=1\nWORKDIR /$X", []),
        ("FROM scratch\nENV X=1 Y=$X", ["2 UndefinedVar"]),
        ("FROM scratch\nCOPY ${X:-a} ${X-b} ${X:+c} /d/", []),
        ("FROM scratch\nCOPY ${X#a} /", ["2 UndefinedVar"]),
        ("FROM scratch\nCOPY '$X' \\$Y /", []), ("FROM scratch\nRUN echo $X", []),
        ("ARG X=1\nFROM scratch\nLABEL a=$X", ["3 UndefinedVar"]),
        ("FROM scratch AS a\nARG X\nFROM a\nLABEL a=$X b=$Y", ["4 UndefinedVar"]),
        ("FROM scratch\nCOPY <<a <<'b' /\n$X\na\n$Y\nb", ["2 UndefinedVar"]),
    ],
)  # fmt: skip
def test_a_variable_without_a_value_is_found_where_all_variables_are_known(
    text: str, rules: list[str]
) -> None:
    assert found(text) == rules


def test_the_directive_or_an_argument_says_what_is_checked() -> None:
    text = "FROM a as b\nCMD c\n"
    assert found(f"# check=skip=FromAsCasing\n{text}") == ["3 JSONArgsRecommended"]
    assert found(f"# check=skip=all\n{text}") == []
    said = {VARIABLE: "skip=JSONArgsRecommended, FromAsCasing"}
    assert found(f"# check=skip=none\n{text}", **said) == []
    for wrong in ("skp=all", "error=maybe"):
        with pytest.raises(BuildError, match=f"D:1:1: check: `{wrong}` is no option"):
            found(f"# check={wrong}\n{text}")


@pytest.fixture
def checker(tmp_path: Path) -> tuple[Checker, list[events.Event]]:
    told: list[events.Event] = []
    return Checker(ImageStore(str(tmp_path)), is_strict=False, sink=told.append), told


def request(text: str) -> BuildRequest:
    return BuildRequest(name="a", dockerfile=text, file="web/Dockerfile", slot="")


def test_findings_are_warnings_once_and_errors_where_the_file_says_so(
    checker: tuple[Checker, list[events.Event]]
) -> None:
    checks, told = checker
    text = "FROM scratch\nWORKDIR $HOEM\nFROM bad:$X\n"
    assert checks.problems(request(text)) == checks.problems(request(text)) == []
    assert told == [events.Warned(message=m) for m in (
        "web/Dockerfile:2:1: UndefinedVar: $HOEM has no value here",
        "web/Dockerfile:3:1: UndefinedArgInFrom: no ARG before the first FROM declares X",
        "web/Dockerfile:3:1: InvalidDefaultArgInFrom: without build arguments `bad:$X` is `bad:`, "
        "which is no image")]  # fmt: skip
    [(where, message, _)] = checks.problems(request("# check=error=true\nFROM a as b\n"))
    assert (where, message) == ("web/Dockerfile:2:1", "FromAsCasing: `as` after `FROM`")


def test_who_asks_for_the_checks_gets_all_as_errors(tmp_path: Path) -> None:
    strict = Checker(ImageStore(str(tmp_path)), is_strict=True, sink=print)
    assert [p[1].partition(":")[0] for p in strict.problems(request("FROM a as B\n"))] == [
        "FromAsCasing", "StageNameCasing"]
    assert strict.problems(request("FROM a AS b\n")) == []
