"""The grammar of `.env`, where such files come from, how they reach a container."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import SpecError
from orchestrator.spec import dotenv
from orchestrator.spec.select import select
from tests.spec.loading import loaded, refused, write

OUTSIDE = {"H": "host"}


def read(text: str) -> dict[str, str | None]:
    return {e.name: e.value for e in dotenv.parse(text, lookup=OUTSIDE.get)}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=1", "1"), ("A = 1", "1"), ("A: 1", "1"), ("export A=1", "1"), (" A=1", "1"),
        ("A=", ""), ('A=""', ""), ("A=x # c", "x"), ("A=x# c", "x# c"), ("A=#c", "#c"),
        ('A="x #y" #z', "x #y"), ('A="a\\nb"', "a\nb"), ("A='a\\nb'", "a\\nb"),
        ("A=a\\nb", "a\\nb"), ("A='a\\'b'", "a'b"), ('A="a\nb"', "a\nb"),
        ('A="$H ${Z:-d}"', "host d"),
        ("A='$H'", "$H"), ("A=$H", "host"), ("A=$$H", "$H"), ('A="\\$H"', "$H"),
        ("A=\\$H", "\\host"),
        ("A=$(ls)", "$(ls)"), ('A={"k": "v"}', '{"k": "v"}'), ("A=it's", "it's"), ("A=a=b", "a=b"),
        ("A=  x  y  ", "x  y"), ("A=1\r\n", "1"), ("\ufeffA=1", "1"), ('A="x"y', "x"),
        ('A="\\x41\\c"', "\\x41\\c"), ('A="\\0101"', "A"), ("A=1\nA=2", "2"), ("B=1\nA=$B", "1"),
    ],
)  # fmt: skip
def test_a_value(text: str, value: str) -> None:
    assert read(text)["A"] == value


@pytest.mark.parametrize("name", ["1A", "A-B", "A.B", "A[0]", "Ä"])
def test_unusual_names(name: str) -> None:
    assert read(f"{name}=x") == {name: "x"}


def test_a_name_alone_is_inherited() -> None:
    assert read("H\nNOPE\n") == {"H": "host", "NOPE": None}


@pytest.mark.parametrize(
    ("text", "line"),
    [("A B=1", 1), ("\n=1", 2), ("A=1\n : b", 2), ("A=1\nB=\"\\0\"", 2),
     ("\nA$=1", 2), ('X=1\nA="abc', 2), ("A=${H", 1), ("A=${N:?m}", 1),
     ('A="a""b"', 1)],
)  # fmt: skip
def test_a_line_that_cannot_be_read(text: str, line: int) -> None:
    with pytest.raises(dotenv.DotenvError) as caught:
        read(text)
    assert caught.value.line == line


def test_raw_files_are_taken_as_they_are() -> None:
    text = "A='q'\nB=\"d\"\nC=$A # c\n# no\n  D=x\nH\n"
    found = {e.name: e.value for e in dotenv.parse_raw(text, lookup=OUTSIDE.get)}
    assert found == {"A": "'q'", "B": '"d"', "C": "$A # c", "D": "x", "H": "host"}


@given(st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"])))
def test_what_is_quoted_comes_back(value: str) -> None:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    assert read(f'A="{quoted}"\nB=1\n') == {"A": value, "B": "1"}


@given(st.text(alphabet="AB= \n\"'\\#$:{}\t"))
def test_any_text_is_read_or_refused_with_a_line(text: str) -> None:
    lines = range(1, text.count("\n") + 2)
    try:
        read(text)
    except dotenv.DotenvError as exc:
        if exc.line not in lines:
            raise


IMAGE = "services: {s: {image: 'i:${V:-none}'}}"


def test_the_default_file_lies_in_the_project_directory(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("V=dot\n")
    assert loaded(tmp_path, IMAGE).services["s"].image == "i:dot"
    assert loaded(tmp_path, environ={"V": "os"}).services["s"].image == "i:os"
    disabled = loaded(tmp_path, environ={"COMPOSE_DISABLE_ENV_FILE": "1"})
    assert disabled.services["s"].image == "i:none"


def test_given_files_replace_the_default_one_and_the_last_wins(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("V=dot\n")
    write(tmp_path, a_env="V=a\n", b_env="V=b$W\nW=1\n")
    project = loaded(tmp_path, IMAGE, env_files=("a.env", "b.env"))
    assert project.services["s"].image == "i:b"
    assert project.env_files == (str(tmp_path / "a.env"), str(tmp_path / "b.env"))
    environ = {"COMPOSE_ENV_FILES": "b.env,a.env"}
    assert loaded(tmp_path, environ=environ).services["s"].image == "i:a"


def test_a_faulty_line_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\nnot a pair\n")
    assert refused(tmp_path, IMAGE).problems[0][0] == ".env:2:1"


def test_an_endless_file_is_refused(tmp_path: Path) -> None:
    assert "larger than" in str(refused(tmp_path, IMAGE, env_files=("/dev/zero",)))


def test_a_given_file_must_exist(tmp_path: Path) -> None:
    assert "couldn't find env file" in str(refused(tmp_path, IMAGE, env_files=("no.env",)))


def test_the_default_file_may_name_project_profiles_and_files(tmp_path: Path) -> None:
    write(tmp_path, x_yaml="services: {a: {image: i, profiles: [dev]}, b: {image: i}}")
    (tmp_path / ".env").write_text(
        "COMPOSE_PROJECT_NAME=n\nCOMPOSE_PROFILES=dev, x\nCOMPOSE_FILE=x.yaml\n"
    )
    project = loaded(tmp_path)
    assert (project.name, sorted(project.services)) == ("n", ["a", "b"])


def test_service_files_merge_below_environment(tmp_path: Path) -> None:
    write(tmp_path, a_env="A=1\nB=a\nN=file\nM=file\n", b_env="B=b\nC=$A-$B-$OS-$OWN\n")
    text = """
        services:
          s:
            image: i
            env_file: [a.env, {path: b.env}, {path: gone.env, required: false}]
            environment: {OWN: own, N: , M: map}
    """
    project = loaded(tmp_path, text, environ={"OS": "os"})
    assert project.services["s"].environment == {
        "A": "1", "B": "b", "C": "1-b-os-own", "OWN": "own", "N": None, "M": "map",
    }  # fmt: skip
    assert project.where("services", "s", "environment", "C") == "b.env:2"
    assert project.where("services", "s", "environment", "M") == "compose.yaml:6"


def test_names_without_a_value_come_from_the_project(tmp_path: Path) -> None:
    text = "services: {s: {image: i, environment: [OS, NOT, 'E=', 'F=1=2']}}"
    found = loaded(tmp_path, text, environ={"OS": "os"}).services["s"].environment
    assert found == {"OS": "os", "NOT": None, "E": "", "F": "1=2"}


def test_a_missing_file_of_an_enabled_service_is_told_with_its_place(tmp_path: Path) -> None:
    project = loaded(tmp_path, "services:\n  s:\n    image: i\n    env_file: gone.env\n")
    with pytest.raises(SpecError) as caught:
        select(project, [], with_dependencies=True)
    where, message, _ = caught.value.problems[0]
    assert where == "compose.yaml:4:5"
    assert "gone.env" in message
