"""`pcompose config`: every flag, by what it prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.cli import main
from orchestrator.image import archive
from orchestrator.image.store import ImageStore
from tests.image.archives import docker_archive, layer
from tests.spec.loading import write

STACK = """
    name: p
    services:
      web:
        image: "img:${TAG:-1}"
        build: .
        depends_on: [db]
        env_file: web.env
        volumes: ["./src:/src", "cache:/cache"]
        profiles: [p2]
      db: {image: db, models: [m], networks: [back], profiles: [p1, p2]}
      job: {build: "./${DIR:+job}", environment: {A: "$$x", B: "${MUST:?say}"}}
    networks: {back: , idle: }
    volumes: {cache: , unused: }
    models: {m: {model: ai/m}}
"""
VARIABLES = """\
NAME                REQUIRED            DEFAULT VALUE       ALTERNATE VALUE
DIR                 false                                   job
MUST                true
TAG                 false               1
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's directory, in which the commands run."""
    for name in ("COMPOSE_FILE", "COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES", "TAG", "DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PCOMPOSE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PCOMPOSE_RUN", str(tmp_path / "run"))
    monkeypatch.setenv("MUST", "m")
    directory = tmp_path / "stack"
    write(directory, compose_yaml=STACK, web_env="F=file\n")
    monkeypatch.chdir(directory)
    return directory


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return Said(capsys)


class Said:
    """Runs `pcompose … config …`: what is left of `config` are root flags."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.error = ""

    def __call__(self, words: str, *, code: int = 0) -> str:
        found = words.split()
        assert main.main(found if "config" in found else ["config", *found]) == code
        captured = self._capsys.readouterr()
        self.error = captured.err
        return captured.out


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        ("--services", ["job"]),
        ("--profile p2 config --services", ["db", "job", "web"]),
        ("web --services", ["db", "web"]),
        ("--volumes", []),
        ("web --volumes", ["cache"]),
        ("--all-resources config --volumes", ["cache", "unused"]),
        ("web --networks", ["back", "default"]),
        ("job --models", []),
        ("db --models", ["ai/m"]),
        ("--profile * config --images", ["db", "img:1", "p-job"]),
        ("--profiles", ["p1", "p2"]),
        ("--volumes --profiles --images", []),
        ("--quiet", []),
    ],
)  # fmt: skip
def test_names_are_printed_one_per_line(words: str, lines: list[str], said: Said) -> None:
    assert said(words).splitlines() == lines
    assert not said.error


def test_hashes_are_of_all_services_or_of_those_named(said: Said) -> None:
    every = dict(line.split() for line in said("--profile * config --hash *").splitlines())
    assert sorted(every) == ["db", "job", "web"]
    assert said("--hash web,db").splitlines() == [f"web {every['web']}", f"db {every['db']}"]
    assert said("--hash nope", code=1) == ""
    assert "no such service: nope" in said.error


def test_variables_are_a_table_or_data(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUST")  # the files are not interpolated for this
    assert said("--variables") == VARIABLES
    must = {"Name": "MUST", "DefaultValue": "", "PresenceValue": "", "Required": True}
    assert json.loads(said("--variables --format json"))["MUST"] == must
    assert "DIR:\n  name: DIR\n  defaultvalue: \"\"\n  presencevalue: job\n" in said(
        "--variables --format yaml")  # fmt: skip


def test_the_environment_is_what_templates_see(said: Said, project: Path) -> None:
    write(project, _env="TAG=dot\nMUST=dot\n")
    lines = said("--environment").splitlines()
    assert lines == sorted(lines)
    assert {"TAG=dot", "MUST=m", "COMPOSE_PROJECT_NAME=p"} <= set(lines)


def test_nothing_is_filled_in_without_interpolation(said: Said) -> None:
    raw = said("--no-interpolate web")
    assert "image: img:${TAG:-1}" in raw
    assert "      A: $$x\n      B: ${MUST:?say}\n" in raw
    assert raw.index("networks:") < raw.index("services:") < raw.index("volumes:")
    assert "names of services are ignored" in said.error
    assert json.loads(said("--no-interpolate --format json"))["services"]["web"]["image"] == (
        "img:${TAG:-1}")  # fmt: skip


def test_a_short_form_with_templates_is_split_between_them(said: Said, project: Path) -> None:
    write(project, compose_yaml="""
        services:
          s: {image: i, volumes: ["${V:-/tmp}:/x"], ports: ["${P:-80}:80", "81:81"]}
    """)  # fmt: skip
    service = json.loads(said("--no-interpolate --format json"))["services"]["s"]
    assert service["volumes"] == [
        {"type": "volume", "source": "${V:-/tmp}", "target": "/x", "volume": {}}]  # fmt: skip
    assert service["ports"] == ["${P:-80}:80", "81:81"]


def test_names_need_no_env_file(said: Said, project: Path) -> None:
    (project / "web.env").unlink()
    assert said("web --images").splitlines() == ["db", "img:1"]


@pytest.mark.parametrize("words", ["--no-normalize job", "--compatibility config job"])
def test_what_follows_from_the_rest_can_be_left_out(words: str, said: Said, project: Path) -> None:
    assert said(words) == f"""\
