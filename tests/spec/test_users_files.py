"""What users of Compose tools stumbled over, files: merging, `include`, `extends`, dependencies."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.spec import dump
from orchestrator.spec.select import select
from tests.spec.loading import loaded, write


def test_a_port_said_again_by_an_override_or_through_extends_is_one_port(tmp_path: Path) -> None:
    """R-12."""
    write(tmp_path, base_yaml="services: {s: {image: i, ports: ['8080:80', '80:80']}}",
          over_yaml="services: {s: {extends: {file: base.yaml, service: s}, ports: ['80:80']}}")
    found = loaded(tmp_path, files=("base.yaml", "over.yaml")).services["s"]
    assert [(port.published, port.target) for port in found.ports] == [("8080", 80), ("80", 80)]


def test_what_an_included_file_extends_has_the_directory_of_that_file(tmp_path: Path) -> None:
    """R-13."""
    write(tmp_path, app__compose_yaml="services: {s: {extends: {file: ./common.yaml, service: c}}}",
          app__common_yaml="services: {c: {image: i, volumes: ['.:/w']}}")  # fmt: skip
    found = loaded(tmp_path, "include: [app/compose.yaml]").services["s"]
    assert found.volumes[0].source == f"{tmp_path}/app"


def test_an_override_of_an_included_service_is_never_dropped(tmp_path: Path) -> None:
    """R-14."""
    write(tmp_path, foo_yaml="services: {foo: {image: 'ubuntu:1'}}")
    (tmp_path / "compose.override.yaml").write_text("services: {foo: {image: 'ubuntu:2'}}")
    assert loaded(tmp_path, "include: [foo.yaml]").services["foo"].image == "ubuntu:2"


def test_a_file_included_by_two_files_is_there_once(tmp_path: Path) -> None:
    """R-15."""
    write(tmp_path, a_yaml="include: [c.yaml]\nservices: {a: {image: i}}",
          b_yaml="include: [c.yaml]\nservices: {b: {image: i}}",
          c_yaml="services: {c: {image: i, volumes: ['.:/w'], ports: ['80:80']}}\nvolumes: {v: }")
    project = loaded(tmp_path, "include: [a.yaml, b.yaml]")
    assert sorted(project.services) == ["a", "b", "c"]
    assert (len(project.services["c"].volumes), len(project.services["c"].ports)) == (1, 1)
    assert project.warnings == ()


def test_two_services_that_extend_the_same_one_share_nothing(tmp_path: Path) -> None:
    """R-16."""
    write(tmp_path, base_yaml="services: {b: {image: i, environment: [A=1], volumes: ['./b:/b']}}")
    project = loaded(tmp_path, """
        services:
          one: {extends: {file: base.yaml, service: b}}
          two:
            extends: {file: base.yaml, service: b}
            environment: {B: 2}
            volumes: ["./c:/c"]
    """)
    one, two = project.services["one"], project.services["two"]
    assert (one.environment, two.environment) == ({"A": "1"}, {"A": "1", "B": "2"})
    assert [[m.target for m in s.volumes] for s in (one, two)] == [["/b"], ["/b", "/c"]]


def test_the_middle_of_a_chain_of_extends_has_its_say(tmp_path: Path) -> None:
    """R-17."""
    project = loaded(tmp_path, """
        services:
          c1: {extends: c2}
          c2:
            extends: {service: c3}
            environment: {V: two, W: two}
            volumes: ["./two:/d"]
          c3: {image: i, environment: {V: three, X: three}, volumes: ["./three:/d", "./e:/e"]}
    """)
    found = project.services["c1"]
    assert found.environment == {"V": "two", "W": "two", "X": "three"}
    assert [m.source for m in found.volumes] == [f"{tmp_path}/two", f"{tmp_path}/e"]


@pytest.mark.parametrize("written", ["['h:10.0.0.2']", "['h=10.0.0.2']", "{h: 10.0.0.2}"])
def test_the_later_address_of_an_extra_host_is_the_only_one(tmp_path: Path, written: str) -> None:
    """R-18."""
    write(tmp_path, a_yaml="services: {s: {image: i, extra_hosts: ['h:10.0.0.1', 'g:10.0.0.9']}}",
          b_yaml=f"services: {{s: {{extra_hosts: {written}}}}}")  # fmt: skip
    found = loaded(tmp_path, files=("a.yaml", "b.yaml")).services["s"].extra_hosts
    assert sorted(found) == [("g", "10.0.0.9"), ("h", "10.0.0.2")]


def test_a_volume_replaced_by_target_need_not_be_declared(tmp_path: Path) -> None:
    """R-19."""
    write(tmp_path, base_yaml="services: {b: {image: i, volumes: ['my:/app']}}")
    project = loaded(tmp_path, """
        services:
          s: {extends: {file: base.yaml, service: b}, volumes: ["other:/app"]}
        volumes: {other: }
    """)
    found = [(m.source, m.target) for m in project.services["s"].volumes]
    assert found == [("other", "/app")]


def test_dependencies_as_list_and_as_mapping_become_one_mapping(tmp_path: Path) -> None:
    """R-20."""
    project = loaded(tmp_path, """
        services:
          base: {image: i, depends_on: [db, cache]}
          s: {extends: base, depends_on: {db: {condition: service_healthy}}}
          db: {image: d}
          cache: {image: c}
    """)
    found = project.services["s"].depends_on
    assert {name: entry.condition for name, entry in found.items()} == {
        "db": "service_healthy", "cache": "service_started",
    }  # fmt: skip


@pytest.mark.parametrize(("said", "ports"), [("!reset []", []), ("!override ['2:2']", ["2"])])
def test_ports_can_be_taken_away_and_replaced(tmp_path: Path, said: str, ports: list[str]) -> None:
    """R-21."""
    write(tmp_path, a_yaml="services: {s: {image: i, ports: ['1:1', '3:3']}}",
          b_yaml=f"services: {{s: {{ports: {said}}}}}",
          c_yaml=f"services: {{s: {{extends: {{file: a.yaml, service: s}}, ports: {said}}}}}")
    for files in (("a.yaml", "b.yaml"), ("c.yaml",)):
        found = loaded(tmp_path, files=files).services["s"]
        assert [port.published for port in found.ports] == ports


def test_config_prints_what_a_service_extends_as_its_own(tmp_path: Path) -> None:
    """R-22."""
    write(tmp_path, base_yaml="services: {b: {image: i, command: [a], labels: {l: x}}}")
    text = "services: {s: {extends: {file: base.yaml, service: b}, tty: true}}"
    printed = dump.to_yaml(loaded(tmp_path, text, project_name="p"))
    assert "extends" not in printed
    for line in ("image: i", "- a", "l: x", "tty: true"):
        assert line in printed


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("services:\n  a:\n    image: i\n    depends_on: [gone]", "compose.yaml:4:18", "gone"),
        ("services:\n  a: {image: i, depends_on: [b]}\n  b: {image: i, depends_on: [a]}",
         "compose.yaml:2:30", "a -> b -> a"),
        ("services:\n  a: {image: i, depends_on: [b]}\n  b: {image: i, profiles: [p]}",
         "compose.yaml:2:30", "profile"),
    ],
)  # fmt: skip
def test_a_dependency_that_cannot_be_is_refused_where_it_is_said(
    tmp_path: Path, text: str, where: str, words: str
) -> None:
    """R-23."""
    with pytest.raises(SpecError) as caught:
        select(loaded(tmp_path, text), [], with_dependencies=True)
    place, message, hint = caught.value.problems[0]
    assert (place, words in f"{message} {hint}") == (where, True), caught.value.problems


DEV = """
    services:
      main: {image: i, profiles: [dev]}
      test: {image: i, depends_on: %s}
"""


def test_a_service_that_is_named_enables_its_profile(tmp_path: Path) -> None:
    """R-24; the rest of it is in tests/e2e/test_users.py."""
    project = loaded(tmp_path, DEV % "{main: {condition: service_started, required: false}}")
    assert list(select(project, ["main"], with_dependencies=True).services) == ["main"]
    assert list(select(project, ["test"], with_dependencies=True).services) == ["test"]


def test_who_only_stops_or_reads_logs_needs_no_disabled_dependency(tmp_path: Path) -> None:
    """R-24."""
    project = loaded(tmp_path, DEV % "[main]")
    assert list(select(project, ["test"], with_dependencies=False).services) == ["test"]
    assert "profile" in str(refused_selection(tmp_path))


def refused_selection(directory: Path) -> SpecError:
    """The error of `up test`."""
    with pytest.raises(SpecError) as caught:
        select(loaded(directory), ["test"], with_dependencies=True)
    return caught.value
