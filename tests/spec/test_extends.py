"""A service on top of another one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import SpecError
from tests.spec.loading import loaded, refused, write


def test_everything_is_inherited_and_merged(tmp_path: Path) -> None:
    project = loaded(tmp_path, """
        services:
          base:
            image: i
            command: [one]
            environment: {A: "1", B: "1"}
            ports: ["80:80"]
            depends_on: [db]
            profiles: [p]
          s: {extends: base, command: [two], environment: [B=2], ports: ["81:81"], profiles: [q]}
          db: {image: d}
    """)
    found = project.disabled["s"]
    assert (found.image, found.command, found.environment) == ("i", ("two",), {"A": "1", "B": "2"})
    assert [port.published for port in found.ports] == ["80", "81"]
    assert (list(found.depends_on), found.profiles) == (["db"], ("p", "q"))


def test_paths_of_another_file_start_in_its_directory(tmp_path: Path) -> None:
    write(tmp_path, sub__x_yaml="""
        services:
          base:
            build: {context: ., additional_contexts: {c: ./c}}
            env_file: e.env
            label_file: l.env
            volumes: ["./v:/v", "~/h:/h"]
            extends: {file: ../y.yaml, service: root}
    """, sub__e_env="E=1", sub__l_env="L=1",
          y_yaml="services: {root: {image: r, volumes: ['./r:/r']}}")  # fmt: skip
    text = "services: {s: {extends: {file: sub/x.yaml, service: base}, volumes: ['./m:/m']}}"
    found = loaded(tmp_path, text, environ={"HOME": "/home/u"}).services["s"]
    assert found.build is not None
    assert found.build.context == f"{tmp_path}/sub"
    assert found.build.additional_contexts == {"c": f"{tmp_path}/sub/c"}
    assert (found.image, found.environment, found.labels) == ("r", {"E": "1"}, {"L": "1"})
    assert [mount.source for mount in found.volumes] == [
        f"{tmp_path}/r", f"{tmp_path}/sub/v", "/home/u/h", f"{tmp_path}/m",
    ]  # fmt: skip


def test_a_tag_acts_on_what_is_inherited(tmp_path: Path) -> None:
    write(tmp_path, x_yaml="""
        services:
          top: {extends: base, dns: !reset []}
          base: {image: i, ports: ["1:1"], dns: [1.1.1.1], environment: {A: "1"}}
    """)
    text = """
        services:
          s:
            extends: {file: x.yaml, service: top}
            ports: !reset []
            environment: !override {B: "2"}
    """
    found = loaded(tmp_path, text).services["s"]
    assert (found.ports, found.dns, found.environment) == ((), (), {"B": "2"})


def test_a_file_is_extended_before_the_next_file_comes(tmp_path: Path) -> None:
    write(tmp_path, a_yaml="services: {a: {image: i}, b: {extends: a}}",
          b_yaml="services: {a: {ports: ['80:80']}}")  # fmt: skip
    services = loaded(tmp_path, files=("a.yaml", "b.yaml")).services
    assert (len(services["a"].ports), len(services["b"].ports)) == (1, 0)


def test_a_value_keeps_its_place_through_extends(tmp_path: Path) -> None:
    write(tmp_path, x_yaml="services:\n  base:\n    image: i\n    restart: always\n")
    project = loaded(tmp_path, "services: {s: {extends: {file: x.yaml, service: base}}}")
    assert project.where("services", "s", "restart") == "x.yaml:4"


def test_other_services_of_the_file_may_be_anything(tmp_path: Path) -> None:
    write(tmp_path, x_yaml="services: {base: {image: i, ports: }, broken: {foo: 1}}")
    text = "services: {s: {extends: {file: x.yaml, service: base}, ports: ['1:1']}}"
    assert len(loaded(tmp_path, text).services["s"].ports) == 1


@pytest.mark.parametrize(
    ("extends", "where", "words"),
    [
        ("nope", "compose.yaml:1:16", "no service is called nope in compose.yaml"),
        ("{service: [x]}", "compose.yaml:1:16", "`service` is missing"),
        ("{file: x.yaml}", "compose.yaml:1:16", "`service` is missing"),
        ("{file: gone.yaml, service: b}", "compose.yaml:1:26", "no such file: gone.yaml"),
        ("{file: ., service: b}", "compose.yaml:1:26", "is a directory"),
        ("{file: y.yaml, service: b}", "compose.yaml:1:26", "has no `services:`"),
        ("{file: x.yaml, service: c}", "compose.yaml:1:40", "no service is called c in x.yaml"),
        ("{file: x.yaml, service: b}", "x.yaml:1:16", "unknown key"),
        ("{file: x.yaml, service: d}", "x.yaml:1:31", "no service is called gone"),
        ("{file: 'https://x.org/c.yaml', service: d}", "compose.yaml:1:26", "not on this machine"),
        ("s", "compose.yaml:1:16", "s in compose.yaml extends s in compose.yaml"),
    ],
)
def test_a_fault_is_told_at_its_place_in_its_file(
    tmp_path: Path, extends: str, where: str, words: str
) -> None:
    write(tmp_path, x_yaml="services: {b: {foo: 1}, d: {  extends: gone}}", y_yaml="x-a: 1")
    text = f"services: {{s: {{extends: {extends}}}, t: {{image: i}}}}"
    place, message, _ = refused(tmp_path, text).problems[0]
    assert (place, words in message) == (where, True), message


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None,
          max_examples=60)  # fmt: skip
@given(st.dictionaries(st.sampled_from("abcd"), st.tuples(st.sampled_from("abcd"), st.booleans())))
def test_services_that_extend_each_other_end(
    tmp_path: Path, graph: dict[str, tuple[str, bool]]
) -> None:
    """Each service may extend one, of this file or of the same file by its name."""
    services = {
        name: {"image": "i", "labels": {name: "1"}, **({} if name not in graph else {
            "extends": {"service": graph[name][0],
                        **({"file": "compose.yaml"} if graph[name][1] else {})}})}
        for name in "abcd"
    }  # fmt: skip
    text = json.dumps({"services": services})

    def inherited(name: str, way: tuple[str, ...] = ()) -> set[str]:
        if name in way:
            raise RecursionError(name)
        return {name} | (inherited(graph[name][0], (*way, name)) if name in graph else set())

    try:
        wanted = {name: inherited(name) for name in "abcd"}
    except RecursionError:
        with pytest.raises(SpecError, match="extend each other"):
            loaded(tmp_path, text)
    else:
        found = loaded(tmp_path, text).services
        assert {name: set(found[name].labels) for name in "abcd"} == wanted
