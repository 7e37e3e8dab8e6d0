"""`pcompose config --explain`, and errors for editors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.cli import main
from tests.spec.loading import write

STACK = """\
name: p
include: [{path: inc/c.yaml, env_file: inc/.env}]
services:
  base: {image: b, environment: {DB_URL: base}}
  web:
    extends: base
    image: "img:${TAG:-1}"
    env_file: web.env
    environment: {DB_URL: "pg://${HOST}:${PORT}/x", NAME: , a.b: dotted}
    ports: ["80:80"]
"""
Says = Callable[..., str]


@pytest.fixture
def says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Says:
    """Runs `pcompose ROOT FLAGS config FLAGS` in the directory of the project; an error is what
    comes back from one that fails."""
    for name in ("COMPOSE_FILE", "COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES", "TAG", "HOST", "PORT"):
        monkeypatch.delenv(name, raising=False)
    write(
        tmp_path / "stack", compose_yaml=STACK, web_env="DB_URL=file\n", two_env="PORT=2\n",
        o_yaml="services: {web: {environment: [DB_URL=over]}}\n",
    )  # fmt: skip
    (tmp_path / "stack" / ".env").write_text("HOST=h\nPORT=1\n")
    write(tmp_path / "stack" / "inc", c_yaml='services: {other: {image: "i:${V}"}}\n')
    (tmp_path / "stack" / "inc" / ".env").write_text("# nothing\nV=inc\n")
    monkeypatch.chdir(tmp_path / "stack")

    def run(*words: str, root: tuple[str, ...] = (), code: int = 0) -> str:
        assert main.main([*root, "config", *words]) == code
        captured = capsys.readouterr()
        return captured.err if code else captured.out

    return run


def test_a_value_is_told_with_all_that_it_won_against(says: Says) -> None:
    root = ("-f", "compose.yaml", "-f", "o.yaml")
    assert (
        says("--explain", "services.web.environment.DB_URL", root=root)
        == """\
services.web.environment.DB_URL = "over"  (o.yaml:1:32)
  because a later file wins
  candidates, the last one wins
    web.env:1:1        "file"        env_file, `environment` wins over env_file
    compose.yaml:4:34  "base"        the service wins over what it extends
    compose.yaml:9:19  "pg://h:1/x"  a later file wins
  * o.yaml:1:32        "over"
"""
    )


def test_each_variable_is_told_with_its_origin(says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "mine")
    root = ("--env-file", ".env", "--env-file", "two.env")
    told = says("--explain", "services.web.environment.DB_URL", root=root)
    assert '    HOST  "mine" from the shell\n    PORT  "2" from two.env:1\n' in told
    assert "written as pg://${HOST}:${PORT}/x\n" in told
    assert "TAG  not set: default '1' of the template\n" in says("--explain", "services.web.image")
    assert 'V  "inc" from inc/.env:2\n' in says("--explain", "services.other.image")
    monkeypatch.setenv("NAME", "n")
    told = says("--explain", "services.web.environment.NAME")
    assert 'because it is said without a value\n    NAME  "n" from the shell\n' in told


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("services.web.environment.a.b", '= "dotted"  (compose.yaml:9:61)'),
        ("services.web.ports.0.published", '= "80"  (compose.yaml:10:13)'),
        ("networks.default.name", '= "p_default"\n  because nobody said it: a default'),
    ],
)  # fmt: skip
def test_any_value_can_be_asked_for(says: Says, path: str, told: str) -> None:
    assert f"{path} {told}\n" in says("--explain", path)


def test_a_program_is_told_the_same(says: Says) -> None:
    told = json.loads(says("--explain", "services.web.image", "--format", "json"))
    assert (told["path"], told["value"], told["where"]) == (
        "services.web.image", "img:1", "compose.yaml:7:5",
    )  # fmt: skip
    assert [candidate["value"] for candidate in told["candidates"]] == ["b", "img:1"]
    assert told["variables"][0]["name"] == "TAG"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("services.web.imag", "services.web has no imag\nhint: did you mean `services.web.image`?"),
        ("services.web.ports.7", "services.web.ports has no 7\nhint: it is a list with"),
        ("zzz", "the files have no zzz\nhint: there are name, networks, services"),
    ],
)  # fmt: skip
def test_a_path_to_nothing_gets_the_nearest(says: Says, path: str, told: str) -> None:
    assert f"error: {told}" in says("--explain", path, code=1)


def test_editors_get_every_problem_with_its_place(says: Says, tmp_path: Path) -> None:
    write(
        tmp_path / "stack", compose_yaml="services:\n  a: {imag: x}\n  b: {image: x, prots: []}\n"
    )
    told = json.loads(says("--format", "json", code=1))
    assert [(p["file"], p["line"], p["column"], p["severity"]) for p in told["problems"]] == [
        ("compose.yaml", 2, 7, "error"), ("compose.yaml", 3, 17, "error"),
    ]  # fmt: skip
    assert told["problems"][0]["hint"] == "did you mean `image`?"


def test_files_are_named_as_they_are_seen_from_here(
    says: Says, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "stack", compose_yaml="services: {a: {imag: x}}\n")
    (tmp_path / "stack" / "below").mkdir()
    monkeypatch.chdir(tmp_path)
    assert says(root=("-f", "stack/compose.yaml"), code=1).startswith("stack/compose.yaml:1:")
    monkeypatch.chdir(tmp_path / "stack" / "below")
    assert str(tmp_path / "stack" / "compose.yaml") in says(code=1)
