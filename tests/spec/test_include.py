"""Other applications become part of this one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import SpecError
from orchestrator.spec.load import LoadOptions, load
from tests.spec.loading import loaded, refused, write

MAIN = "include: [sub/b.yaml]\nservices: {a: {image: i}}\n"


def test_an_included_file_has_its_own_directory_and_env_file(tmp_path: Path) -> None:
    write(tmp_path, sub__b_yaml="services: {b: {image: '$V', build: ., volumes: ['./d:/d']}}")
    (tmp_path / "sub/.env").write_text("V=theirs\n")
    (tmp_path / ".env").write_text("W=ours\n")
    project = loaded(tmp_path, MAIN)
    service = project.services["b"]
    assert (service.image, service.volumes[0].source) == ("theirs", f"{tmp_path}/sub/d")
    assert service.build is not None
    assert service.build.context == f"{tmp_path}/sub"
    assert list(project.services) == ["a", "b"]


def test_the_includer_s_variables_win_over_the_env_files_of_an_entry(tmp_path: Path) -> None:
    write(tmp_path, b_yaml="services: {b: {image: '$A-$B-$C', environment: [A, C]}}",
          one_env="A=1\nB=1", two_env="B=2$A\nC=no")  # fmt: skip
    text = "include: [{path: b.yaml, env_file: [one.env, two.env]}]"
    service = loaded(tmp_path, text, environ={"C": "ours"}).services["b"]
    assert service.image == "1-21-ours"
    assert service.environment == {"A": "1", "C": "ours"}


def test_a_project_directory_is_where_paths_start(tmp_path: Path) -> None:
    write(tmp_path, sub__b_yaml="services: {b: {image: '$V', env_file: e.env}}", there__e_env="E=1")
    (tmp_path / "there/.env").write_text("V=v")
    text = "include: [{path: sub/b.yaml, project_directory: there}]"
    service = loaded(tmp_path, text).services["b"]
    assert (service.image, service.environment) == ("v", {"E": "1"})


def test_several_paths_are_one_application_with_overrides(tmp_path: Path) -> None:
    write(tmp_path, sub__b_yaml="services: {b: {image: i, volumes: ['./a:/a']}}",
          o_yaml="services: {b: {image: j, volumes: ['./b:/b']}}")  # fmt: skip
    service = loaded(tmp_path, "include: [{path: [sub/b.yaml, o.yaml]}]").services["b"]
    assert service.image == "j"
    assert [m.source for m in service.volumes] == [f"{tmp_path}/sub/a", f"{tmp_path}/sub/b"]


def test_resources_come_along_and_names_do_not(tmp_path: Path) -> None:
    write(tmp_path, sub__b_yaml="""
        name: other
        x-note: gone
        services: {b: {image: i}}
        networks: {n: }
        volumes: {v: }
        secrets: {s: {file: ./s}}
        configs: {c: {content: x}}
        models: {m: {model: x}}
    """)
    project = loaded(tmp_path, MAIN, project_name="p")
    assert (project.name, project.extensions) == ("p", {})
    assert project.secrets["s"].file == f"{tmp_path}/sub/s"
    names = (project.networks["n"].name, project.volumes["v"].name, project.configs["c"].name)
    assert names == ("p_n", "p_v", "p_c")
    assert project.models["m"].model == "x"


def test_what_is_said_here_wins_with_a_warning(tmp_path: Path) -> None:
    write(tmp_path, sub__b_yaml="services: {a: {image: theirs, command: x}, b: {image: j}}")
    project = loaded(tmp_path, MAIN)
    assert (project.services["a"].image, project.services["a"].command) == ("i", ("x",))
    assert "services.a is defined by the included sub/b.yaml:1:12 as well" in project.warnings[0]


def test_the_same_said_twice_is_no_conflict(tmp_path: Path) -> None:
    write(tmp_path, sub__b_yaml="services: {a: {image: i}}")
    assert loaded(tmp_path, MAIN).warnings == ()


def test_an_override_file_changes_what_is_included(tmp_path: Path) -> None:
    write(tmp_path, sub__b_yaml="services: {b: {image: j, ports: ['1:1'], dns: [1.1.1.1]}}",
          compose_override_yaml="services: {b: {image: k, ports: !reset [], dns: [2.2.2.2]}}")
    (tmp_path / "compose_override.yaml").rename(tmp_path / "compose.override.yaml")
    service = loaded(tmp_path, MAIN).services["b"]
    assert (service.image, service.ports, service.dns) == ("k", (), ("1.1.1.1", "2.2.2.2"))


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("include: b.yaml", "compose.yaml:1:1", "must be a list"),
        ("include: [5]", "compose.yaml:1:11", "must be a path"),
        ("include: [gone.yaml]", "compose.yaml:1:11", "no such file: gone.yaml"),
        ("include: [.]", "compose.yaml:1:11", "is a directory"),
        ("include: [{path: 5}]", "compose.yaml:1:12", "must be text"),
        ("include: [{path: b.yaml, env_file: g.env}]", "compose.yaml:1:26", "g.env"),
        ("include: ['https://github.com/x/y.git']", "compose.yaml:1:11", "not on this machine"),
        ("include: [b.yaml]", "b.yaml:1:26", "unknown key"),
        ("include: [c.yaml]", "d.yaml:1:16", "required variable X"),
        ("include: [e.yaml]", "e.yaml:1:11", "e.yaml -> e.yaml"),
        ("include: [f.yaml]", "f.yaml:1:11", "f.yaml -> g.yaml -> f.yaml"),
    ],
)
def test_a_fault_is_told_at_its_place_in_its_file(
    tmp_path: Path, text: str, where: str, words: str
) -> None:
    write(tmp_path, b_yaml="services: {b: {image: j, foo: 1}}", c_yaml="include: [d.yaml]",
          d_yaml="services: {d: {image: '${X:?need}'}}", e_yaml="include: [e.yaml]",
          f_yaml="include: [g.yaml]", g_yaml="include: [f.yaml]")  # fmt: skip
    place, message, _ = refused(tmp_path, text).problems[0]
    if words.startswith("f.yaml"):
        where = "g.yaml:1:11"
    assert (place, words in message) == (where, True), message


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None,
          max_examples=40)  # fmt: skip
@given(st.dictionaries(st.sampled_from("abcd"), st.lists(st.sampled_from("abcd"), max_size=2)))
def test_files_that_include_each_other_end(tmp_path: Path, graph: dict[str, list[str]]) -> None:
    for name in "abcd":
        tree = {"include": [f"{other}.yaml" for other in graph.get(name, [])],
                "services": {name: {"image": "i"}}}  # fmt: skip
        (tmp_path / f"{name}.yaml").write_text(json.dumps(tree))

    def reached(name: str, way: tuple[str, ...]) -> set[str]:
        if name in way:
            raise RecursionError(name)
        found = {name}
        for other in graph.get(name, []):
            found |= reached(other, (*way, name))
        return found

    options = LoadOptions(cwd=str(tmp_path), files=("a.yaml",), project_name="p")
    try:
        wanted = reached("a", ())
    except RecursionError:
        with pytest.raises(SpecError, match="include each other"):
            load(options)
    else:
        assert set(load(options).services) == wanted