name: p
services:
  job:
    build:
      context: {project}
    environment:
      A: $$x
      B: m
"""


def test_paths_can_stay_relative(said: Said) -> None:
    assert "source: ./src\n" in said("--no-path-resolution web")


def test_env_files_need_not_be_read(said: Said, project: Path) -> None:
    assert "F: file\n" in said("web")
    (project / "web.env").unlink()
    assert f"env_file:\n      - path: {project}/web.env\n" in said("--no-env-resolution web")
    assert "no such env file" in (said("web", code=1) or said.error)


def test_parts_need_not_fit_together(said: Said, project: Path) -> None:
    write(project, compose_yaml="services: {s: {image: i, networks: [nope]}}")
    said("", code=1)
    assert "no network is called nope" in said.error
    assert "networks:\n      nope: null\n" in said("--no-consistency")


def test_resources_nobody_uses_are_shown_when_asked_for(said: Said) -> None:
    assert "idle" not in said("")
    assert "  idle:\n    name: p_idle\n" in said("--all-resources config")


def test_the_result_can_go_into_a_file(said: Said, project: Path) -> None:
    whole = said("")
    assert said("-o out.yaml") == ""
    assert (project / "out.yaml").read_text() == whole
    said("-o nowhere/out.yaml", code=1)
    assert "cannot write nowhere/out.yaml" in said.error


def test_another_format_is_refused(said: Said) -> None:
    said("--format xml", code=1)
    assert 'unsupported format "xml"' in said.error


def test_an_unknown_service_is_refused(said: Said) -> None:
    said("jab", code=1)
    assert "no such service: jab" in said.error
    assert "did you mean `job`?" in said.error


@pytest.fixture
def image_id(project: Path, tmp_path: Path) -> str:
    """The id of web:1 in the store; the project uses it twice, and an image that is not there."""
    path = tmp_path / "web.tar"
    path.write_bytes(docker_archive({"web:1": [layer(("base", b"1"))]}))
    store = ImageStore(str(tmp_path / "data" / "images"))
    archive.load(store, str(path))
    write(project, compose_yaml="""
        services:
          a: {image: "web:1", volumes: [{type: image, source: "web:1", target: /w}]}
          b: {build: .}
          c: {image: "127.0.0.1:1/other", profiles: [c]}
    """)  # fmt: skip
    image = store.resolve("web:1")
    assert image
    return image.id


def test_images_are_pinned_to_what_the_store_has(image_id: str, said: Said) -> None:
    pinned = f"docker.io/library/web:1@{image_id}"
    assert f"    image: {pinned}\n" in said("--resolve-image-digests")
    assert said("--lock-image-digests") == f"""\
services:
  a:
    image: {pinned}
    volumes:
      - type: image
        source: {pinned}
        target: /w
"""


def test_a_pinned_name_is_found_again(image_id: str, tmp_path: Path) -> None:
    found = ImageStore(str(tmp_path / "data" / "images")).resolve(f"web:1@{image_id}")
    assert found
    assert found.id == image_id


def test_an_image_that_is_not_there_cannot_be_pinned(image_id: str, said: Said) -> None:
    said("--resolve-image-digests c", code=1)
    assert said.error.startswith("compose.yaml:5:7: cannot reach http://127.0.0.1:1: ")
