"""What users of Compose tools stumbled over, values: `.env`, `env_file`, `${…}`, errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.spec.loading import loaded, refused, service, write


def dotenv(directory: Path, text: str) -> None:
    (directory / ".env").write_text(text)


def test_the_shell_wins_inside_the_env_file_too(tmp_path: Path) -> None:
    """R-25."""
    dotenv(tmp_path, "VERSION=dot\nIMAGE=foo:${VERSION}\n")
    found = service(tmp_path, "labels: {a: '$IMAGE'}", environ={"VERSION": "sh"})
    assert found.labels == {"a": "foo:sh"}
    assert service(tmp_path, "labels: {a: '$IMAGE'}").labels == {"a": "foo:dot"}


def test_an_env_file_sees_its_own_lines_and_the_shell(tmp_path: Path) -> None:
    """R-26."""
    dotenv(tmp_path, "A=bar\nB=foo$A\nC=$HOME/x\n")
    found = service(tmp_path, "environment: [B, C]", environ={"HOME": "/root"})
    assert found.environment == {"B": "foobar", "C": "/root/x"}


def test_a_later_env_file_has_its_own_values(tmp_path: Path) -> None:
    """R-27."""
    write(tmp_path, l_env="H=local\nU=http://${H}\n", d_env="H=dev\nU=http://${H}\n")
    found = service(tmp_path, "environment: [H, U]", env_files=("l.env", "d.env"))
    assert found.environment == {"H": "dev", "U": "http://dev"}


def test_a_later_env_file_of_a_service_sees_the_last_value_of_the_earlier_ones(
    tmp_path: Path,
) -> None:
    """R-28."""
    write(tmp_path, a_env="S=first\n", b_env="S=second\n", c_env="S=${S}\nT=${S}!\n")
    found = service(tmp_path, "env_file: [a.env, b.env, c.env]")
    assert found.environment == {"S": "second", "T": "second!"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${v1:-${v2}}", "two"), ("${SET+r}", "r"), ("${EMPTY+r}", "r"), ("${NO+r}", ""),
        ("${EMPTY:+r}", ""), ("${SET:+r}", "r"), ("$${lit}", "${lit}"), ("${T:-w}", "w"),
        ("${D-1}", "1"), ("${EMPTY-1}", ""), ("${SET:?msg}", "set"),
    ],
)  # fmt: skip
def test_every_form_of_a_variable_works_in_the_file(tmp_path: Path, text: str, value: str) -> None:
    """R-29."""
    environ = {"v2": "two", "SET": "set", "EMPTY": ""}
    found = service(tmp_path, f"environment: {{X: '{text}'}}", environ=environ)
    assert found.environment == {"X": value}


def test_a_required_variable_is_an_error_with_its_place_and_its_message(tmp_path: Path) -> None:
    """R-29."""
    error = refused(tmp_path, "services:\n  s:\n    image: ${N:?say which}\n")
    place, message, _ = error.problems[0]
    assert place == "compose.yaml:3:5"
    assert "required variable N is missing a value: say which" in message


def test_names_alone_the_project_name_and_given_env_files_take_variables(tmp_path: Path) -> None:
    """R-30."""
    dotenv(tmp_path, "TEST=dot\n")
    write(tmp_path, other_env="ONE=1\nTWO=${ONE}2\n")
    text = "name: p-${X:-d}\nservices: {s: {image: i, environment: [TEST, TWO]}}"
    project = loaded(tmp_path, text)
    assert project.name == "p-d"
    assert project.services["s"].environment == {"TEST": "dot", "TWO": None}
    assert loaded(tmp_path, text, environ={"X": "x"}).name == "p-x"
    given = loaded(tmp_path, text, env_files=(".env", "other.env"))
    assert given.services["s"].environment == {"TEST": "dot", "TWO": "12"}


@pytest.mark.parametrize(
    ("inner", "where"),
    [
        ("services:\n  b:\n    image: i\n   tty: true\n", "sub/b.yaml:4:4"),
        ("services:\n  b:\n    image: i\n    imagee: j\n", "sub/b.yaml:4:5"),
        ("services:\n  b:\n    image: i\n    image: j\n", "sub/b.yaml:4:5"),
        ("services:\n  b:\n    image: i\n    ports: 80\n", "sub/b.yaml:4:5"),
        ("services:\n  b: {image: i}\nvolumes: 5\n", "sub/b.yaml:3:1"),
        ("services:\n", "sub/b.yaml:1:1"),
        ("services:\n  b:\n", "sub/b.yaml:2:3"),
    ],
)
def test_a_fault_of_an_included_file_is_told_where_it_is(
    tmp_path: Path, inner: str, where: str
) -> None:
    """R-31."""
    write(tmp_path, sub__b_yaml=inner)
    error = refused(tmp_path, "include: [sub/b.yaml]\nservices: {a: {image: i}}\n")
    assert error.problems[0][0] == where, error.problems


@pytest.mark.parametrize("section", ["services", "networks", "volumes", "secrets", "configs"])
def test_an_empty_section_is_told_where_it_is(tmp_path: Path, section: str) -> None:
    """R-31."""
    services = "" if section == "services" else "services: {s: {image: i}}"
    error = refused(tmp_path, f"x-a: 1\n{services}\n{section}:\n")
    assert [place for place, _, _ in error.problems] == ["compose.yaml:3:1"]


def test_a_variable_that_only_an_env_file_of_a_service_has_is_explained(tmp_path: Path) -> None:
    """R-32."""
    write(tmp_path, e_env="URL=http://file\nOTHER=1\n")
    text = """
        services:
          s:
            image: i
            env_file: e.env
            environment:
              X: ${URL:-d}
    """
    project = loaded(tmp_path, text)
    assert project.services["s"].environment["X"] == "d"
    (warning,) = project.warnings
    assert warning.startswith("compose.yaml:7:7: URL ")
    assert "e.env" in warning
    assert loaded(tmp_path, text, environ={"URL": "sh"}).warnings == ()
