"""Which files are read, from where, under which name."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.spec.loading import loaded, refused, write

ONE = "services: {a: {image: one}}"
TWO = "services: {a: {image: two}}"


def test_the_first_of_several_names_wins_with_a_warning(tmp_path: Path) -> None:
    write(tmp_path, docker_compose_yml=ONE)
    (tmp_path / "docker-compose.yml").write_text(ONE)
    project = loaded(tmp_path, TWO)
    assert project.services["a"].image == "two"
    assert "multiple config files" in project.warnings[0]


def test_a_parent_directory_is_searched_and_is_the_working_directory(tmp_path: Path) -> None:
    write(tmp_path, compose_yaml="services: {a: {image: i, volumes: ['./d:/d']}}")
    (tmp_path / "x" / "y").mkdir(parents=True)
    project = loaded(tmp_path, cwd=str(tmp_path / "x" / "y"))
    assert project.working_dir == str(tmp_path)
    assert project.services["a"].volumes[0].source == str(tmp_path / "d")


def test_an_override_file_is_merged_unless_files_are_given(tmp_path: Path) -> None:
    (tmp_path / "compose.override.yml").write_text(TWO)
    assert loaded(tmp_path, ONE).services["a"].image == "two"
    assert loaded(tmp_path, files=("compose.yaml",)).services["a"].image == "one"


def test_files_may_come_from_the_variable_with_its_own_separator(tmp_path: Path) -> None:
    write(tmp_path, a_yaml=ONE, b_yaml=TWO)
    environ = {"COMPOSE_FILE": "a.yaml|b.yaml", "COMPOSE_PATH_SEPARATOR": "|"}
    assert loaded(tmp_path, environ=environ).services["a"].image == "two"


def test_standard_input_is_a_file_too(tmp_path: Path) -> None:
    project = loaded(tmp_path, files=("-",), stdin=io.BytesIO(ONE.encode()))
    assert project.services["a"].image == "one"
    assert project.files == ("-",)


def test_nothing_found_says_where_it_looked(tmp_path: Path) -> None:
    assert str(tmp_path) in refused(tmp_path).problems[0][1]


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    assert "no such file" in str(refused(tmp_path, files=("gone.yaml",)))


@pytest.mark.parametrize(
    ("options", "environ", "text", "name"),
    [
        ({"project_name": "flag"}, {"COMPOSE_PROJECT_NAME": "env"}, "name: file", "flag"),
        ({}, {"COMPOSE_PROJECT_NAME": "env"}, "name: file", "env"),
        ({}, {}, "name: File.Name", "filename"),
        ({}, {"N": "x"}, "name: ${N}-y", "x-y"),
        ({}, {}, "", "some_dir"),
    ],
)
def test_the_name_has_a_precedence(
    tmp_path: Path, options: dict[str, str], environ: dict[str, str], text: str, name: str
) -> None:
    directory = tmp_path / "Some_Dir!"
    directory.mkdir()
    project = loaded(directory, f"{text}\n{ONE}", environ=environ, **options)
    assert project.name == name


def test_a_bad_name_from_a_flag_is_refused(tmp_path: Path) -> None:
    assert "invalid project name" in str(refused(tmp_path, ONE, project_name="Bad Name"))


def test_the_name_is_a_variable_in_the_file(tmp_path: Path) -> None:
    project = loaded(tmp_path, "name: n\nservices: {a: {image: 'x:${COMPOSE_PROJECT_NAME}'}}")
    assert project.services["a"].image == "x:n"


def test_a_project_directory_moves_all_relative_paths(tmp_path: Path) -> None:
    write(tmp_path, sub__compose_yaml="services: {a: {image: i, volumes: ['./d:/d']}}")
    project = loaded(tmp_path, files=("sub/compose.yaml",), project_directory="other")
    assert project.services["a"].volumes[0].source == str(tmp_path / "other" / "d")
