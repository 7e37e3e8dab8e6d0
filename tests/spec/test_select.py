"""Profiles, services named on the command line, and what they bring along."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.spec.model import Project
from orchestrator.spec.select import select
from tests.spec.loading import loaded

TEXT = """
    services:
      web: {image: i, depends_on: [api], networks: [front]}
      api: {image: i, depends_on: {db: {condition: service_started}, opt: {condition: service_started, required: false}}, networks: [front, back]}
      db: {image: i, volumes: ['data:/d'], networks: [back]}
      opt: {image: i, profiles: [extra]}
      tool: {image: i, profiles: [tools], depends_on: [helper]}
      helper: {image: i, profiles: [tools]}
      lone: {image: i, profiles: [other], env_file: gone.env}
    networks: {front: , back: , unused: }
    volumes: {data: , spare: }
"""  # noqa: E501 - one line per service


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return loaded(tmp_path, TEXT)


def names(project: Project) -> list[str]:
    return sorted(project.services)


def test_services_without_profiles_are_enabled(project: Project) -> None:
    assert names(project) == ["api", "db", "web"]
    assert sorted(project.disabled) == ["helper", "lone", "opt", "tool"]


@pytest.mark.parametrize(
    ("profiles", "added"), [(("tools",), ["helper", "tool"]), (("extra",), ["opt"])]
)
def test_a_profile_adds_its_services(tmp_path: Path, profiles: tuple[str, ...],
    added: list[str]) -> None:
    project = loaded(tmp_path, TEXT, profiles=profiles)
    assert names(project) == sorted(["api", "db", "web", *added])


def test_the_empty_profile_is_enabled_where_no_other_is(tmp_path: Path) -> None:
    text = "services: {a: {image: i, profiles: ['', dev]}, b: {image: i, profiles: [tools]}}"
    assert list(loaded(tmp_path, text).services) == ["a"]
    assert list(loaded(tmp_path, text, profiles=("tools",)).services) == ["b"]


def test_a_star_enables_all(tmp_path: Path) -> None:
    (tmp_path / "gone.env").write_text("")
    assert len(loaded(tmp_path, TEXT, profiles=("*",)).services) == 7


def test_profiles_come_from_the_environment_unless_given(tmp_path: Path) -> None:
    environ = {"COMPOSE_PROFILES": "tools, extra"}
    assert "tool" in loaded(tmp_path, TEXT, environ=environ).services
    assert "tool" not in loaded(tmp_path, environ=environ, profiles=("extra",)).services


def test_a_named_service_brings_what_it_needs(project: Project) -> None:
    chosen = select(project, ["api"], with_dependencies=True)
    assert names(chosen) == ["api", "db"]
    assert (sorted(chosen.networks), sorted(chosen.volumes)) == (["back", "front"], ["data"])


def test_without_dependencies_it_comes_alone(project: Project) -> None:
    assert names(select(project, ["web"], with_dependencies=False)) == ["web"]


def test_nothing_named_keeps_all_but_unused_resources(project: Project) -> None:
    chosen = select(project, [], with_dependencies=True)
    assert names(chosen) == ["api", "db", "web"]
    assert (sorted(chosen.networks), sorted(chosen.volumes)) == (["back", "front"], ["data"])


def test_a_named_service_enables_its_profiles(project: Project) -> None:
    chosen = select(project, ["tool"], with_dependencies=True)
    assert names(chosen) == ["helper", "tool"]
    assert chosen.profiles == ("tools",)
    assert "default" in chosen.networks


def test_patterns_match_enabled_services(project: Project) -> None:
    assert names(select(project, ["[ad]*"], with_dependencies=False)) == ["api", "db"]


def test_an_unknown_service_is_refused_with_a_suggestion(project: Project) -> None:
    with pytest.raises(SpecError, match="no such service: wbe") as caught:
        select(project, ["wbe"], with_dependencies=True)
    assert caught.value.hint == "did you mean `web`?"


def test_a_disabled_service_is_complete_only_when_asked_for(project: Project) -> None:
    with pytest.raises(SpecError, match=r"compose\.yaml:\d+:\d+: services\.lone\.env_file"):
        select(project, ["lone"], with_dependencies=True)
